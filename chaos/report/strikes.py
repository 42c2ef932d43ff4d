"""Findings in runs that faults struck, in words: what was struck, what the program made of it, the calls around it.

Pure text, as `explanation.py`; what the faults are is told by whoever injected them. Read `findings.py` next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.child import values
from chaos.observations import Ending, Finding, Observation, Outcome, Reference, Violation
from chaos.oracles.answer import ending_words, is_legal, same
from chaos.report.blame import Blamed, signature
from chaos.report.findings import finding_id
from chaos.report.places import place, short_place, shown_path, user_frame
from chaos.report.timeline import ROWS, operation_row
from chaos.trace.model import Ack, Frame, Kind, Op, Trace

__all__ = ["Strike", "blamed_strike", "strike_signature", "struck_finding", "told_with_strikes", "workload_words"]

_SHOWN = 3
_VALUE_LIMIT = 80


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One call that a fault struck.

    Attributes:
        call: its name.
        path: what it was about.
        done: what became of it, e.g. "failed with ENOSPC".
        fault: which of the run's faults did it.
        acked: how many acknowledgements had been made.
        after: how many operations had taken effect.
        source: the Python frames that made it, innermost first.
    """

    call: str
    path: str
    done: str
    fault: int
    acked: int
    after: int
    source: tuple[Frame, ...] = ()

    @property
    def frame(self) -> Frame | None:
        """The user's source line that made it."""
        return user_frame(self.source)

    @property
    def words(self) -> str:
        """What happened, without the place."""
        return f"{self.call}(){f' of {shown_path(self.path)}' if self.path else ''} {self.done}"

    @property
    def sentence(self) -> str:
        """One line: from which source line, which call, and what became of it."""
        return f"{place(self.frame)}: {self.words}" if self.frame else self.words


def blamed_strike(strikes: Sequence[Strike]) -> Strike:
    """The one to blame: where the fault that struck last struck first; what it went on to do follows from that."""
    return next(strike for strike in strikes if strike.fault == strikes[-1].fault)


def strike_signature(strike: Strike) -> str:
    """What strikes of one cause have in common: the source line, or the call and the shape of its path."""
    op = Op(seq=0, kind=Kind.WRITE, call=strike.call, path=strike.path, source=strike.source)
    return signature(Blamed(op=op, loss="last"))


def workload_words(run: Outcome) -> str:
    """How the workload's own run ended, as a sentence without its subject."""
    if run.ending is Ending.RETURNED:
        return "went on to its end"
    return ending_words(replace(run, error=run.error.split("\n")[0]))


def struck_finding(
    scenario: str,
    model: str,
    trace: Trace,
    strikes: Sequence[Strike],
    found: tuple[Observation, Violation],
    reference: Reference,
) -> Finding:
    """A finding in what a struck run left.

    Args:
        scenario: its name.
        model: what stands for the persistence model.
        trace: the run.
        strikes: at least one; see `blamed_strike`.
        found: what was seen and the objection to it; `state` is the plan.
        reference: what it was judged against.
    """
    observation, violation = found
    last, outcome = blamed_strike(strikes), observation.outcome
    where = f"{short_place(last.frame)}: " if last.frame else ""
    return Finding(
        id=finding_id(
            scenario, violation.oracle, violation.damage, _error_type(found), [strike_signature(last), last.done]
        ),
        scenario=scenario,
        oracle=violation.oracle,
        damage=violation.damage,
        model=model,
        title=f"{where}{last.words}, and {_short(violation, outcome)}",
        explanation=_explanation(strikes, observation, violation, reference),
        source=last.frame,
        timeline=_timeline(trace, strikes, observation),
        point=observation.point,
        state=observation.state,
        states=1,
        outcome=outcome,
        extra={
            "unit": "run",
            "acked": str(observation.acked),
            "blamed": f"{short_place(last.frame)}: {last.words}" if last.frame else last.words,
            "frames": "; ".join(f"{frame.file}:{frame.line} {frame.function}" for frame in last.source),
            "message": violation.message,
        },
    )


def told_with_strikes(finding: Finding, plan: str, strikes: Sequence[Strike], run: Outcome) -> Finding:
    """A finding in a crash state of a struck run, told with what struck it."""
    last = blamed_strike(strikes)
    lines = [finding.id, strike_signature(last), last.done]
    return replace(
        finding,
        id=finding_id(finding.scenario, finding.oracle, finding.damage, "struck", lines),
        title=f"{finding.title} (after {last.words})",
        explanation=(*_struck_lines(strikes), f"the workload {workload_words(run)}", *finding.explanation),
        extra={**finding.extra, "plan": plan},
    )


def _struck_lines(strikes: Sequence[Strike]) -> list[str]:
    lines = list(dict.fromkeys(strike.sentence for strike in strikes))
    more = [f"and {len(lines) - _SHOWN} more calls were struck"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def _explanation(
    strikes: Sequence[Strike], observation: Observation, violation: Violation, reference: Reference
) -> tuple[str, ...]:
    lines = _struck_lines(strikes)
    if observation.run is not None:
        lines.append(f"the workload {workload_words(observation.run)}")
    if observation.acked:
        last = values.render(reference.acks[observation.acked - 1].value, _VALUE_LIMIT)
        lines.append(
            f"{observation.acked} acknowledgement{'s'[: observation.acked > 1]} had been made, the last of {last}"
        )
    lines.append(f"then {violation.message}")
    again = observation.again
    if again is not None:
        right = again.ending is Ending.RETURNED and is_legal(again, observation, reference)
        way = "fails in the same way" if same(again, observation.outcome) else ending_words(again)
        lines.append(f"a second start {'is right' if right else way}")
    return tuple(lines)


def _short(violation: Violation, outcome: Outcome) -> str:
    if violation.oracle == "recovers":
        return "recovery fails" if outcome.ending is not Ending.RAISED else f"recovery raises {_name(outcome)}"
    told = {
        "durable": "an acknowledged state is lost",
        "atomic": "recovery returns a state that never was whole",
        "check": "the check objects to what recovery returns",
    }
    return told.get(violation.oracle, violation.message.partition(" (")[0])


def _name(outcome: Outcome) -> str:
    return outcome.error_type.rpartition(".")[2] or "an error"


def _error_type(found: tuple[Observation, Violation]) -> str:
    observation, violation = found
    outcome = observation.outcome
    return f"{outcome.ending.value} {outcome.error_type}" if violation.oracle == "recovers" else ""


def _timeline(trace: Trace, strikes: Sequence[Strike], observation: Observation) -> tuple[str, ...]:
    """The operations around the blamed strike, what struck and was acknowledged between them, how the run ended."""
    middle = blamed_strike(strikes).after
    first = max(0, min(middle - ROWS // 2, len(trace.ops) - ROWS))
    last = min(first + ROWS, len(trace.ops))
    rows: list[str] = []
    for seq in range(first, last + 1):
        rows += _between(trace, strikes, seq)
        if seq < last:
            op = trace.ops[seq]
            rows.append(operation_row(trace, op, f"errno {op.errno}" if op.errno else "done"))
    if last < len(trace.ops):
        rows.append(f"      ... {len(trace.ops) - last} more")
    if observation.run is not None:
        rows.append(f"      the workload {workload_words(observation.run)}"[:80])
    return tuple(rows)


def _between(trace: Trace, strikes: Sequence[Strike], seq: int) -> list[str]:
    """Strikes and acknowledgements after so many operations, in their order; equal ones in a row once."""
    events = [(number, 0, f"      acknowledged {values.render(ack.value, 50)}") for number, ack in _acks(trace, seq)]
    events += [(strike.acked, 1, f"      <- {strike.words}") for strike in strikes if strike.after == seq]
    rows = [row for _, _, row in sorted(events, key=lambda event: event[:2])]
    return [row for place, row in enumerate(rows) if place == 0 or row != rows[place - 1]]


def _acks(trace: Trace, seq: int) -> Iterator[tuple[int, Ack]]:
    return ((number, ack) for number, ack in enumerate(trace.acks, start=1) if ack.after == seq)
