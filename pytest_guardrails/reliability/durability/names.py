"""Names that people give (loops, agents, runs, locks) as file names that never lead out of their directory.

A name keeps its letters where that is safe; every other byte becomes `%XX`, so that two names never share a file, and
an over-long one is cut and told apart by its digest. Nothing is normalised away: "a/b", "a%2Fb" and "A/B" are three
names. Used by `lease.py` and the rooms above.
"""

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability.digests import digest_of

__all__ = ["UnusableNameError", "safe_name"]

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_LIMIT = 120  # bytes; leaves room for the suffixes of temporary and lock files below the usual 255


@final
class UnusableNameError(ConfigurationError, ValueError):
    """What was given as a name is none."""


def safe_name(name: str) -> str:
    """A file name that stands for `name` and nothing else, on case-insensitive file systems too.

    Raises:
        UnusableNameError: the name is empty, or no text; it is a ConfigurationError and a ValueError.
    """
    if not isinstance(name, str) or not name:
        raise UnusableNameError(f"a name must be a text of at least one character, not {name!r}")
    raw = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw)
    if text[0] == ".":
        text = "%2E" + text[1:]
    if len(text) <= _LIMIT:
        return text
    # "~" can't stand in an uncut name, so a cut one equals no other.
    return f"{text[: _LIMIT - 34]}~{digest_of(raw, 16).hex()}"
