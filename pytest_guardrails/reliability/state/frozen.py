"""Values that callers can read but not change: what the store gives out, so that its cache stays what was stored.

A frozen mapping is a `dict`, a frozen sequence is a `list`: they compare equal to plain ones, `json` writes them, and
`{**value, "n": 1}` or `[*value, 1]` makes a changed, plain copy. Only changing them in place raises. Read `store.py`
for where they come from.
"""

from pytest_guardrails.hints import Any, NoReturn, final

__all__ = ["FrozenDict", "FrozenList", "freeze", "has_list", "thaw"]


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


def freeze(value: Any) -> Any:
    """The same value, frozen at every level; numbers, texts, booleans and None as they are."""
    kind = type(value)
    if kind is dict:
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if kind is list or kind is tuple:
        return FrozenList([freeze(item) for item in value])
    return value


def has_list(value: Any) -> bool:
    """Whether a list is in it: such a value is given out once only, as `heapq` changes lists behind their backs."""
    if isinstance(value, dict):
        return any(map(has_list, value.values()))
    return isinstance(value, list)


def thaw(value: Any) -> Any:
    """A plain copy, which may be changed."""
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value
