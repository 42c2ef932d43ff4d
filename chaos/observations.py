"""What was seen and what is concluded: the vocabulary shared by explorer, oracles and reports.

Pure data. An `Outcome` is one run of recovery (or of the workload), an `Observation` what recovery did on one
crash state, `Reference` what it does on undamaged states, a `Violation` one oracle's objection, a `Finding` the
group of violations that people read. This module imports only `chaos.trace.model`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import final

from chaos.trace.model import Ack, Frame

__all__ = [
    "Bounds",
    "Damage",
    "Ending",
    "Finding",
    "Observation",
    "Outcome",
    "Reference",
    "Verdict",
    "Violation",
]


@final
class Ending(str, Enum):
    """How a run in isolation ended."""

    RETURNED = "returned"
    RAISED = "raised"  # an exception, or a command's exit code other than 0
    EXITED = "exited"  # the process left by itself without returning (os._exit, sys.exit)
    KILLED = "killed"  # died by a signal
    HUNG = "hung"  # still running at its deadline; was killed
    MEMORY = "memory"  # went over its memory limit


@final
class Verdict(str, Enum):
    """An oracle's answer; its own crash is UNKNOWN, never HOLDS."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


@final
class Damage(str, Enum):
    """The kind of a finding, in the order of how much it hurts."""

    LOST = "lost acknowledgement"  # recovery returned an older state than was acknowledged
    SILENT = "silent damage"  # recovery returned a wrong value without complaint
    CANNOT_START = "cannot start"  # recovery fails, and the workload can't go on either
    STUCK = "stuck"  # processes wait for each other, or never end
    LOUD = "loud damage"  # recovery complains, yet the workload can go on
    EXCESS = "out of bounds"  # it takes more memory, disk or time than it may
    UNCLEAN = "unclean"  # something was left behind that no one will remove
    SELF_HEALED = "self-healed"  # first start fails, second is right; reported, not a violation


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of a target in isolation.

    Attributes:
        ending: how it ended.
        value: what it returned, as canonical JSON text (`chaos/child/values.py`); "" unless RETURNED.
        error_type: the exception's qualified name, or "exit" / "signal" / "deadline" / "memory".
        error: its message, one paragraph, bounded.
        frames: where it was raised, innermost first.
        detail: exit code or signal number, where there is one.
        check: the message of the user's own check when it objected, else "".
        acks: values acknowledged during this run, as canonical JSON text.
        names: paths present in the folder afterwards, relative, sorted; only when asked for.
        leftovers: what the run left open or running (processes, descriptors, locks), one line each; when asked.
        output: the tail of what a command printed, bounded.
        duration_s: wall time.
        memory_bytes: the most resident memory that it took beyond what it began with; 0 when not asked for.
        file_bytes: the size of the longest file in the folder afterwards; 0 when not asked for.
    """

    ending: Ending
    value: str = ""
    error_type: str = ""
    error: str = ""
    frames: tuple[Frame, ...] = ()
    detail: int = 0
    check: str = ""
    acks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    output: str = ""
    duration_s: float = 0.0
    memory_bytes: int = 0
    file_bytes: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a run may take; None sets no bound.

    Attributes:
        memory_bytes: resident memory of one recovery, beyond what it began with; of a fleet, of each worker in all.
        file_bytes: the longest file that the workload, a fleet or recovery leaves.
        disk_bytes: all files together that a fleet leaves.
        recovery_s: wall time of one recovery.
        rounds: acknowledgements that one run of the workload makes.
    """

    memory_bytes: int | None = None
    file_bytes: int | None = None
    disk_bytes: int | None = None
    recovery_s: float | None = None
    rounds: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What recovery did on one crash state.

    Attributes:
        state: the state's recipe, as canonical text; with the trace and the model it rebuilds the state.
        model: the persistence model's name.
        point: how many operations were issued before the crash (a torn one counts as issued).
        acked: how many of the trace's acknowledgements had been made.
        outcome: the first recovery.
        again: a second recovery on what the first one left, run when the first did not return a legal value.
        resumed: the workload run on from the recovered state, then recovery; only when an oracle asked.
        run: the workload's own run that led to this state, where a fault struck it.
        damaged: operations that the state lacks, has in part or in another order; only told of runs that `diverged`.
    """

    state: str
    model: str
    point: int
    acked: int
    outcome: Outcome
    again: Outcome | None = None
    resumed: Outcome | None = None
    run: Outcome | None = None
    damaged: tuple[int, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What recovery does on undamaged trees, against which crash states are judged.

    Attributes:
        steps: outcomes on the tree at the start, at each acknowledgement, and at the end: `len(acks) + 2`.
            A crash with k acknowledgements may legally show `steps[k]` or `steps[k + 1]`.
        acks: the trace's acknowledgements, in order.
        writers: how many processes acknowledged; above 1 the steps are not whole, and `atomic` is unknown
            unless the user gives a check.
        names: every path that an undamaged tree holds after recovery.
        checked: the user gave a check of their own, which then decides what is legal between the steps.
        overlaps: ranges of crash points, (after this one, up to this one), inside which several threads or processes
            were at work side by side: no state there is one step's.
        halfway: steps, as numbers, at whose acknowledgement another thread or process was in the middle of its work:
            where recovery fails there, that is what a crash there does, and no undamaged tree.
        vague: why recovered values can't be compared: they differ from run to run, or show nothing of their state.
        before: of a run that follows a crash: how many of the acknowledgements were made before it.
        first: of such a run: the reference of the run without any crash, which shows how values hold acknowledgements.
        diverged: the run acknowledged something else than `first`, because faults struck it: its steps are unknown.
        own: of such a run: what recovery does on its own undamaged trees; None where that was not asked for.
        bounds: what runs may take.
    """

    steps: tuple[Outcome, ...]
    acks: tuple[Ack, ...]
    writers: int
    names: frozenset[str] = frozenset()
    checked: bool = False
    overlaps: tuple[tuple[int, int], ...] = ()
    halfway: frozenset[int] = frozenset()
    vague: str = ""
    before: int = 0
    first: "Reference | None" = field(default=None, compare=False)
    diverged: bool = False
    own: "Reference | None" = field(default=None, compare=False)
    bounds: Bounds = field(default_factory=Bounds)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One oracle's objection to one observation.

    `state` is "" when the objection is to an undamaged tree: the target is broken without any crash.
    """

    oracle: str
    damage: Damage
    message: str
    state: str
    point: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Violations that have one cause, with the smallest witness, ready to be read and replayed.

    Attributes:
        id: stable over runs: a digest of scenario, oracle, damage, error type and source line.
        scenario: its name.
        oracle: which oracle objected.
        damage: what kind.
        model: the weakest persistence model that shows it; of other kinds, what was varied ("schedule").
        title: one line: where and what.
        explanation: a few lines: what was lost or torn, at which operation, from which source line.
        source: the source line to blame, if any operation of the witness has one.
        timeline: the operations around the crash, one line each, ready to print.
        point: the witness's crash point.
        state: the witness's recipe, enough to have it again; "" when an undamaged tree shows it.
        states: how many crash states show it; of other kinds, episodes or runs.
        outcome: recovery on the witness.
        advice: what would mend it, each proven on the trace.
        extra: numbers for the report.
    """

    id: str
    scenario: str
    oracle: str
    damage: Damage
    model: str
    title: str
    explanation: tuple[str, ...]
    source: Frame | None
    timeline: tuple[str, ...]
    point: int
    state: str
    states: int
    outcome: Outcome
    advice: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
