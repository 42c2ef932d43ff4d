"""What repeats in a sequence of marks: how often each came lately, and cycles of any period, at a cost that is flat.

A cycle of period p is there when each of the last marks equals the one p steps before. Only periods that are alive are
followed: one begins when a mark comes that was there p steps ago, and ends at the first step that does not fit.
Nothing here knows what a mark stands for. Read `stuck.py` for who asks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, final

__all__ = ["Repetition", "Seen"]

_PERIODS = 8  # followed at a time, the shortest; a sequence that needs more is no cycle a person would see


@final
class Seen(NamedTuple):
    """What a mark repeats.

    Attributes:
        times: how often it came in the window, this time included.
        span: steps from its first time in the window to now, both included.
        period: of the cycle that was gone through most often; 1 for the same mark again and again, 0 for none.
        rounds: how often that cycle was gone through, the first time included.
    """

    times: int
    span: int
    period: int
    rounds: int


@final
class Repetition:
    """The last marks.

    Args:
        window: how many are remembered; also the longest period.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._ring: list[str] = [""] * window
        self._position = 0
        self._start = 0  # nothing before this position is looked at
        self._known: dict[str, list[int]] = {}  # mark -> [count, first position, last position]
        self._periods: dict[int, int] = {}  # period -> how many marks in a row fitted it

    def push(self, mark: str) -> Seen:
        """Add the next mark."""
        now = self._position
        self._drop_oldest(now)
        known = self._known.get(mark)
        self._periods = self._alive(mark, now, known)
        if known is None:
            known = self._known[mark] = [1, now, now]
        else:
            known[0] += 1
            known[2] = now
        self._ring[now % self._window] = mark
        self._position = now + 1
        period, rounds = 0, 1
        for length, fitted in self._periods.items():
            if fitted // length + 1 > rounds:
                period, rounds = length, fitted // length + 1
        return Seen(known[0], min(now - known[1] + 1, self._window), period, rounds)

    def last(self, count: int) -> list[str]:
        """The last marks, oldest first."""
        begin = max(self._start, self._position - min(count, self._window))
        return [self._ring[position % self._window] for position in range(begin, self._position)]

    def clear(self) -> None:
        """Begin anew."""
        self._start = self._position
        self._known.clear()
        self._periods = {}

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "position": self._position,
            "marks": self.last(self._window),
            "firsts": sorted([mark, entry[1]] for mark, entry in self._known.items()),
            "periods": sorted([length, fitted] for length, fitted in self._periods.items()),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """The inverse of `plain`; of a longer window, the newest marks."""
        marks = plain["marks"][-self._window :]
        self._position = plain["position"]
        self._start = self._position - len(marks)
        self._known = {}
        for position, mark in enumerate(marks, self._start):
            self._ring[position % self._window] = mark
            entry = self._known.setdefault(mark, [0, position, position])
            entry[0] += 1
            entry[2] = position
        for mark, first in plain["firsts"]:
            if mark in self._known:
                self._known[mark][1] = first
        self._periods = {length: fitted for length, fitted in plain["periods"] if length < self._window}

    def _drop_oldest(self, now: int) -> None:
        oldest = now - self._window
        if oldest < self._start:
            return
        self._start = oldest + 1
        mark = self._ring[oldest % self._window]
        entry = self._known[mark]
        entry[0] -= 1
        if not entry[0]:
            del self._known[mark]

    def _alive(self, mark: str, now: int, known: list[int] | None) -> dict[int, int]:
        """The periods that this mark fits, with how many marks in a row did."""
        if known is None:
            return {}
        ring, window = self._ring, self._window
        alive = {
            length: fitted + 1 for length, fitted in self._periods.items() if ring[(now - length) % window] == mark
        }
        gap = now - known[2]
        if gap not in alive and len(alive) < _PERIODS:
            alive[gap] = 1
        return alive
