"""Titles and explanations of findings, for a reader who has never seen a crash state.

First what was lost or cut and by which source line, then what recovery made of it, then whether anything helps.
Pure text; it must not decide anything. Read `findings.py` next.
"""

from collections.abc import Sequence

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Outcome, Reference, Violation
from chaos.oracles.answer import ending_words, is_legal, same
from chaos.report.blame import Blamed
from chaos.report.places import place, short_place, shown_path, user_frame

__all__ = ["explanation", "title", "undamaged_explanation", "undamaged_title"]

_SHOWN = 3  # operations told in words; the timeline has the others
_VALUE_LIMIT = 80
_PRINTED = 2  # lines of a command's output; its run folder's report has more
_PRINTED_LIMIT = 160
_NOT_COPIED = (
    "the copy has names, contents, links, permissions and times, but neither owners nor sockets, pipes and devices: "
    "what needs those is not measured, and no fault of the target"
)
_WHAT = {
    "durable": "an acknowledged state is lost",
    "atomic": "recovery returns a state that never was whole",
    "check": "the check objects to what recovery returns",
    "finite": "a number that is not finite comes back",
    "resumable": "the workload does not go on as without a crash",
    "clean": "something is left behind",
    "terminates": "the program does not end",
    "bounded": "what it takes is out of bounds",
}


def title(violation: Violation, damage: Damage, outcome: Outcome, blamed: Sequence[Blamed]) -> str:
    """One line: where and what."""
    first = blamed[0] if blamed else None
    where = "before the first operation"
    if first is not None:
        where = short_place(first.frame) if first.frame else first.called
    return f"{where}: {_what(violation, damage, outcome)}"


def undamaged_title(violation: Violation) -> str:
    """One line for a target that is broken without any crash."""
    return f"fails on an undamaged disk: {violation.message}"


def explanation(
    observation: Observation,
    violation: Violation,
    blamed: Sequence[Blamed],
    reference: Reference,
    *,
    power: bool,
    until: Blamed | None = None,
) -> tuple[str, ...]:
    """The lines of a finding; `observation.resumed` is told where it is there, and what ends the danger by `until`."""
    lines = [one.sentence(power=power) for one in blamed[:_SHOWN]]
    if len(blamed) > _SHOWN:
        lines.append(f"and {len(blamed) - _SHOWN} more operations")
    if not blamed:
        lines.append("the crash came before the first operation")
    lines += _until(blamed, until)
    if observation.acked:
        lines.append(_acked_words(observation.acked, reference))
    lines.append(_then(violation, observation.outcome))
    if violation.oracle == "recovers":
        lines += _printed(observation.outcome)
    if violation.oracle == "atomic" and not reference.acks:
        lines.append(
            "nothing was acknowledged, so all of it counts as one step: acknowledge each, or leave out `atomic`"
        )
    lines += _again(observation, reference)
    lines += _resumed(observation, violation, reference)
    return tuple(lines)


def _until(blamed: Sequence[Blamed], until: Blamed | None) -> list[str]:
    """What ends it, where that is another line of the program: an order of two steps is wrong then, or both are one."""
    if until is None or until.frame is None or until.where in [one.where for one in blamed]:
        return []
    return [f"a crash does the same up to {until.where}: {until.called}"]


def undamaged_explanation(violation: Violation, outcome: Outcome) -> tuple[str, ...]:
    """The lines of a finding that needs no crash; `outcome` is how recovery ended there."""
    lines = ["nothing was damaged: the workload ran, and recovery was started on a copy of what it left"]
    lines.append(violation.message)
    if violation.oracle == "recovers":
        lines += _printed(outcome)
    return (*lines, _NOT_COPIED) if violation.oracle in ("recovers", "check") else tuple(lines)


def _what(violation: Violation, damage: Damage, outcome: Outcome) -> str:
    if violation.oracle != "recovers":
        return "an acknowledged state is lost" if damage is Damage.LOST else _WHAT.get(violation.oracle, damage.value)
    short = {
        Ending.HUNG: "recovery hangs",
        Ending.MEMORY: "recovery eats its memory limit",
        Ending.KILLED: f"recovery dies of signal {outcome.detail}",
        Ending.EXITED: f"recovery exits with code {outcome.detail}",
    }
    if outcome.error_type == "exit":
        return short[Ending.EXITED]
    return short.get(outcome.ending, f"recovery raises {outcome.error_type.rpartition('.')[2]}")


def _acked_words(acked: int, reference: Reference) -> str:
    last = values.render(reference.acks[acked - 1].value, _VALUE_LIMIT) if acked <= len(reference.acks) else "?"
    return f"{acked} acknowledgement{'s' if acked > 1 else ''} had been made, the last of {last}"


def _then(violation: Violation, outcome: Outcome) -> str:
    message = violation.message
    if violation.oracle == "recovers":
        message = f"recovery {ending_words(outcome)}"
    frame = user_frame(outcome.frames)
    return f"then {message}" + (f" ({place(frame)})" if frame and outcome.ending is not Ending.RETURNED else "")


def _printed(outcome: Outcome) -> list[str]:
    """The end of what a failed command printed, which says why; Python code has its exception for that."""
    if outcome.error_type != "exit" and outcome.ending is not Ending.EXITED:
        return []
    lines = [line.strip() for line in outcome.output.splitlines() if line.strip()][-_PRINTED:]
    return [f"it printed: {shown_path(line)[:_PRINTED_LIMIT]}" for line in lines]


def _again(observation: Observation, reference: Reference) -> list[str]:
    again = observation.again
    if again is None:
        return []
    if again.ending is not Ending.RETURNED:
        if same(again, observation.outcome):
            return ["a second start fails in the same way"]
        return [f"a second start fails as well: it {ending_words(again)}"]
    words = "right" if is_legal(again, observation, reference) else "wrong"
    return [f"a second start returns a {words} value: {values.render(again.value, _VALUE_LIMIT)}"]


def _resumed(observation: Observation, violation: Violation, reference: Reference) -> list[str]:
    resumed = observation.resumed
    if resumed is None or violation.oracle == "resumable":
        return []
    if violation.oracle == "clean":
        return _removed(observation, resumed, reference)
    if resumed.ending is not Ending.RETURNED:
        if same(resumed, observation.outcome):
            return ["run on, the workload fails in the same way"]
        return [f"run on, the workload can't go on either: it {ending_words(resumed)}"]
    return [f"run on, the workload goes on, and recovery then returns {values.render(resumed.value, _VALUE_LIMIT)}"]


def _removed(observation: Observation, resumed: Outcome, reference: Reference) -> list[str]:
    left = {name for name in observation.outcome.names if name not in reference.names}
    if not left or not resumed.names:
        return []
    stays = left & set(resumed.names)
    return ["the next run of the workload does not remove it" if stays else "the next run of the workload removes it"]
