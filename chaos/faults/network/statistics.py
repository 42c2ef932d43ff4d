"""What a proxy has done so far: counted by the server's thread, read by any. Read `proxy.py` next."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition, RLock
from time import monotonic
from typing import final

from chaos.errors import NotMeasured
from chaos.faults.network_rules import Direction

__all__ = ["Ledger", "ProxyStatistics"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatistics:
    """What went through a proxy, and what was done to it.

    Attributes:
        connections: accepted ones.
        open: how many of them are under way now.
        unreachable: those of them for which the server could not be reached.
        upstream_bytes: what the server was sent.
        downstream_bytes: what the client was sent.
        injected: how often each fault took effect: "delay" and "throttle" count pieces of data, "corrupt" bytes, "slow
            close" ends of streams, "reset", "truncate", "blackhole" and "half open" connections cut, "swallowed"
            bytes that a cut let vanish, "refuse" the times it stopped listening.
    """

    connections: int = 0
    open: int = 0
    unreachable: int = 0
    upstream_bytes: int = 0
    downstream_bytes: int = 0
    injected: Mapping[str, int] = field(default_factory=dict)


@final
class Ledger:
    """Counts; every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition(RLock())
        self._injected: Counter[str] = Counter()
        self._passed: Counter[Direction] = Counter()
        self._connections = self._open = self._unreachable = 0

    def connection(self) -> int:
        """Count a connection, and number it from 1."""
        with self._changed:
            self._connections += 1
            self._open += 1
            self._changed.notify_all()
            return self._connections

    def closed(self) -> None:
        """Count a connection that is over."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def unreachable(self) -> None:
        """Count a connection for which there was no server."""
        with self._changed:
            self._unreachable += 1
            self._changed.notify_all()

    def passed(self, direction: Direction, size: int) -> None:
        """Count bytes that were passed on."""
        with self._changed:
            self._passed[direction] += size
            self._changed.notify_all()

    def injected(self, what: str, times: int = 1) -> None:
        """Count a fault that took effect."""
        if times:
            with self._changed:
                self._injected[what] += times
                self._changed.notify_all()

    def read(self) -> ProxyStatistics:
        """The counts now."""
        with self._changed:
            return ProxyStatistics(
                connections=self._connections,
                open=self._open,
                unreachable=self._unreachable,
                upstream_bytes=self._passed[Direction.UPSTREAM],
                downstream_bytes=self._passed[Direction.DOWNSTREAM],
                injected=dict(sorted(self._injected.items())),
            )

    def wait_until(self, holds: Callable[[ProxyStatistics], bool], deadline_s: float) -> ProxyStatistics:
        """Block until the counts are as asked.

        Raises:
            NotMeasured: they were not within `deadline_s` seconds.
        """
        end = monotonic() + deadline_s
        with self._changed:
            while not holds(now := self.read()):
                if not self._changed.wait(end - monotonic()) and monotonic() >= end:
                    raise NotMeasured(f"the proxy did not come to what was waited for within {deadline_s} s: {now}")
            return now
