"""What `typing` offers for annotations, without loading it: for programs that must start within milliseconds.

`typing` is a tenth of what `hook run` may cost in all, and at run time annotations need next to nothing of it. For
type checkers these names *are* those of `typing`; at run time they are empty stand-ins. Whoever is not on the way of a
hook's start takes `typing` itself. Read `records.py` for named tuples by the same measure.
"""

__all__ = ["TYPE_CHECKING", "Any", "Final", "Literal", "NoReturn", "Protocol", "TypeAlias", "TypeVar", "final"]

TYPE_CHECKING = False  # by its name, type checkers take it for true

if TYPE_CHECKING:
    from typing import Any, Final, Literal, NoReturn, Protocol, TypeAlias, TypeVar, final
else:

    class Any:
        """See `typing.Any`; also what all the others are at run time."""

        def __class_getitem__(cls, _item: object) -> type:
            return cls

    class Protocol:
        """See `typing.Protocol`."""

    Final = Literal = NoReturn = TypeAlias = Any

    def TypeVar(_name: str) -> type:  # noqa: N802 - it stands for a class
        """See `typing.TypeVar`."""
        return Any

    def final(decorated: type) -> type:
        """See `typing.final`."""
        return decorated
