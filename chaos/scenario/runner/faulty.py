"""One run of a workload with faults: set up, struck, recorded, proven; then recovery on what it left, and the oracles.

Read `injecting.py` for which runs are made.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.disk import initial_tree
from chaos.errors import HarnessFault
from chaos.explore.exploration import Exploration
from chaos.faults.fault import Fault
from chaos.faults.plan import Plan
from chaos.faults.policy import FaultPolicy, Struck
from chaos.observations import Ending, Observation, Outcome, Reference, Verdict, Violation
from chaos.oracles import OracleVerdict, Panel, joined
from chaos.report.strikes import Strike
from chaos.scenario.kinds.inject import INJECT_MODEL
from chaos.scenario.model import Explore
from chaos.scenario.runner.recording import check_proven, deadline_note, ended_words, last_words, recorded_run
from chaos.trace.model import Trace

__all__ = ["FaultyRun", "FaultyRuns", "reference_of", "strikes_of"]

_OUTLIVED = re.compile(r"killed [\d.e+-]+ s after the main process had ended: (.*)")
_RAISED = re.compile(r"((?:\w+\.)*[A-Z]\w*)(?:: (.*))?")  # the last line of a traceback
_ERROR_LIMIT = 500


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyRun:
    """What one run came to.

    Attributes:
        plan: what was done to it.
        trace: what it did.
        struck: what was struck, in order.
        matched: for each fault, how many calls matched.
        observation: recovery on what it left; `run` is how it ended itself.
        reference: what it is judged against.
        violation: the most telling objection, if there is any.
    """

    plan: Plan
    trace: Trace
    struck: tuple[Struck, ...]
    matched: tuple[int, ...]
    observation: Observation
    reference: Reference
    violation: Violation | None

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """What was struck, in words."""
        return strikes_of(self.plan.faults, self.struck)


@final
class FaultyRuns:
    """Makes them, one after the other; counts what the oracles say.

    Args:
        base: the workload, and how it is recorded.
        clean: a run without faults, which says what is right.
        exploration: of that run.
        oracles: what must hold.

    Attributes:
        reference: recovery on the trees of the run without faults.
        undamaged: objections to that run.
    """

    def __init__(self, base: Explore, clean: Trace, exploration: Exploration, oracles: tuple[str, ...]) -> None:
        self._base, self._exploration, self._oracles = base, exploration, oracles
        # What is not watched has no place in the tree, so that a set-up with such files is run each time.
        self._initial = None if base.exclude else initial_tree(clean)
        self.reference = exploration.reference
        self._panel = Panel(self.reference, oracles, operations=len(clean.ops))
        self._verdicts: dict[str, OracleVerdict] = {}
        self.undamaged = self._panel.judge_reference()
        # What an oracle has against the run without faults it would have against every other.
        told = {violation.oracle for violation in self.undamaged}
        self._judging = tuple(name for name in oracles if name not in told)

    def play(self, plan: Plan, *, counted: bool = True) -> FaultyRun:
        """Make one run.

        Args:
            plan: what is done to it.
            counted: whether its verdicts count; those of runs that shrink a finding do not.

        Raises:
            UsageError: the set-up fails.
            NotMeasured: the engine does not work here, or something that the workload does can't be modelled.
            HarnessFault: the recording is wrong, or a worker failed.
        """
        policy = FaultPolicy(plan.faults, seed=plan.seed)
        reads = any(fault.strikes_reads for fault in plan.faults)
        with recorded_run(self._base, policy=policy, initial=self._initial, reads=reads) as (trace, disk, tail):
            late = deadline_note(trace)
            try:
                check_proven(trace, disk)
            except HarnessFault:
                if not late:  # killed from outside, it may have stored through a mapping to the last
                    raise
            run = _outcome(trace, tail, late)
            if self._base.bounds.file_bytes is not None:
                run = replace(run, file_bytes=_longest_file(disk))
            texts = tuple(ack.value for ack in trace.acks)
            first, again, resumed = self._exploration.observe_left(disk, texts)
        observation = Observation(
            state=plan.text(),
            model=INJECT_MODEL,
            point=len(trace.ops),
            acked=len(trace.acks),
            outcome=first,
            again=again,
            resumed=resumed,
            run=run,
        )
        reference = reference_of(trace, self.reference)
        found = self._judge(observation, reference, counted=counted and bool(policy.struck))
        return FaultyRun(
            plan=plan,
            trace=trace,
            struck=tuple(policy.struck),
            matched=policy.matched,
            observation=observation,
            reference=reference,
            violation=found,
        )

    def verdicts(self) -> tuple[OracleVerdict, ...]:
        """What the oracles say of all runs that count."""
        undamaged = {one.oracle: one for one in self._panel.verdicts() if one.oracle not in self._judging}
        return tuple(undamaged.get(name) or self._verdicts.get(name, _nothing(name)) for name in self._oracles)

    def _judge(self, observation: Observation, reference: Reference, *, counted: bool) -> Violation | None:
        panel = Panel(reference, self._judging, operations=observation.point)
        found = panel.judge(observation)
        for verdict in panel.verdicts() if counted else ():
            known = self._verdicts.get(verdict.oracle)
            self._verdicts[verdict.oracle] = verdict if known is None else joined(known, verdict)
        return found[0] if found else None


def reference_of(trace: Trace, clean: Reference) -> Reference:
    """What a struck run is judged against.

    The run without faults says what is right for one that acknowledged the same, as far as it came: the state of the
    last acknowledgement or, for a step that failed may be there all the same, that of the next. Where
    acknowledged values repeat, one that went on to its end and acknowledged less has left out a step: nobody knows
    which.
    """
    made, usual = [ack.value for ack in trace.acks], [ack.value for ack in clean.acks]
    left_out = len(made) < len(usual) and trace.exit_code == 0 and len(set(usual)) < len(usual)
    if made == usual[: len(made)] and not left_out:
        return clean
    own = replace(clean.steps[0], ending=Ending.RAISED, value="", error_type="(unknown)")
    steps = (clean.steps[0], *[own] * len(made), clean.steps[-1])
    return replace(clean, steps=steps, acks=trace.acks, first=clean, diverged=True)


def strikes_of(faults: Sequence[Fault], struck: Sequence[Struck]) -> tuple[Strike, ...]:
    """What a policy says it struck, in words."""
    return tuple(
        Strike(
            call=one.call.name,
            path=f"{one.call.path} to {one.call.to_path}" if one.call.to_path else one.call.path,
            done=faults[one.fault].done(),
            fault=one.fault,
            acked=one.acked,
            after=one.after,
            source=one.source,
        )
        for one in struck
    )


def _outcome(trace: Trace, tail: str, late: str) -> Outcome:
    """How the workload's own run ended."""
    acks = tuple(ack.value for ack in trace.acks)
    left = tuple(
        f"process still running: {found[1]}" for note in trace.notes if (found := _OUTLIVED.fullmatch(note)) is not None
    )
    ended = Outcome(ending=Ending.RETURNED, acks=acks, leftovers=left)
    if late:
        return replace(ended, ending=Ending.HUNG, error_type="deadline", error=late)
    if trace.exit_code < 0:
        return replace(
            ended,
            ending=Ending.KILLED,
            error_type="signal",
            detail=-trace.exit_code,
            error=ended_words(trace.exit_code),
        )
    if trace.exit_code:
        kind, error = _last_error(tail, trace.exit_code)
        return replace(ended, ending=Ending.RAISED, error_type=kind, error=error, detail=trace.exit_code)
    return ended


def _last_error(tail: str, code: int) -> tuple[str, str]:
    """(type, message) of what a run printed last: a traceback's last line, else whatever it is."""
    line = ([""] + [one.strip() for one in last_words(tail).splitlines() if one.strip()])[-1][:_ERROR_LIMIT]
    found = _RAISED.fullmatch(line)
    return ("exit", line or ended_words(code)) if found is None else (found[1], found[2] or "")


def _longest_file(folder: str) -> int:
    """The size of the longest regular file, in bytes."""
    found = [os.lstat(os.path.join(above, name)) for above, _, names in os.walk(folder) for name in names]
    return max((one.st_size for one in found if stat.S_ISREG(one.st_mode)), default=0)


def _nothing(oracle: str) -> OracleVerdict:
    return OracleVerdict(oracle=oracle, verdict=Verdict.UNKNOWN, reason="no run was struck")
