"""`Record`: a `typing.NamedTuple` that costs a tenth of one to define, for programs that must start in milliseconds.

`NamedTuple` writes and compiles a constructor for each class, 50 us every time; forty of them are a tenth of what
`hook run` may cost in all. A `Record` has one constructor for all classes. For type checkers it *is* `NamedTuple`, and
it behaves like one: fields by annotation, defaults, methods, `_fields`, `_asdict`, `_replace`, equality with tuples,
pickling.
"""

from collections.abc import Mapping
from operator import itemgetter

from pytest_guardrails.hints import TYPE_CHECKING, Any

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    # The fields of all classes that stand at one place share a property, so that a class costs less to define.
    _PLACES: dict[int, property] = {}

    def _place(index: int) -> property:
        return _PLACES.get(index) or _PLACES.setdefault(index, property(itemgetter(index)))

    class _Kind(type):
        """Makes the classes: annotations become fields, values in the body their defaults."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            with_default = [field for field in fields if field in body]
            if with_default != list(fields[len(fields) - len(with_default) :]):
                raise TypeError(f"{name}: fields without a default come first")
            defaults = tuple(body.pop(field) for field in with_default)
            body.update({field: _place(index) for index, field in enumerate(fields)})
            body.update(_fields=fields, _defaults=defaults, __match_args__=fields, __slots__=())
            return super().__new__(cls, name, bases, body)

    class Record(tuple, metaclass=_Kind):
        """See the module."""

        def __new__(cls, *values: Any, **named: Any) -> Any:
            """As any named tuple's: by position or by name."""
            missing = len(cls._fields) - len(values)
            if named:
                values = _filled(cls, values, named)
            elif missing:
                if not 0 < missing <= len(cls._defaults):
                    raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}; got {len(values)} values")
                values += cls._defaults[-missing:]
            return tuple.__new__(cls, values)

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named: Any) -> Any:
            changed = tuple.__new__(type(self), map(named.pop, self._fields, self))
            if named:
                raise TypeError(f"{type(self).__name__} has no {', '.join(named)}")
            return changed

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    def _filled(cls: type, values: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
        fields = cls._fields
        given = {**dict(zip(fields[len(fields) - len(cls._defaults) :], cls._defaults, strict=True)), **named}
        wrong = [name for name in named if name not in fields[len(values) :]]
        missing = [name for name in fields[len(values) :] if name not in given]
        if wrong or missing or len(values) > len(fields):
            raise TypeError(f"{cls.__name__} takes {', '.join(fields)}; wrong: {wrong}, missing: {missing}")
        return [*values, *(given[name] for name in fields[len(values) :])]
