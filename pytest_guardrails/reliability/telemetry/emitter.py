"""`Emitter`: events of a program that keeps no store, to any number of channels; nobody waits.

What reports a change of the store is written there instead, with `EventLog.append`, so that neither is without the
other.
"""

import itertools
import os
from collections.abc import Sequence
from typing import final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.reliability.telemetry.channel import Channel
from pytest_guardrails.reliability.telemetry.events import Draft, Event

__all__ = ["Emitter"]


@final
class Emitter:
    """Numbers events and offers them.

    Args:
        channels: to each of them.
        clock: for the time of an event.
    """

    def __init__(self, channels: Sequence[Channel], *, clock: Clock | None = None) -> None:
        self._channels = tuple(channels)
        self._clock = clock or SystemClock()
        self._writer = os.urandom(4).hex()  # of this object, so that no two share an id
        self._numbers = itertools.count(1)

    def emit(self, draft: Draft) -> Event:
        """Offer an event; what a channel can't take is counted there."""
        event = Event.of(draft, sequence=next(self._numbers), at=self._clock.wall(), writer=self._writer)
        for channel in self._channels:
            channel.offer(event)
        return event
