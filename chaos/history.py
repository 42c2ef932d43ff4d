"""Histories: what several processes asked of one thing, what they were answered, and when.

Pure data, shared by whoever runs processes side by side and by the oracles that judge them. Positions are any
numbers that grow with time and are common to all processes; only their order counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, final

from chaos.child.values import decode
from chaos.observations import Outcome

__all__ = ["Answer", "LiveRun", "Operation", "Said", "operations_of", "participant_words"]


@final
class Answer(str, Enum):
    """What became of an operation, as its caller knows it."""

    OK = "ok"
    FAIL = "fail"  # it certainly had no effect
    UNKNOWN = "unknown"  # in flight at the crash, or timed out: it may take effect at any later time, or never


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of one process, from its invocation to its answer.

    Attributes:
        process: who called.
        name: what: "read", "write", "cas", "enqueue" ...; the model says which names there are.
        argument: what it was called with; a plain value.
        result: what was answered; counts only with `Answer.OK`.
        answer: what became of it.
        called: position of the invocation.
        returned: position of the answer; None while there is none.
        key: which of several independent things it was about.
    """

    process: int
    name: str
    argument: Any = None
    result: Any = None
    answer: Answer = Answer.OK
    called: float
    returned: float | None = None
    key: Any = None


@final
class Said(NamedTuple):
    """One statement of a worker, as `chaos.child.witness` makes it: a letter for its kind, then canonical text.

    Attributes:
        position: where in the order of everything that happened.
        process: whose.
        text: `a` an acknowledgement, `+` and `-` in and out of a section, `(` a call, `)` its answer, `/` that it had
            no effect, `?` that nobody knows, `x` the worker's end.
    """

    position: int
    process: int
    text: str

    @property
    def value(self) -> Any:
        """What follows the letter, as a plain value."""
        return decode(self.text[1:])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """One run of several processes side by side, as oracles see it.

    Attributes:
        said: what the workers told, in order.
        outcomes: how each worker ended.
        check: how the user's check of what they left ended; None without one.
        waiting: who stood waiting for each other in the end, each with what it waits for; empty when nobody did.
        cut: why the run was ended by force; "" when it was not.
        racers: how many workers there are, when threads and processes of theirs have numbers as well; else 0.
    """

    said: tuple[Said, ...]
    outcomes: tuple[Outcome, ...]
    check: Outcome | None = None
    waiting: tuple[tuple[int, str], ...] = ()
    cut: str = ""
    racers: int = 0

    def named(self, number: int) -> str:
        """Who has a number."""
        return participant_words(number, self.racers)


def participant_words(number: int, racers: int) -> str:
    """Who takes part under a number, in words.

    Args:
        number: of n workers r has the number r, and the threads and processes that it starts have r + n, r + 2n, ...
        racers: how many workers there are; 0 when all numbers are theirs.
    """
    if number < racers or not racers:
        return f"worker {number}"
    return f"worker {number % racers}'s child {number // racers}"


def operations_of(said: Iterable[Said]) -> list[Operation]:
    """The history that statements tell; a call without an answer has an unknown outcome."""
    found: list[Operation] = []
    open_calls: dict[tuple[int, int], tuple[int, str, Any, Any]] = {}
    for one in said:
        if one.text[:1] == "(":
            number, name, argument, key = one.value
            open_calls[one.process, number] = (one.position, name, argument, key)
        elif one.text[:1] == ")":
            number, result = one.value
            if (one.process, number) not in open_calls:
                continue  # answered by another thread than asked: the outcome stays unknown
            called, name, argument, key = open_calls.pop((one.process, number))
            found.append(
                Operation(
                    process=one.process, name=name, argument=argument, key=key, result=result,
                    called=called, returned=one.position,
                )
            )  # fmt: skip
        elif one.text[:1] == "/" and (one.process, one.value[0]) in open_calls:
            called, name, argument, key = open_calls.pop((one.process, one.value[0]))
            found.append(
                Operation(
                    process=one.process, name=name, argument=argument, key=key, answer=Answer.FAIL,
                    called=called, returned=one.position,
                )
            )  # fmt: skip
    for (process, _), (called, name, argument, key) in open_calls.items():
        found.append(
            Operation(process=process, name=name, argument=argument, key=key, answer=Answer.UNKNOWN, called=called)
        )
    return found
