"""Puts two crashes into one finding: what the first left, that all was well then, and what the second made of it.

Takes a finding about a second run as `findings.py` makes it, and the first crash in words; gives the finding that is
reported. Its id is not that of the same damage after one crash. Pure text; it must not decide anything. Read
`explanation.py` for the words of one crash.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import final

from chaos.child import values
from chaos.observations import Ending, Finding, Outcome
from chaos.report.blame import Blamed
from chaos.report.places import short_place

__all__ = ["FirstCrash", "second_id", "told_with_first"]

_SHOWN = 3  # operations of the first crash told in words
_VALUE_LIMIT = 80
_MESSAGE_LIMIT = 60  # of a title; the explanation has the whole


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCrash:
    """A first crash, for people.

    Attributes:
        recipe: the state that it left.
        model: the persistence model's name.
        point: its crash point.
        acked: how many acknowledgements had been made.
        blamed: what it lost or tore, else the last operation.
        timeline: the operations around it.
        outcome: what recovery made of the state.
    """

    recipe: str
    model: str
    point: int
    acked: int
    blamed: tuple[Blamed, ...]
    timeline: tuple[str, ...]
    outcome: Outcome

    @property
    def losses(self) -> int:
        """How many operations it lost or tore."""
        return sum(one.loss != "last" for one in self.blamed)


def second_id(finding_id: str) -> str:
    """The id of a finding that takes two crashes; `finding_id` is what it would be after one."""
    return blake2b(f"{finding_id}\0second".encode(), digest_size=6).hexdigest()


def told_with_first(finding: Finding, first: FirstCrash) -> Finding:
    """A finding about a second run, told from the first crash on; `states` and `model` are left as they are."""
    power = first.model != "kill"
    crashes_again = bool(finding.state)
    again = f"then {finding.state}" if crashes_again else "then no second crash"
    return replace(
        finding,
        id=second_id(finding.id),
        title=_title(finding, first, crashes_again),
        explanation=(
            *_first_words(first.blamed, power),
            *_between(first.outcome),
            *_second_words(finding.explanation, crashes_again),
        ),
        timeline=(
            "first run:",
            *first.timeline,
            *_second_rows(finding.timeline, first.acked, crashes_again),
        ),
        state=f"{first.recipe} {again}",
        extra={
            **finding.extra,
            "depth": "2",
            "first_model": first.model,
            "first_point": str(first.point),
            "first_state": first.recipe,
            "first_lost_or_torn": str(first.losses),
            "second_state": finding.state,
        },
    )


def _title(finding: Finding, first: FirstCrash, crashes_again: bool) -> str:
    where = "before the first operation"
    if first.blamed:
        one = first.blamed[0]
        where = f"at {short_place(one.frame)}" if one.frame else f"at {one.called}"
    if crashes_again:
        return f"{finding.title} (second crash, the first one {where})"
    message = finding.extra.get("message", finding.title)
    shown = message if len(message) <= _MESSAGE_LIMIT else f"{message[:_MESSAGE_LIMIT]}..."
    return f"run on after a crash {where}: {shown}"


def _first_words(blamed: Sequence[Blamed], power: bool) -> list[str]:
    words = [f"first crash: {one.sentence(power=power)}" for one in blamed[:_SHOWN]]
    if len(blamed) > _SHOWN:
        words.append(f"first crash: and {len(blamed) - _SHOWN} more operations")
    return words or ["first crash: before the first operation"]


def _between(outcome: Outcome) -> list[str]:
    if outcome.ending is Ending.RETURNED:
        shown = values.render(outcome.value, _VALUE_LIMIT)
        return [f"recovery was right then, it returned {shown}, and the program went on"]
    return ["recovery failed as it may at that point, and the program went on"]


def _second_rows(rows: Sequence[str], acked: int, crashes_again: bool) -> list[str]:
    """The second run's rows, without the first run's acknowledgements, which stand before all of them."""
    head = "second run, started on what that left:"
    if not crashes_again:
        return [head, "      <- ran on to its end"]
    told = 0
    while told < min(acked, len(rows)) and rows[told].startswith("      acknowledged"):
        told += 1
    return [head, *rows[told:]]


def _second_words(explanation: Sequence[str], crashes_again: bool) -> list[str]:
    if not crashes_again:
        return ["no second crash: the program ran on to its end", *explanation[1:]]
    return [f"second crash: {explanation[0]}", *explanation[1:]] if explanation else []
