"""When a loop ends: small pure objects, joined with `&` and `|`, kept as JSON with the run.

    stop_when = MaxIterations(20) | Timeout(600.0) | ResourceLimit(cost_nano_usd=5_000_000_000)

A condition is a function of `Facts` and nothing else, so a run that is resumed elsewhere ends where it would have.
`a | b` ends when either does, `a & b` when both do; where several hold, the gravest ending is told, so that a run that
is out of time and out of iterations at once ends by the time. `decide` adds the rules above all: a run whose last step
failed never ends *completed*, nor does one that is out of iterations while its last step is to be done again, and one
whose last step was cut off at its deadline ends by a time-out.
Read `facts.py` for what is known, `controller.py` for who asks.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, final

from pytest_guardrails.callables import finished
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.loops.facts import Ending, Facts, LoopState, Outcome, Reason

__all__ = [
    "AllOf",
    "AnyOf",
    "Condition",
    "ConsecutiveFailures",
    "Custom",
    "ErrorRate",
    "External",
    "MaxIterations",
    "NoProgress",
    "Predicates",
    "ResourceLimit",
    "Timeout",
    "decide",
    "parse_condition",
]

Predicates = Mapping[str, Callable[[Facts], bool]]
_GRAVITY = {LoopState.COMPLETED: 0, LoopState.FAILED: 1, LoopState.ABORTED: 2}


@dataclass(frozen=True, slots=True)
class Condition(ABC):
    """One reason to end; see the module."""

    kind: ClassVar[str]

    @abstractmethod
    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:
        """How the loop ends, by these facts; None when it goes on."""

    def time_left_s(self, facts: Facts) -> float | None:  # noqa: ARG002 - most have no time
        """After how many seconds of running it will end the loop for sure; None when time alone never does."""
        return None

    def names(self) -> Iterator[str]:
        """The predicates that it needs."""
        return iter(())

    def plain(self) -> dict[str, Any]:
        """As JSON knows it; `parse_condition` is the inverse."""
        return {"kind": self.kind, **{entry.name: getattr(self, entry.name) for entry in fields(self)}}

    def __and__(self, other: "Condition") -> "AllOf":
        return AllOf((self, other))

    def __or__(self, other: "Condition") -> "AnyOf":
        return AnyOf((self, other))


@dataclass(frozen=True, slots=True)
class _Joined(Condition):
    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigurationError(f"{self.kind} needs at least one condition")

    def names(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.names()

    def plain(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": [part.plain() for part in self.parts]}


@final
@dataclass(frozen=True, slots=True)
class AnyOf(_Joined):
    """Ends when any part does, by the gravest of those that do; of equals by the first."""

    kind: ClassVar[str] = "any"

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:
        """See `Condition.check`."""
        endings = (part.check(facts, predicates) for part in self.parts)
        return max((ending for ending in endings if ending), key=_gravity, default=None)

    def time_left_s(self, facts: Facts) -> float | None:
        """See `Condition.time_left_s`."""
        return min((left for part in self.parts if (left := part.time_left_s(facts)) is not None), default=None)


@final
@dataclass(frozen=True, slots=True)
class AllOf(_Joined):
    """Ends when all parts do, by the gravest ending."""

    kind: ClassVar[str] = "all"

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:
        """See `Condition.check`."""
        endings = [part.check(facts, predicates) for part in self.parts]
        found = [ending for ending in endings if ending is not None]
        if len(found) < len(endings):
            return None
        return replace(max(found, key=_gravity), detail=" and ".join(ending.detail for ending in found))

    def time_left_s(self, facts: Facts) -> float | None:
        """See `Condition.time_left_s`; only if every other part holds already."""
        open_parts = [part for part in self.parts if part.time_left_s(facts) is None]
        if any(part.check(facts, {}) is None for part in open_parts if not list(part.names())):
            return None
        if any(list(part.names()) for part in open_parts):
            return None
        return max((left for part in self.parts if (left := part.time_left_s(facts)) is not None), default=None)


@final
@dataclass(frozen=True, slots=True)
class MaxIterations(Condition):
    """So many iterations, and no more; the work is then done."""

    limit: int
    kind: ClassVar[str] = "max_iterations"

    def __post_init__(self) -> None:
        _at_least(self, "limit", self.limit, 1)

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        if facts.iterations < self.limit:
            return None
        return _ending(LoopState.COMPLETED, Reason.MAX_ITERATIONS, f"{facts.iterations} iterations were executed")


@final
@dataclass(frozen=True, slots=True)
class Timeout(Condition):
    """So many seconds of running, pauses and the time between two owners left out."""

    limit_s: float
    kind: ClassVar[str] = "timeout"

    def __post_init__(self) -> None:
        _positive(self, "limit_s", self.limit_s)

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        if facts.elapsed_s < self.limit_s:
            return None
        return _ending(LoopState.ABORTED, Reason.TIMEOUT, f"it ran for {facts.elapsed_s:.3g} s of {self.limit_s:g} s")

    def time_left_s(self, facts: Facts) -> float | None:
        """See `Condition.time_left_s`."""
        return max(0.0, self.limit_s - facts.elapsed_s)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimit(Condition):
    """What the run, or its last iteration, used reached a limit; see `Facts` for each. None is no limit."""

    cpu_percent: float | None = None
    cpu_s: float | None = None
    rss_bytes: int | None = None
    open_files: int | None = None
    cost_nano_usd: int | None = None
    tokens: int | None = None
    kind: ClassVar[str] = "resource_limit"

    def __post_init__(self) -> None:
        limits = [(entry.name, getattr(self, entry.name)) for entry in fields(self)]
        if all(limit is None for _, limit in limits):
            raise ConfigurationError("ResourceLimit needs at least one limit")
        for name, limit in limits:
            if limit is not None:
                _positive(self, name, limit)

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        for entry in fields(self):
            limit, used = getattr(self, entry.name), getattr(facts, entry.name)
            if limit is not None and used >= limit:
                return _ending(LoopState.ABORTED, Reason.RESOURCE_LIMIT, f"{entry.name} is {used:g} of {limit:g}")
        return None


@final
@dataclass(frozen=True, slots=True)
class ConsecutiveFailures(Condition):
    """So many iterations in a row were not good."""

    limit: int
    kind: ClassVar[str] = "consecutive_failures"

    def __post_init__(self) -> None:
        _at_least(self, "limit", self.limit, 1)

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        if facts.consecutive_failures < self.limit:
            return None
        return _ending(LoopState.FAILED, Reason.ERROR, f"{facts.consecutive_failures} iterations in a row failed")


@final
@dataclass(frozen=True, slots=True)
class ErrorRate(Condition):
    """A share of the last iterations was not good.

    Attributes:
        share: above 0, up to 1.
        window: of so many iterations, at most 100.
        least: only from so many iterations on.
    """

    share: float
    window: int = 20
    least: int = 10
    kind: ClassVar[str] = "error_rate"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"{self.kind}: share is above 0, up to 1, not {self.share}")
        _at_least(self, "least", self.least, 1)
        if not self.least <= self.window <= 100:
            raise ConfigurationError(f"{self.kind}: window is from {self.least} (least) to 100, not {self.window}")

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        seen = facts.recent[-self.window :]
        bad = seen.count(False)
        if len(seen) < self.least or bad < self.share * len(seen):
            return None
        return _ending(LoopState.FAILED, Reason.ERROR, f"{bad} of the last {len(seen)} iterations failed")


@final
@dataclass(frozen=True, slots=True)
class NoProgress(Condition):
    """So many iterations whose progress mark was not new; steps that give no mark never end a loop by this."""

    limit: int
    kind: ClassVar[str] = "no_progress"

    def __post_init__(self) -> None:
        _at_least(self, "limit", self.limit, 1)

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        if facts.since_progress < self.limit:
            return None
        return _ending(LoopState.ABORTED, Reason.STUCK, f"{facts.since_progress} iterations without progress")


@final
@dataclass(frozen=True, slots=True)
class External(Condition):
    """A signal of this name was raised, by `LoopController.signal` of any process."""

    name: str
    kind: ClassVar[str] = "external"

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:  # noqa: ARG002
        """See `Condition.check`."""
        if self.name not in facts.signals:
            return None
        return _ending(LoopState.COMPLETED, Reason.CONDITION_MET, f"the signal {self.name!r} was raised")


@final
@dataclass(frozen=True, slots=True)
class Custom(Condition):
    """A predicate of the program's own; it is handed over by name, since code can't be kept with the run."""

    name: str
    kind: ClassVar[str] = "custom"

    def check(self, facts: Facts, predicates: Predicates) -> Ending | None:
        """See `Condition.check`."""
        try:
            if not finished(predicates[self.name](facts), "it"):
                return None
        except Exception as error:  # noqa: BLE001 - the edge to code of others: what can't be judged does not go on
            said = f"the condition {self.name!r} can't be judged: {type(error).__name__}: {error}"
            return _ending(LoopState.FAILED, Reason.ERROR, said)
        return _ending(LoopState.COMPLETED, Reason.CONDITION_MET, f"the condition {self.name!r} holds")

    def names(self) -> Iterator[str]:
        """See `Condition.names`."""
        yield self.name


_KINDS: dict[str, type[Condition]] = {
    kind.kind: kind
    for kind in (MaxIterations, Timeout, ResourceLimit, ConsecutiveFailures, ErrorRate, NoProgress, External, Custom)
}
_JOINED: dict[str, type[_Joined]] = {AnyOf.kind: AnyOf, AllOf.kind: AllOf}


def parse_condition(plain: Mapping[str, Any]) -> Condition:
    """The inverse of `Condition.plain`.

    Raises:
        ConfigurationError: it is none, or of a kind that this version does not know.
    """
    kind = plain.get("kind")
    given = {name: value for name, value in plain.items() if name != "kind"}
    try:
        if kind in _JOINED:
            return _JOINED[kind](tuple(parse_condition(part) for part in given["parts"]))
        return _KINDS[str(kind)](**given)
    except (KeyError, TypeError) as error:
        known = ", ".join([*_KINDS, *_JOINED])
        raise ConfigurationError(f"{dict(plain)!r} is no termination condition; there are {known}") from error


def decide(condition: Condition, facts: Facts, predicates: Predicates) -> Ending | None:
    """How the loop ends by these facts; None when it goes on. See the module."""
    ending = condition.check(facts, predicates)
    if ending is None or ending.state is LoopState.ABORTED:
        return ending
    if facts.last is Outcome.TIMEOUT:
        said = f"{ending.detail}, and the last one was cut off at its deadline"
        return replace(ending, state=LoopState.ABORTED, reason=Reason.TIMEOUT, detail=said)
    if ending.state is LoopState.FAILED:
        return ending
    if facts.consecutive_failures:
        return replace(ending, state=LoopState.FAILED, detail=f"{ending.detail}, and the last one failed")
    if facts.unfinished and ending.reason is Reason.MAX_ITERATIONS:
        return replace(ending, state=LoopState.FAILED, detail=f"{ending.detail}, and the last one is to be done again")
    return ending


def _gravity(ending: Ending) -> int:
    return _GRAVITY[ending.state]


def _ending(state: LoopState, reason: Reason, detail: str) -> Ending:
    return Ending(state=state, reason=reason, detail=detail)


def _at_least(condition: Condition, name: str, value: int, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{condition.kind}: {name} is a whole number from {least}, not {value!r}")


def _positive(condition: Condition, name: str, value: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ConfigurationError(f"{condition.kind}: {name} is a finite number above 0, not {value!r}")
