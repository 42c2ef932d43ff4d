"""What looks wrong in numbers: outliers, shifts, trends, and signs of a loop in trouble. Pure functions and values.

- `outlier`: against the median of the last values, measured in median absolute deviations, so that a few wild values
  do not hide the next (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993: 3.5).
- `Ewma`: against an exponentially weighted mean and variance; sees small shifts sooner.
- `trend`: the median of all slopes (Theil and Sen), if the signs of all differences agree enough to be no chance
  (Mann and Kendall).
- `loop_signs`: what a loop's own counters tell.

A number that is not finite is never "fine": it is the anomaly UNKNOWN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import combinations
from statistics import median
from typing import final

__all__ = ["Anomaly", "AnomalyKind", "Ewma", "LoopSigns", "MetricWatch", "loop_signs", "outlier", "trend"]

_LEAST = 8  # fewer values tell nothing
_MAD_TO_SIGMA = 0.6745
_MEAN_TO_SIGMA = 0.7979
_ROUNDING = 1e-9  # of a value: smaller differences come of summing floats
_CHANCE_Z = 2.576  # one in a hundred, both ways
_OVERUSE = 0.8
_STILL = 20
_EARLY = 0.5
_LATE = 2.0


@final
class AnomalyKind(str, Enum):
    """What is wrong."""

    UNKNOWN = "unknown value"
    OUTLIER = "outlier"
    SHIFT = "shift"
    TREND = "trend"
    INFINITE_LOOP = "potential infinite loop"
    PREMATURE_END = "premature end"
    OVERUSE = "over-use"
    INCONSISTENT = "state inconsistency"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One thing that looks wrong.

    Attributes:
        kind: what.
        name: of the metric or loop.
        score: how wrong, in the detector's own terms; finite.
        message: for a person.
    """

    kind: AnomalyKind
    name: str
    score: float
    message: str


def outlier(name: str, history: Sequence[float], value: float, *, threshold: float = 3.5) -> Anomaly | None:
    """Whether a value lies far outside of those before.

    Args:
        name: of the metric.
        history: the values before, finite; at least 8, or there is no verdict.
        value: the new one.
        threshold: modified z-score from which on it is one.
    """
    if not math.isfinite(value):
        return _unknown(name, value)
    if len(history) < _LEAST:
        return None
    middle = median(history)
    distances = [_apart(other, middle) for other in history]
    scale = median(distances) / _MAD_TO_SIGMA or (sum(distances) / len(distances)) / _MEAN_TO_SIGMA
    away = _apart(value, middle)
    score = away / scale if scale else (math.inf if away else 0.0)  # no scale: it was always the same
    if not score >= threshold:  # also where distances are beyond floats
        return None
    said = f"{name} is {value:g}, where it was {middle:g} give or take {scale:.3g}"
    return Anomaly(kind=AnomalyKind.OUTLIER, name=name, score=min(score, 1e9), message=said)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ewma:
    """An exponentially weighted mean and variance.

    Attributes:
        weight: of the newest value, above 0, below 1.
        mean: so far.
        variance: so far.
        seen: how many values.
    """

    weight: float = 0.2
    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0

    def step(self, name: str, value: float, *, threshold: float = 4.0) -> tuple["Ewma", Anomaly | None]:
        """The state after a value, and whether the value was a surprise; one that is not finite changes nothing."""
        if not math.isfinite(value):
            return self, _unknown(name, value)
        if not self.seen:
            return Ewma(weight=self.weight, mean=value, seen=1), None
        away = value - self.mean
        sigma = math.sqrt(self.variance)
        moved = self.mean + self.weight * away
        spread = (1 - self.weight) * (self.variance + self.weight * away * away)
        if not math.isfinite(spread) or not math.isfinite(moved):
            moved, spread = value, self.variance  # beyond floats: begin at the new value
        following = Ewma(weight=self.weight, mean=moved, variance=spread, seen=self.seen + 1)
        if self.seen < _LEAST or not _apart(value, self.mean) or abs(away) < threshold * sigma:
            return following, None
        score = min(abs(away) / sigma, 1e9) if sigma else 1e9
        said = f"{name} is {value:g}, where about {self.mean:.4g} was expected"
        return following, Anomaly(kind=AnomalyKind.SHIFT, name=name, score=score, message=said)


def trend(name: str, values: Sequence[float], *, least_slope: float = 0.0) -> Anomaly | None:
    """Whether values go one way, steadily.

    Args:
        name: of the metric.
        values: at equal distances, finite; at least 8; the cost grows with the square of their number.
        least_slope: a smaller change from one to the next does not matter.
    """
    count = len(values)
    if count < _LEAST:
        return None
    pairs = list(combinations(range(count), 2))
    signs = sum((values[late] > values[early]) - (values[late] < values[early]) for early, late in pairs)
    sigma = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    score = (abs(signs) - 1) / sigma
    slope = median((values[late] - values[early]) / (late - early) for early, late in pairs)
    if score < _CHANCE_Z or abs(slope) <= least_slope:
        return None
    way = "rises" if slope > 0 else "falls"
    said = f"{name} {way} by {abs(slope):.3g} each time, over {count} values"
    return Anomaly(kind=AnomalyKind.TREND, name=name, score=score, message=said)


@final
class MetricWatch:
    """Watches several metrics by name, with a bounded window for each; not for several threads at once.

    Args:
        window: how many values of each are kept.
    """

    def __init__(self, window: int = 60) -> None:
        self._window = window
        self._values: dict[str, list[float]] = {}
        self._means: dict[str, Ewma] = {}

    def update(self, name: str, value: float) -> tuple[Anomaly, ...]:
        """Take the next value of a metric."""
        values = self._values.setdefault(name, [])
        mean, shift = self._means.get(name, Ewma()).step(name, value)
        strange = outlier(name, values, value)
        if not math.isfinite(value):
            return (strange,) if strange else ()
        self._means[name] = mean
        values.append(value)
        del values[: -self._window]
        steady = trend(name, values) if len(values) == self._window else None
        return tuple(found for found in (strange, shift, steady) if found is not None)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSigns:
    """What a loop tells of itself.

    Attributes:
        name: of the loop.
        state: "running", "completed", ...
        iterations: so far.
        failures: of these.
        consecutive_failures: at the end.
        since_progress: iterations since the work advanced.
        expected: iterations that it usually takes; None when that is not known.
        shares: of each budget, how much is used, 1 is all.
        recorded: iterations that its history holds; None when that was not looked at.
        stuck: what the stuck detector warns of; "" when it does not.
    """

    name: str
    state: str
    iterations: int
    failures: int = 0
    consecutive_failures: int = 0
    since_progress: int = 0
    expected: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    recorded: int | None = None
    stuck: str = ""


def loop_signs(signs: LoopSigns) -> tuple[Anomaly, ...]:
    """What looks wrong with a loop."""
    found = []
    late = signs.expected is not None and signs.iterations > _LATE * signs.expected
    if signs.state in ("running", "recovered") and (late or signs.since_progress >= _STILL or signs.stuck):
        usual = f" where {signs.expected} are usual" if late else ""
        still = f", the last {signs.since_progress} without progress" if signs.since_progress else ""
        said = f"{signs.iterations} iterations{usual}{still}" + (f"; {signs.stuck}" if signs.stuck else "")
        found.append((AnomalyKind.INFINITE_LOOP, float(signs.iterations), said))
    if signs.state == "completed" and signs.expected and signs.iterations < _EARLY * signs.expected:
        said = f"completed after {signs.iterations} iterations, where {signs.expected} are usual"
        found.append((AnomalyKind.PREMATURE_END, signs.iterations / signs.expected, said))
    for budget, share in sorted(signs.shares.items()):
        if not math.isfinite(share):
            found.append((AnomalyKind.UNKNOWN, 0.0, f"the used share of {budget} is not known"))
        elif share > _OVERUSE:
            found.append((AnomalyKind.OVERUSE, share, f"{share:.0%} of {budget} is used"))
    if signs.failures > signs.iterations or signs.consecutive_failures > signs.failures:
        said = f"{signs.iterations} iterations, {signs.failures} failures, {signs.consecutive_failures} in a row"
        found.append((AnomalyKind.INCONSISTENT, 0.0, said))
    if signs.recorded not in (None, signs.iterations):
        said = f"{signs.iterations} iterations were counted, and the history holds {signs.recorded}"
        found.append((AnomalyKind.INCONSISTENT, 0.0, said))
    if signs.state == "completed" and signs.consecutive_failures:
        found.append((AnomalyKind.INCONSISTENT, 0.0, "completed, although its last iteration failed"))
    return tuple(Anomaly(kind=kind, name=signs.name, score=score, message=said) for kind, score, said in found)


def _apart(one: float, other: float) -> float:
    """How far; 0 for what differs by the rounding of floats alone."""
    away = abs(one - other)
    return away if away > _ROUNDING * max(abs(one), abs(other)) else 0.0


def _unknown(name: str, value: float) -> Anomaly:
    return Anomaly(kind=AnomalyKind.UNKNOWN, name=name, score=0.0, message=f"{name} is {value}, which is no number")
