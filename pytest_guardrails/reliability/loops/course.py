"""What an iteration does to a run: a pure function from the record and what happened to the next record and its events.

Read `ledger.py` for the record, `controller.py` for the shell around.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from pytest_guardrails.reliability.loops.conditions import Condition, Predicates, decide
from pytest_guardrails.reliability.loops.facts import Ending, Facts, LoopState, Outcome, Reason
from pytest_guardrails.reliability.loops.ledger import Iteration, LoopRecord, Requests
from pytest_guardrails.reliability.loops.stepping import Executed, StepResult
from pytest_guardrails.reliability.loops.stuck import StuckDetector
from pytest_guardrails.reliability.loops.stuck_model import Level, Step, StepKind, Verdict
from pytest_guardrails.reliability.loops.wording import digest
from pytest_guardrails.reliability.telemetry import Draft, Sample, Severity, count, observe

__all__ = ["Advance", "Rules", "advance", "crashed", "settle_claim", "source_of", "state_draft"]

_MARKS = 64  # progress marks that are known again
_MARK_CHARACTERS = 16
_SEVERITY = {
    LoopState.FAILED: Severity.ERROR,
    LoopState.ABORTED: Severity.ERROR,
    LoopState.RECOVERED: Severity.WARNING,
}
_STUCK_SEVERITY = {Level.NOTE: Severity.INFO, Level.WARN: Severity.WARNING, Level.BLOCK: Severity.ERROR}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run is judged by.

    Attributes:
        condition: when it ends.
        predicates: of its own.
        detector: the stuck detector, which keeps its own state; None for none.
    """

    condition: Condition
    predicates: Predicates
    detector: StuckDetector | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What is to be written together.

    Attributes:
        record: the run after the iteration.
        iteration: what happened.
        drafts: events.
        samples: metrics.
    """

    record: LoopRecord
    iteration: Iteration
    drafts: tuple[Draft, ...]
    samples: tuple[Sample, ...]


def source_of(loop_id: str) -> str:
    """The source of a loop's events and metrics."""
    return f"loop/{loop_id}"


def advance(record: LoopRecord, done: Executed, rules: Rules, requests: Requests, elapsed_s: float) -> Advance:
    """The run after one more iteration.

    Args:
        record: the run before.
        done: what the step did.
        rules: how it is judged; the detector takes note of the step.
        requests: what was asked from outside.
        elapsed_s: how long the run has been running, over all owners.
    """
    marks, since = _progress(record, done.result)
    facts = record.facts.after(done.outcome, done.duration_s, done.usage, done.result.value)
    unfinished = done.result.kind is StepKind.RETRY
    facts = replace(facts, elapsed_s=elapsed_s, signals=requests.signals, since_progress=since, unfinished=unfinished)
    verdict = _judge(rules.detector, done)
    iteration = Iteration(
        number=facts.iterations,
        attempt=max(1, record.attempt),
        started_at=done.started_at,
        duration_s=done.duration_s,
        outcome=done.outcome,
        value=done.result.value,
        error=done.error,
        usage=done.usage,
        verdict=verdict.evidence,
    )
    following = replace(
        record,
        facts=facts,
        marks=marks,
        detector=rules.detector.get_state() if rules.detector else None,
        stuck_level=int(verdict.level),
        advice=verdict.evidence,
    )
    ending = _ending(done, verdict, facts, rules, requests)
    following = following.ended(ending) if ending else following.begun(LoopState.RUNNING)
    drafts = [*_step_drafts(record, iteration, verdict), *_ending_drafts(following, ending)]
    samples = (
        count("loop_iterations_total", outcome=done.outcome.value),
        observe("loop_step_seconds", done.duration_s),
        *((count("loop_ends_total", state=ending.state.value, reason=ending.reason.value),) if ending else ()),
    )
    return Advance(record=following, iteration=iteration, drafts=tuple(drafts), samples=samples)


def crashed(attempts: int) -> Executed:
    """What became of a step that never came to its end."""
    return Executed(outcome=Outcome.CRASHED, error=f"the process died in this step {attempts} times: it is given up")


def settle_claim(record: LoopRecord, paused: bool) -> tuple[LoopRecord, Draft]:
    """The record when an owner takes it, and the event that says so."""
    if record.state is LoopState.INITIALIZED:
        begun = record.begun(LoopState.RUNNING)
        return begun, state_draft(begun, f"run {record.run} starts")
    if paused:
        waiting = replace(record, state=LoopState.PAUSED, pending=0, attempt=0)
        return waiting, state_draft(waiting, "taken over; it stays paused")
    begun = record.begun(LoopState.RECOVERED, record.attempt + 1 if record.pending else 1)
    where = f"iteration {begun.pending}, attempt {begun.attempt}" if record.pending else f"iteration {begun.pending}"
    return begun, state_draft(begun, f"taken over from an owner that is gone; it goes on with {where}")


def state_draft(record: LoopRecord, message: str, detail: Mapping[str, Any] | None = None) -> Draft:
    """The event of a new state."""
    return Draft(
        source=source_of(record.loop_id),
        kind=f"loop.{record.state.value}",
        severity=_SEVERITY.get(record.state, Severity.INFO),
        scope=f"run/{record.run}",
        message=message,
        detail={"iterations": record.facts.iterations, "failures": record.facts.failures, **(detail or {})},
    )


def _progress(record: LoopRecord, result: StepResult) -> tuple[tuple[str, ...], int]:
    if result.progress is None:
        return record.marks, record.facts.since_progress
    mark = digest(result.progress)[:_MARK_CHARACTERS]
    known = mark in record.marks
    marks = (*(other for other in record.marks if other != mark), mark)[-_MARKS:]
    return marks, record.facts.since_progress + 1 if known else 0


def _judge(detector: StuckDetector | None, done: Executed) -> Verdict:
    """What raised is judged by the conditions on failures; what says nothing can't be judged."""
    said = done.result
    if detector is None or (said.feedback is None and said.progress is None and said.action is None):
        return Verdict()
    feedback = "" if said.feedback is None else said.feedback
    return detector.observe(Step(kind=said.kind, feedback=feedback, action=said.action, progress=said.progress))


def _ending(done: Executed, verdict: Verdict, facts: Facts, rules: Rules, requests: Requests) -> Ending | None:
    if done.result.done and done.outcome.good:
        return Ending(state=LoopState.COMPLETED, reason=Reason.COMPLETED, detail="the step says that the work is done")
    if requests.stop is not None:
        detail = f"{requests.stop}; {done.error}" if done.hung else requests.stop
        return Ending(state=LoopState.ABORTED, reason=Reason.MANUAL, detail=detail)
    if done.hung:
        return Ending(state=LoopState.ABORTED, reason=Reason.TIMEOUT, detail=done.error)
    if done.dependency:
        return Ending(state=LoopState.FAILED, reason=Reason.DEPENDENCY_FAILURE, detail=done.error)
    ending = decide(rules.condition, facts, rules.predicates)
    if ending is None and verdict.level is Level.STOP:
        state = LoopState.ABORTED if done.outcome.good else LoopState.FAILED
        return Ending(state=state, reason=Reason.STUCK, detail=verdict.evidence)
    return ending


def _step_drafts(record: LoopRecord, iteration: Iteration, verdict: Verdict) -> list[Draft]:
    source, scope = source_of(record.loop_id), f"run/{record.run}/iteration/{iteration.number}"
    drafts = []
    if not iteration.outcome.good:
        kind = f"loop.iteration_{iteration.outcome.value}"
        drafts.append(Draft(source=source, kind=kind, severity=Severity.WARNING, scope=scope, message=iteration.error))
    if verdict.level > record.stuck_level:
        detail = {"level": verdict.level.name.lower(), "pattern": verdict.pattern.value, "times": verdict.times}
        severity = _STUCK_SEVERITY.get(verdict.level, Severity.CRITICAL)
        drafts.append(
            Draft(
                source=source,
                kind="loop.stuck",
                severity=severity,
                scope=scope,
                message=verdict.evidence,
                detail=detail,
            )
        )
    return drafts


def _ending_drafts(record: LoopRecord, ending: Ending | None) -> list[Draft]:
    return [state_draft(record, ending.detail, {"reason": ending.reason.value})] if ending else []
