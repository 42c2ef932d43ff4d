"""What kind of error it is: by type, words, error number and HTTP status. Pure; nothing is decided here.

Rules are tried in order, a program's own first; the first that fits wins. An error that none knows is judged by its
cause, and is UNKNOWN when that is not known either. Read `strategies.py` for what is done about each class.
"""

import errno
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, final

from pytest_guardrails.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    NewerFormatError,
    StorageError,
)
from pytest_guardrails.reliability.durability.finite_json import JsonRefusedError
from pytest_guardrails.reliability.loops.stepping import DependencyError, text_of

__all__ = ["DEFAULT_RULES", "ErrorClass", "ErrorRule", "classify", "retry_after_s"]

_CAUSES = 5  # of causes that are looked at
_LONGEST_WAIT_S = 3600.0
_TIMEOUT_NAME = re.compile(r"(?i)(timeout|timed ?out|timeoutexpired)(error|exception)?$")


@final
class ErrorClass(str, Enum):
    """What may be expected of trying again."""

    TRANSIENT = "transient"  # the next try may well succeed
    RATE_LIMITED = "rate limited"  # it will, after a wait
    RESOURCE = "resource"  # it will when there is room again
    CORRUPTION = "corruption"  # it won't before what was stored is mended
    DEPENDENCY = "dependency"  # it won't before something else is there
    PERMANENT = "permanent"  # it won't
    UNKNOWN = "unknown"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """One rule: everything that it names must fit.

    Attributes:
        error_class: what the error is then.
        types: it is an instance of one.
        type_pattern: the name of its type, or of one that it derives from, has this in it.
        pattern: its text has this in it, whatever the case.
        errnos: its number is one of these.
        statuses: its HTTP status is one of these.
    """

    error_class: ErrorClass
    types: tuple[type[BaseException], ...] = ()
    type_pattern: str = ""
    pattern: str = ""
    errnos: frozenset[int] = field(default_factory=frozenset)
    statuses: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (self.types or self.type_pattern or self.pattern or self.errnos or self.statuses):
            raise ConfigurationError(f"a rule for {self.error_class.value} errors must name something")
        try:
            re.compile(self.pattern), re.compile(self.type_pattern)
        except re.error as error:
            raise ConfigurationError(f"{error.pattern!r} is no regular expression: {error}") from error

    def fits(self, error: BaseException) -> bool:
        """Whether everything that the rule names is so."""
        return (
            (not self.types or isinstance(error, self.types))
            and (not self.type_pattern or any(re.search(self.type_pattern, k.__name__) for k in type(error).__mro__))
            and (not self.pattern or re.search(self.pattern, text_of(error), re.IGNORECASE) is not None)
            and (not self.errnos or getattr(error, "errno", None) in self.errnos)
            and (not self.statuses or _status(error) in self.statuses)
        )


DEFAULT_RULES: tuple[ErrorRule, ...] = (
    ErrorRule(error_class=ErrorClass.CORRUPTION, types=(CorruptionError,)),
    ErrorRule(error_class=ErrorClass.DEPENDENCY, types=(DependencyError, ImportError)),
    ErrorRule(error_class=ErrorClass.PERMANENT, types=(ConfigurationError, NewerFormatError, JsonRefusedError)),
    ErrorRule(error_class=ErrorClass.RATE_LIMITED, statuses=frozenset({429})),
    ErrorRule(error_class=ErrorClass.TRANSIENT, statuses=frozenset({408, 409, 425, 500, 502, 503, 504})),
    ErrorRule(error_class=ErrorClass.PERMANENT, statuses=frozenset(range(400, 500))),
    ErrorRule(error_class=ErrorClass.TRANSIENT, types=(TimeoutError,)),
    ErrorRule(error_class=ErrorClass.TRANSIENT, type_pattern=_TIMEOUT_NAME.pattern),
    ErrorRule(error_class=ErrorClass.TRANSIENT, types=(ConnectionError, InterruptedError, BlockingIOError)),
    ErrorRule(error_class=ErrorClass.TRANSIENT, types=(ConflictError,)),
    ErrorRule(
        error_class=ErrorClass.RESOURCE,
        errnos=frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}),
    ),
    ErrorRule(
        error_class=ErrorClass.TRANSIENT,
        errnos=frozenset({errno.EBUSY, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT}),
    ),
    ErrorRule(error_class=ErrorClass.RESOURCE, types=(MemoryError, StorageError)),
    ErrorRule(error_class=ErrorClass.PERMANENT, types=(PermissionError, FileNotFoundError, NotImplementedError)),
    ErrorRule(error_class=ErrorClass.RATE_LIMITED, pattern=r"rate.?limit|too many requests|quota"),
    ErrorRule(error_class=ErrorClass.TRANSIENT, pattern=r"timed? ?out|temporar|connection (reset|refused|aborted)"),
)


def classify(error: BaseException, rules: Sequence[ErrorRule] = ()) -> ErrorClass:
    """The class of an error.

    Args:
        error: which; its causes count where it is not known itself.
        rules: of the program's own; they come before `DEFAULT_RULES`.
    """
    for found in _with_causes(error):
        for rule in (*rules, *DEFAULT_RULES):
            if rule.fits(found):
                return rule.error_class
    return ErrorClass.UNKNOWN


def retry_after_s(error: BaseException) -> float:
    """How long the other side asked to wait, in seconds, at most an hour; 0 when it did not."""
    wanted: Any = getattr(error, "retry_after", None)
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if wanted is None and isinstance(headers, Mapping):
        wanted = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    try:
        found = float(wanted)
    except (TypeError, ValueError):
        return 0.0
    return min(max(found, 0.0), _LONGEST_WAIT_S) if math.isfinite(found) else 0.0


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(_CAUSES):
        if found is None:
            return
        yield found
        found = found.__cause__


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if type(value) is int and 100 <= value < 600:
                return value
    return None
