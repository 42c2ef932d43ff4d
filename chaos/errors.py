"""The harness's error tree; each leaf of the first level is one exit code of the command `chaos`.

An error of the *target* is never raised here: it is an `Outcome` and becomes a finding. Read `observations.py` next.
"""

from typing import ClassVar

__all__ = ["EXIT_INTERRUPTED", "ChaosError", "HarnessFault", "NotMeasured", "UsageError", "is_usage", "refused_target"]


EXIT_INTERRUPTED = 130  # of the command `chaos`: 128 + SIGINT, as shells have it


class ChaosError(Exception):
    """Anything that the harness raises on purpose.

    Attributes:
        exit_code: what the command `chaos` exits with when this reaches it.
        hint: the next step for the reader, or an empty string.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class UsageError(ChaosError):
    """The command line, a scenario or a file given by the user is wrong."""

    exit_code = 2


class NotMeasured(ChaosError):  # noqa: N818 - a verdict's name in the field's terms, not a malfunction
    """Nothing could be tested: no engine, no operation recorded, no crash point within the budget."""

    exit_code = 3


class HarnessFault(ChaosError):  # noqa: N818 - likewise
    """The harness itself failed; the target is not to blame."""

    exit_code = 4


def refused_target(told: str, hint: str) -> UsageError:
    """What to raise when a target's process says that it can't run it.

    Args:
        told: what it says; it may end in a next step of its own.
        hint: the next step otherwise.
    """
    message, _, own = told.strip().partition("\n  next: ")
    return UsageError(message, own or hint)


def is_usage(told: object) -> bool:
    """For `__tracebackhide__`: pytest then shows the line that gave a wrong value, not those that refused it.

    Args:
        told: what pytest knows of an exception; its `value` is that.
    """
    return isinstance(getattr(told, "value", None), UsageError)
