"""Which backend a file belongs to, by its first bytes: a store opened as the other kind is whole, and no damage.

Read `opening.py` for how the kind is chosen.
"""

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import Literal

__all__ = ["check_kind"]

_SQLITE = b"SQLite format 3\0"
_JSON = b'{\n  "format": "pytest-guardrails-state",'


def check_kind(path: str, kind: Literal["sqlite", "json"]) -> None:
    """Leave a file alone that is a store of the other backend; asked where there is no good generation to restore.

    Raises:
        ConfigurationError: it is; names both.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(_JSON))
    except OSError:  # told by whoever opens it in earnest
        return
    other = "json" if kind == "sqlite" else "sqlite"
    if head.startswith(_JSON if other == "json" else _SQLITE):
        raise ConfigurationError(
            f"{path} is a store or database of the kind {other!r} and was left alone: open it with backend={other!r}, "
            "or name another path"
        )
