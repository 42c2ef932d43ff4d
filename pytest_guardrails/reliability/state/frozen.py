"""Values that callers can read but not change: what the store gives out.

A frozen mapping is a `dict`, a frozen sequence is a `list`: they compare equal to plain ones, `json` writes them, and
`{**value, "n": 1}` or `[*value, 1]` makes a changed, plain copy. Only changing them in place raises.

There is a way past that for who wants it: `dict.update(value, ...)`, `list.append(value, ...)`, and `heapq`, which
works on the memory of any list. So each reader has copies of their own, and what the cache holds is given to nobody.
Read `values.py` for that.
"""

from collections.abc import Callable, Sequence
from functools import partial

from pytest_guardrails.hints import Any, NoReturn, final

__all__ = ["FrozenDict", "FrozenList", "copier_of", "freeze", "thaw"]


def _refuse(*_arguments: object, **_named: object) -> NoReturn:
    raise TypeError("values from the store can't be changed in place: make a copy (thaw(value)) and put it back")


@final
class FrozenDict(dict[str, Any]):
    """A `dict` that refuses to change."""

    __slots__ = ()
    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __deepcopy__(self, _memo: object) -> dict[str, Any]:
        return {key: thaw(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (dict(self),)


@final
class FrozenList(list[Any]):
    """A `list` that refuses to change."""

    __slots__ = ()
    __setitem__ = __delitem__ = append = clear = extend = insert = pop = _refuse
    remove = reverse = sort = __iadd__ = __imul__ = _refuse

    def __deepcopy__(self, _memo: object) -> list[Any]:
        return [thaw(value) for value in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (list(self),)


_INNER = frozenset({dict, list, tuple, FrozenDict, FrozenList})


def freeze(value: Any) -> Any:
    """The same value, frozen at every level; numbers, texts, booleans and None as they are."""
    kind = type(value)
    if kind is dict:
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if kind is list or kind is tuple:
        return FrozenList(value if _INNER.isdisjoint(map(type, value)) else [freeze(item) for item in value])
    return value


def copier_of(value: Any) -> Callable[[Any], Any] | None:
    """The quickest function that makes a frozen copy of this frozen value; None where nobody can change it anyway."""
    kind = type(value)
    if kind is not FrozenDict and kind is not FrozenList:
        return None
    if kind is FrozenList and _INNER.isdisjoint(map(type, value)):
        return kind
    places = value.items() if kind is FrozenDict else enumerate(value)
    put: Any = dict.__setitem__ if kind is FrozenDict else list.__setitem__
    inner = [(place, copier) for place, item in places if (copier := copier_of(item)) is not None]
    return partial(_copy, kind, put, inner) if inner else kind


def _copy(
    kind: Callable[[Any], Any],
    put: Callable[[Any, Any, Any], None],
    inner: Sequence[tuple[Any, Callable[[Any], Any]]],
    value: Any,
) -> Any:
    copy = kind(value)
    for place, copier in inner:
        put(copy, place, copier(value[place]))
    return copy


def thaw(value: Any) -> Any:
    """A plain copy, which may be changed."""
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value
