"""What a loop keeps in the store, as data: the run's record, its iterations, and what was asked of it from outside.

    loop/ID               the record: state, facts, conditions, detector, what is under way
    loop-iteration/ID/R/N iteration N of run R; the newest of the newest runs, see `LoopSettings`
    loop-request/ID       pause, stop and signals, written by anybody, obeyed by the owner

The record of a run under way names the iteration that was begun (`pending`) with the number of the attempt, so that a
process that dies in a step leaves a trace, and a step that kills its process every time is given up.
Fields that a newer program added are kept. Read `controller.py` for who writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, final

from pytest_guardrails.reliability.durability import safe_name
from pytest_guardrails.reliability.loops.facts import Ending, Facts, LoopState, Outcome, Reason, Usage
from pytest_guardrails.reliability.state import thaw
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = ["Iteration", "LoopRecord", "Requests", "iteration_key", "iterations_of", "record_key", "request_key"]

_FORMAT = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """One iteration, as it ended.

    Attributes:
        number: from 1.
        attempt: which one it was that came to its end.
        started_at: by the wall clock, in seconds since 1970-01-01 UTC; for people.
        duration_s: how long it took.
        outcome: how it ended.
        value: what the step returned.
        error: what it raised, or the feedback of a failure; "" when it was good.
        usage: what it used.
        verdict: the stuck detector's words; "" when it had nothing to say.
    """

    number: int
    attempt: int = 1
    started_at: float = 0.0
    duration_s: float = 0.0
    outcome: Outcome = Outcome.OK
    value: Any = None
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    verdict: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        usage = {entry.name: getattr(self.usage, entry.name) for entry in fields(self.usage)}
        return {**found, "format": _FORMAT, "outcome": self.outcome.value, "usage": usage}

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "Iteration":
        """The inverse of `plain`; fields that a newer program added are left out: an iteration is written once.

        Raises:
            NewerFormatError: as `LoopRecord.parse`.
        """
        known_format(plain, _FORMAT, f"iteration {plain.get('number')}")
        known = {entry.name: thaw(plain[entry.name]) for entry in fields(cls) if entry.name in plain}
        usage = {entry.name: known["usage"][entry.name] for entry in fields(Usage) if entry.name in known["usage"]}
        return cls(**{**known, "outcome": Outcome(known["outcome"]), "usage": Usage(**usage)})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecord:
    """A run as it stands.

    Attributes:
        loop_id: whose.
        run: number of the run of this loop, from 1.
        state: where it is.
        reason: why it ended; None while it has not.
        detail: the same for a person.
        facts: what is known of the run.
        condition: when it ends, as JSON.
        detector: the stuck detector's state; None when there is none.
        stuck_level: of the stuck detector's last verdict; see `Level`.
        advice: its words, for the next step; "" when it had nothing to say.
        marks: the progress marks that were seen last, newest last.
        pending: number of the iteration that was begun and is not recorded yet; 0 for none.
        attempt: how often that one was begun.
        started_at: by the wall clock; for people.
        kept_from: number of the run's oldest iteration that is still in the store.
        runs_from: number of the loop's oldest run that still has iterations there.
        unknown: fields that a newer program wrote.
    """

    loop_id: str
    run: int = 1
    state: LoopState = LoopState.INITIALIZED
    reason: Reason | None = None
    detail: str = ""
    facts: Facts = field(default_factory=Facts)
    condition: Mapping[str, Any] = field(default_factory=dict)
    detector: Mapping[str, Any] | None = None
    stuck_level: int = 0
    advice: str = ""
    marks: tuple[str, ...] = ()
    pending: int = 0
    attempt: int = 0
    started_at: float = 0.0
    kept_from: int = 1
    runs_from: int = 1
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def ended(self, ending: Ending) -> "LoopRecord":
        """The record of the run when it ended so."""
        return replace(self, state=ending.state, reason=ending.reason, detail=ending.detail, pending=0, attempt=0)

    def begun(self, state: LoopState, attempt: int = 1) -> "LoopRecord":
        """The record when the next iteration was begun."""
        return replace(self, state=state, pending=self.facts.iterations + 1, attempt=attempt)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "unknown"}
        known.update(
            format=_FORMAT,
            state=self.state.value,
            reason=self.reason.value if self.reason else None,
            facts=self.facts.plain(),
            marks=list(self.marks),
        )
        return {**self.unknown, **known}

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "LoopRecord":
        """The inverse of `plain`.

        Raises:
            NewerFormatError: a later version wrote it in a form that this one does not know.
        """
        known_format(plain, _FORMAT, f"loop {plain['loop_id']!r}")
        known = {entry.name: plain[entry.name] for entry in fields(cls) if entry.name in plain}
        known.update(
            state=LoopState(plain["state"]),
            reason=Reason(plain["reason"]) if plain["reason"] else None,
            facts=Facts.parse(plain["facts"]),
            marks=tuple(plain["marks"]),
            unknown={name: value for name, value in plain.items() if name not in known and name != "format"},
        )
        return cls(**known)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What was asked of a run from outside.

    Attributes:
        pause: it is to wait.
        stop: why it is to end; None when it is not.
        signals: names that conditions look at.
        unknown: fields that a newer program wrote.
    """

    pause: bool = False
    stop: str | None = None
    signals: frozenset[str] = frozenset()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        known = {"format": _FORMAT, "pause": self.pause, "stop": self.stop, "signals": sorted(self.signals)}
        return {**self.unknown, **known}

    @classmethod
    def parse(cls, plain: Mapping[str, Any] | None) -> "Requests":
        """The inverse of `plain`; None is no request.

        Raises:
            NewerFormatError: as `LoopRecord.parse`.
        """
        if plain is None:
            return cls()
        known_format(plain, _FORMAT, "what was asked of a loop")
        unknown = {name: value for name, value in plain.items() if name not in ("format", "pause", "stop", "signals")}
        return cls(pause=plain["pause"], stop=plain["stop"], signals=frozenset(plain["signals"]), unknown=unknown)


def record_key(loop_id: str) -> str:
    """Where the record lies."""
    return f"loop/{safe_name(loop_id)}"


def request_key(loop_id: str) -> str:
    """Where requests lie."""
    return f"loop-request/{safe_name(loop_id)}"


def iterations_of(loop_id: str, run: int) -> str:
    """What the keys of a run's iterations begin with."""
    return f"loop-iteration/{safe_name(loop_id)}/{run:06d}/"


def iteration_key(loop_id: str, run: int, number: int) -> str:
    """Where an iteration lies."""
    return f"{iterations_of(loop_id, run)}{number:09d}"
