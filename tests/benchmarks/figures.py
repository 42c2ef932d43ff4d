"""How a figure is taken and held: interleaved samples, medians, spread, and a ratio against the peer.

A benchmark module exposes `measure(quick: bool) -> list[Figure]`. Samples of all contestants are taken in turn
(A B C A B C ...), so that a machine that slows down slows all of them. Read `__main__.py` next.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

__all__ = ["Figure", "interleave", "spread"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured line.

    Attributes:
        name: what was measured.
        unit: of `value`, e.g. "us/call" or "states/s".
        value: the median.
        low: the smallest sample.
        high: the largest sample.
        aim: what the project wants, in words; "" where there is no aim.
        holds: whether the aim held in this run; None where there is none.
        ratios: value divided by (or compared with) each peer, by the peer's name.
    """

    name: str
    unit: str
    value: float
    low: float = 0.0
    high: float = 0.0
    aim: str = ""
    holds: bool | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)


def interleave(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each contestant once a round, in turn; each returns its own sample.

    One warm-up round is thrown away.
    """
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            sample = contestant()
            if number:
                samples[name].append(sample)
        time.sleep(0)
    return samples


def spread(samples: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of the samples."""
    return statistics.median(samples), min(samples), max(samples)
