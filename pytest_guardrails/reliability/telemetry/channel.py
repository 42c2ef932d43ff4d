"""`Channel`: events to one sink without making anybody wait; for events that no store keeps.

**Guarantees.** `offer` takes microseconds and never raises, whatever the sink does. What the bounded queue can't take,
and what the sink refused for good, is counted. An event whose id was seen lately goes to the sink once.
**Does not** survive the process: events that must arrive are written to the store, and sent by `relay.py`.
**Threads and processes.** Any thread may offer. A forked child may, too: its channel begins empty, to the same sink.
"""

import atexit
import os
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from types import TracebackType
from typing import final

from pytest_guardrails.errors import check_whole
from pytest_guardrails.reliability.telemetry.events import Event
from pytest_guardrails.reliability.telemetry.sinks import Sink

__all__ = ["Channel", "ChannelStatistics"]

_BATCH = 500
_EXIT_S = 2.0
_PAUSE_S = 0.05  # after the first failure; doubled each time


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """What became of the events.

    Attributes:
        offered: all of them.
        delivered: taken by the sink.
        duplicates: not sent, since their id was seen.
        dropped: not taken, since the queue was full or the channel closed.
        failed: refused by the sink each time.
        waiting: in the queue now.
        last_error: of the sink; "" when there was none.
    """

    offered: int
    delivered: int
    duplicates: int
    dropped: int
    failed: int
    waiting: int
    last_error: str


@final
class Channel:
    """See the module.

    Args:
        sink: who gets the events.
        capacity: how many wait at most.
        attempts: how often a batch is offered to a sink that raises.
        remembered: how many ids are known again.
    """

    def __init__(self, sink: Sink, *, capacity: int = 10_000, attempts: int = 3, remembered: int = 10_000) -> None:
        for name, value in (("capacity", capacity), ("attempts", attempts), ("remembered", remembered)):
            check_whole(name, value, 1)
        self._sink = sink
        self._capacity = capacity
        self._attempts = attempts
        self._remembered = remembered
        self._closed = threading.Event()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._begin()
        atexit.register(self.close, _EXIT_S)

    def _begin(self) -> None:
        """Also in a forked child, where the thread is gone, and the lock may be held by nobody who lives."""
        self._process = os.getpid()
        self._queue: deque[Event] = deque()
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._offered = self._delivered = self._duplicates = self._dropped = self._failed = 0
        self._last_error = ""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def offer(self, event: Event) -> bool:
        """Hand over an event; False when it was dropped."""
        if self._process != os.getpid():
            self._begin()
        with self._mutex:
            self._offered += 1
            if len(self._queue) >= self._capacity or self._closed.is_set():
                self._dropped += 1
                return False
            self._queue.append(event)
            if self._idle.is_set():
                self._idle.clear()
                self._wake.set()
        return True

    def flush(self, deadline_s: float) -> bool:
        """Wait until the sink got everything; False when it has not in time."""
        return self._idle.wait(deadline_s)

    def close(self, deadline_s: float = _EXIT_S) -> bool:
        """Take no more, and wait until the sink got everything; what it has not in time is counted as dropped."""
        if self._process != os.getpid():
            return True  # its parent's; what waited there is sent there
        with self._mutex:
            first = not self._closed.is_set()
            self._closed.set()
        done = self._idle.wait(deadline_s)
        if first:
            with self._mutex:
                self._dropped += len(self._queue)
                self._queue.clear()
            self._wake.set()
            atexit.unregister(self.close)
        return done

    def statistics(self) -> ChannelStatistics:
        """What became of the events so far."""
        with self._mutex:
            return ChannelStatistics(
                offered=self._offered,
                delivered=self._delivered,
                duplicates=self._duplicates,
                dropped=self._dropped,
                failed=self._failed,
                waiting=len(self._queue),
                last_error=self._last_error,
            )

    def __enter__(self) -> "Channel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            with self._mutex:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                if not batch:
                    self._wake.clear()
                    self._idle.set()
                    if self._closed.is_set():
                        return
            if batch:
                self._deliver(self._unseen(batch))

    def _unseen(self, batch: list[Event]) -> list[Event]:
        fresh = []
        for event in batch:
            if event.id not in self._seen:
                fresh.append(event)
                self._seen[event.id] = None
        while len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        with self._mutex:
            self._duplicates += len(batch) - len(fresh)
        return fresh

    def _deliver(self, batch: list[Event]) -> None:
        if not batch:
            return
        for attempt in range(self._attempts):
            error = _try(self._sink, batch)
            with self._mutex:
                if not error:
                    self._delivered += len(batch)
                    return
                self._last_error = error
            if attempt + 1 < self._attempts:
                self._closed.wait(_PAUSE_S * 2**attempt)
        with self._mutex:
            self._failed += len(batch)


def _try(sink: Sink, batch: list[Event]) -> str:
    try:
        sink.write(batch)
    except BaseException as error:  # noqa: BLE001 - the edge to code of others, even to its sys.exit: it is counted
        return f"{type(error).__name__}: {error}"[:500]
    return ""
