"""`Relay`: sends the store's events to a sink, remembers how far it came, and goes on there after a crash.

**Guarantees.** Every event reaches the sink at least once, in order, however slow the sink is, as long as it lags less
than the log's capacity behind; what was overwritten before it was read is counted as missed. Nobody waits for it.
**Does not** send exactly once: a crash between the sink and the cursor sends a batch again, with the same ids.
**On crash** it goes on at the last cursor. **Threads and processes.** One relay of a name at a time is meant; two send
some events twice and lose none.

The cursor lies under the key `event-cursor/NAME`. Read `sinks.py` for what can be fed.
"""

import atexit
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, final

from pytest_guardrails.errors import ConfigurationError, check_whole
from pytest_guardrails.reliability.durability import safe_name
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry.formats import known_format
from pytest_guardrails.reliability.telemetry.log import Batch, EventLog
from pytest_guardrails.reliability.telemetry.sinks import Sink

__all__ = ["Relay", "RelayStatistics"]

_FORMAT = 1
_LONGEST_PAUSE_S = 30.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatistics:
    """How far it came.

    Attributes:
        position: number of the last event that the sink has.
        delivered: events that the sink took, over all processes.
        missed: events that were overwritten before they could be sent.
        failures: batches that the sink refused, in this process.
        last_error: of the sink or the store; "" when there was none.
    """

    position: int
    delivered: int
    missed: int
    failures: int
    last_error: str


@final
class Relay:
    """See the module.

    Args:
        log: whose events.
        sink: where to.
        name: of the cursor.
        poll_s: how often to look for events of other processes, in seconds; those of this one are seen at once.
        batch: how many events at a time.
    """

    def __init__(self, log: EventLog, sink: Sink, *, name: str, poll_s: float = 0.5, batch: int = 200) -> None:
        check_whole("batch", batch, 1)
        if not 0 < poll_s < 1e6:
            raise ConfigurationError(f"poll_s is above 0 and finite, not {poll_s}")
        self._log = log
        self._sink = sink
        self._key = f"event-cursor/{safe_name(name)}"
        self._poll_s = poll_s
        self._batch = batch
        self._failures = 0
        self._last_error = ""
        self._wake: SimpleQueue[None] = SimpleQueue()  # a signal handler may commit as well; an `Event` would deadlock
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send from now on, in a thread."""
        if self._thread is not None:
            raise ConfigurationError("this relay was started already")
        self._log.store.after_commit.append(self._committed)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def close(self, deadline_s: float = 2.0) -> bool:
        """Send what is there and end; False when the sink did not take everything in time. It will, next time.

        The end of the program does the same for a relay that was started and not closed.
        """
        atexit.unregister(self.close)
        self._end.set()
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join(deadline_s)
            if self._committed in self._log.store.after_commit:
                self._log.store.after_commit.remove(self._committed)
        return self.statistics().position >= self._log.last()

    def pump(self) -> int:
        """Send what is there, in this thread, until the sink has everything.

        Returns:
            How many events were sent.

        Raises:
            Exception: whatever the sink raises; what it took before is remembered.
        """
        sent = 0
        while True:
            cursor = self._cursor()
            found = self._log.read(cursor["position"], self._batch)
            if found.position == cursor["position"]:
                return sent
            if found.events:
                self._sink.write(found.events)
            self._remember(found)
            sent += len(found.events)

    def statistics(self) -> RelayStatistics:
        """How far it came."""
        cursor = self._cursor()
        known = {name: cursor[name] for name in ("position", "delivered", "missed")}
        return RelayStatistics(failures=self._failures, last_error=self._last_error, **known)

    def __enter__(self) -> "Relay":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _cursor(self, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
        plain = found or self._log.store.get(self._key) or {}
        return {"position": 0, "delivered": 0, "missed": 0, **known_format(plain, _FORMAT, self._key)}

    def _remember(self, batch: Batch) -> None:
        with self._log.store.transaction() as transaction:
            old = self._cursor(transaction.get(self._key))
            if batch.position > old["position"]:  # else a second relay of this name was faster
                delivered, missed = old["delivered"] + len(batch.events), old["missed"] + batch.missed
                new = {"format": _FORMAT, "position": batch.position, "delivered": delivered, "missed": missed}
                transaction.put(self._key, {**old, **new}, keep_versions=1)

    def _work(self) -> None:
        pause_s = self._poll_s
        while True:
            ending = self._end.is_set()
            while not self._wake.empty():
                self._wake.get()
            error = self._try()
            if error:
                self._failures += 1
                self._last_error = error
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = self._poll_s
            if ending:
                return
            if error:
                self._end.wait(pause_s)
            else:
                with suppress(Empty):
                    self._wake.get(timeout=pause_s)

    def _try(self) -> str:
        try:
            self.pump()
        except BaseException as error:  # noqa: BLE001 - the edge to code of others, even to its sys.exit: tried again
            return f"{type(error).__name__}: {error}"[:500]
        return ""

    def _committed(self, _store: StateStore) -> None:
        if threading.current_thread() is not self._thread and self._wake.empty():
            self._wake.put(None)
