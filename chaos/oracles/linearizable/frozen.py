"""Plain values as hashable ones, so that states of models can be remembered. Read `models.py` next."""

from collections.abc import Hashable, Mapping
from typing import Any

__all__ = ["frozen"]

_AS_IT_IS = (int, str, bytes, type(None))  # most of all values; asked first, for the search asks millions of times


def frozen(value: Any) -> Hashable:
    """A plain value as a hashable one; equal values become equal, 1 and True do not."""
    if type(value) in _AS_IT_IS:
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bool, float)):
        return (type(value).__name__, value)
    if isinstance(value, Mapping):
        return ("map", frozenset((frozen(name), frozen(content)) for name, content in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(frozen, value)))
    if isinstance(value, (set, frozenset)):
        return ("set", frozenset(map(frozen, value)))
    return value  # type: ignore[no-any-return]
