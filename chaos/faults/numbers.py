"""Numbers that are no numbers: NaN and the infinities, and series of numbers that they get into.

Pure. What they get into a program through is another fault's business: an answer of the fake LLM, a metric, a file.
Read `chaos/oracles/finite.py` for what finds them again.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import count
from typing import final

from chaos.errors import UsageError

__all__ = ["NonFinite", "overflowing", "spoiled"]


@final
class NonFinite(str, Enum):
    """A float that is not finite, by the text that `float` reads."""

    NAN = "nan"
    INFINITY = "inf"
    NEGATIVE_INFINITY = "-inf"

    @property
    def number(self) -> float:
        """The float."""
        return float(self.value)

    @property
    def json(self) -> str:
        """As Python's `json` writes and reads it, though JSON has no such number."""
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[self.value]


def spoiled(
    numbers: Iterable[float], *, nth: int, kind: NonFinite = NonFinite.NAN, for_good: bool = False
) -> Iterator[float]:
    """The same numbers, but for the nth.

    Args:
        numbers: the series.
        nth: which one is replaced, from 1.
        kind: what it is replaced by.
        for_good: whether all after it are replaced as well, as when a NaN has got into a running mean.

    Raises:
        UsageError: `nth` counts from 1.
    """
    if nth < 1:
        raise UsageError(f"nth counts from 1, so it can't be {nth}")
    return _spoiled(numbers, nth, kind.number, for_good)


def overflowing(start: float = 1.0, factor: float = 2.0) -> Iterator[float]:
    """A series that grows by a factor until it is infinite, and then stays so, as an exponential back-off does.

    Raises:
        UsageError: the series would never overflow.
    """
    if not (math.isfinite(start) and math.isfinite(factor) and start != 0 and abs(factor) > 1):
        raise UsageError(f"{start} times {factor} over and over never overflows", "start at 1.0, with a factor of 2.0")
    return _overflowing(start, factor)


def _spoiled(numbers: Iterable[float], nth: int, bad: float, for_good: bool) -> Iterator[float]:
    for position, number in zip(count(1), numbers):
        yield bad if position == nth or (for_good and position > nth) else number


def _overflowing(number: float, factor: float) -> Iterator[float]:
    while True:
        yield number
        number *= factor
