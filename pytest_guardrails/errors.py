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
    "check_whole",
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


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse a limit that is no whole number from `least`.

    NaN compares false with everything: as a limit it would never be reached, and what it limits would have none.

    Raises:
        ConfigurationError: names the limit and the value.
    """
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{name} must be a whole number from {least}, not {value!r}")
