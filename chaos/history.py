"""Histories: what several processes asked of one thing, what they were answered, and when.

Pure data, shared by whoever runs processes side by side and by the oracles that judge them. Positions are any
numbers that grow with time and are common to all processes; only their order counts.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, final

__all__ = ["Answer", "Operation"]


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
