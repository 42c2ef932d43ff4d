"""The error tree of the reliability stack, split by what a caller can do about it.

Every error names what failed, the value, the place and the next step. Rooms add their own leaves beside the
code that raises them; they derive from the classes here, so that `except GuardrailsError` catches all of them
and nothing else. Read `clock.py` next.
"""

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "CorruptionError",
    "DeadlineError",
    "GuardrailsError",
    "NewerFormatError",
    "StorageError",
]


class GuardrailsError(Exception):
    """Anything that the stack raises on purpose."""


class ConfigurationError(GuardrailsError):
    """A setting or argument is wrong: mend it, trying again will not help."""


class DeadlineError(GuardrailsError, TimeoutError):
    """Something did not happen in time: it may be tried again."""


class ConflictError(GuardrailsError):
    """Somebody else changed or holds the thing: read again, then decide."""


class StorageError(GuardrailsError):
    """The disk refused: nothing was changed, the old state stands."""


class CorruptionError(StorageError):
    """Stored bytes are not what was written: they were set aside, never overwritten."""


class NewerFormatError(GuardrailsError):
    """Stored data has a format that this version does not know: update the program; nothing was touched."""
