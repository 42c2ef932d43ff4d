"""Alerts: who is told that a level changed, how often, and that it is well again.

What is sent is decided by a pure function: a level that was told already is told again only after `repeat_after_s`; no
more than `most` alerts go out within `window_s` (what is held back is counted and told with the next one); the end
of trouble is told once, to those who were told of its beginning. Unknown counts as trouble.

`Alerts` sends from a thread of its own through a bounded queue, so that no sender holds up or breaks the caller; what
is dropped or fails is counted. Read `senders.py` for the senders.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, final

from pytest_guardrails.callables import finished, plain
from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability.forking import renew_in_children
from pytest_guardrails.reliability.health.levels import Level

__all__ = ["Alert", "AlertMemory", "AlertPolicy", "AlertStatistics", "Alerts", "decide"]

_QUEUED = 1000


@final
class Alert(Record):
    """What is sent.

    Attributes:
        key: of what, such as "agent a7".
        level: how it is now.
        before: how it was, as far as it was told.
        message: in words.
        held_back: how many alerts of this key were not sent since the last one.
        at: seconds since 1970-01-01 UTC by the wall clock, for people.
    """

    key: str
    level: Level
    before: Level
    message: str
    held_back: int
    at: float

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**self._asdict(), "level": self.level.word, "before": self.before.word}


@final
class AlertPolicy(Record):
    """How often is told; see the module. All times in seconds."""

    repeat_after_s: float = 3600.0
    most: int = 10
    window_s: float = 60.0


@final
class AlertMemory(Record):
    """What was told of one key.

    Attributes:
        told: the level that was told last; healthy when nothing was.
        told_s: when, monotonic.
        sent_s: when the last alerts went out, oldest first.
        held_back: how many were not sent since.
    """

    told: Level = Level.HEALTHY
    told_s: float = 0.0
    sent_s: tuple[float, ...] = ()
    held_back: int = 0


@final
class AlertStatistics(Record):
    """What became of the alerts: each counts once for each sender, but for those that were held back or dropped."""

    sent: int = 0
    failed: int = 0
    held_back: int = 0
    dropped: int = 0


def decide(memory: AlertMemory, policy: AlertPolicy, level: Level, now_s: float) -> tuple[AlertMemory, bool]:
    """Whether a level is told now.

    Returns:
        What is to be remembered, and whether it is told.
    """
    repeated = level == memory.told
    if repeated and (level is Level.HEALTHY or now_s - memory.told_s < policy.repeat_after_s):
        return memory, False
    recent = tuple(at_s for at_s in memory.sent_s if now_s - at_s < policy.window_s)
    if len(recent) >= policy.most:
        return memory._replace(sent_s=recent, held_back=memory.held_back + 1), False
    return AlertMemory(level, now_s, (*recent, now_s)), True


@final
class Alerts:
    """See the module.

    Args:
        senders: each is called with every alert, from one thread; what one raises is counted.
        policy: see there.
        clock: see `Clock`.
    """

    def __init__(
        self,
        senders: Sequence[Callable[[Alert], object]],
        policy: AlertPolicy | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._senders = tuple(plain(send, f"sender {number}") for number, send in enumerate(senders, start=1))
        self._policy = policy or AlertPolicy()
        if not (self._policy.repeat_after_s >= 0 and self._policy.window_s > 0 and self._policy.most >= 1):
            raise ConfigurationError(f"an alert policy needs times from 0 and at least one alert: {self._policy}")
        self._clock = clock or SystemClock()
        self._mutex = threading.RLock()
        renew_in_children(self)
        self._memory: dict[str, AlertMemory] = {}
        self._statistics = AlertStatistics()
        self._queue: queue.Queue[Alert] = queue.Queue(_QUEUED)
        self._worker: threading.Thread | None = None

    def tell(self, key: str, level: Level, message: str = "") -> bool:
        """Say how something is; never waits and never raises.

        Returns:
            Whether an alert is sent because of it.
        """
        with self._mutex:
            before = self._memory.get(key, AlertMemory())
            after, told = decide(before, self._policy, level, self._clock.monotonic())
            self._memory[key] = after
            if not told:
                self._count(held_back=after.held_back > before.held_back)
                return False
            alert = Alert(key, level, before.told, message, before.held_back, self._clock.wall())
            try:
                self._queue.put_nowait(alert)
            except queue.Full:
                self._count(dropped=1)
                return False
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._send_all, name="alerts", daemon=True)
                self._worker.start()
        return True

    def flush(self, deadline_s: float = 10.0) -> bool:
        """Wait until all alerts are sent, at most `deadline_s` seconds; whether they are."""
        end_s = self._clock.monotonic() + deadline_s
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                left_s = end_s - self._clock.monotonic()
                if left_s <= 0:
                    return False
                self._queue.all_tasks_done.wait(left_s)
        return True

    def statistics(self) -> AlertStatistics:
        """What became of them so far."""
        with self._mutex:
            return self._statistics

    def _send_all(self) -> NoReturn:
        while True:
            alert = self._queue.get()
            for send in self._senders:
                well = _sent(send, alert)
                with self._mutex:
                    self._count(sent=well, failed=not well)
            self._queue.task_done()

    def _count(self, **more: int) -> None:
        old: Mapping[str, int] = self._statistics._asdict()
        self._statistics = self._statistics._replace(**{name: old[name] + number for name, number in more.items()})


def _sent(send: Callable[[Alert], object], alert: Alert) -> bool:
    try:
        finished(send(alert), "a sender")
    except Exception:  # noqa: BLE001 - the edge of a thread: counted, and the other senders must be called
        return False
    return True
