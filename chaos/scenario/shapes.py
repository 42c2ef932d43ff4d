"""The shapes that a TOML value can have; each can both check a value and describe itself as JSON schema.

Because the loader and the published schema are read off the same shapes, they can't drift apart. A shape knows
nothing of files and lines: it raises `Mismatch` with the place inside the value, and `reading.py` turns that into
a `Problem`. Read `layout.py` for the shapes of a scenario file.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from chaos.scenario.positions import Place

__all__ = [
    "Field",
    "Mismatch",
    "Shape",
    "Table",
    "Tables",
    "Value",
    "anything",
    "choice",
    "each",
    "measured",
    "text",
    "texts_by_name",
]

# No byte of a path or an argument may be NUL, and JSON schema speaks of the whole text.
_NO_NUL = r"^[^\x00]*$"


@final
class Mismatch(Exception):  # noqa: N818 - an answer to the reader, which makes the error that people see
    """A value does not have the shape.

    Attributes:
        expected: completes "expected ...".
        value: what is there.
        hint: the next step, if there is a better one than to do what is expected.
        inside: where in the value, for lists.
    """

    def __init__(self, expected: str, value: object, hint: str = "", inside: Place = ()) -> None:
        super().__init__(expected, value, hint, inside)
        self.expected, self.value, self.hint, self.inside = expected, value, hint, inside


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Anything but a table: `parse` returns the typed value or raises `Mismatch`."""

    schema: Mapping[str, Any]
    parse: Callable[[Any], Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with known keys."""

    fields: tuple["Field", ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """An array of tables."""

    fields: tuple["Field", ...]


Shape = Value | Table | Tables


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A key of a table.

    Attributes:
        key: its name.
        shape: what its value looks like.
        about: one line for the schema and for editors.
        required: whether it must be there.
        example: how it may be written, for the message when it is missing.
    """

    key: str
    shape: Shape
    about: str
    required: bool = False
    example: str = ""


def text(expected: str, pattern: str = _NO_NUL, longest: int | None = None) -> Value:
    """A string of at most `longest` characters that `pattern`, anchored at both ends, matches."""
    schema: dict[str, Any] = {"type": "string", "pattern": pattern}
    if longest is not None:
        schema["maxLength"] = longest

    def parse(value: object) -> str:
        # `\Z`, since Python's `$` also matches before a last newline.
        fits = isinstance(value, str) and re.match(pattern[:-1] + r"\Z", value) is not None
        if not fits or (longest is not None and len(str(value)) > longest):
            raise Mismatch(expected, value)
        return str(value)

    return Value(schema=schema, parse=parse)


def choice(names: Sequence[str], pattern: str = "") -> Value:
    """One of `names`, or a text that `pattern`, anchored at both ends, matches."""
    known = ", ".join(f'"{name}"' for name in names)

    def parse(value: object) -> str:
        if isinstance(value, str) and (value in names or (pattern and re.match(pattern[:-1] + r"\Z", value))):
            return value
        raise Mismatch(f"one of {known}", value)

    schema: dict[str, Any] = {"enum": list(names)}
    if pattern:
        schema = {"anyOf": [schema, {"type": "string", "pattern": pattern}]}
    return Value(schema=schema, parse=parse)


def each(item: Value, expected: str, *, at_least: int = 0, unique: bool = False) -> Value:
    """A list whose elements have the shape `item`; the typed value is a tuple."""
    schema: dict[str, Any] = {"type": "array", "items": dict(item.schema), "minItems": at_least}
    if unique:
        schema["uniqueItems"] = True

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) < at_least:
            raise Mismatch(expected, value)
        elements = tuple(_parse_element(item, element, index) for index, element in enumerate(value))
        for index, element in enumerate(elements):
            if unique and element in elements[:index]:
                raise Mismatch("each name once", element, "remove one of the two", (index,))
        return elements

    return Value(schema=schema, parse=parse)


def _parse_element(item: Value, element: object, index: int) -> Any:
    try:
        return item.parse(element)
    except Mismatch as mismatch:
        raise Mismatch(mismatch.expected, mismatch.value, mismatch.hint, (index, *mismatch.inside)) from None


def measured(schema: Mapping[str, Any], parse_quantity: Callable[[object], Any]) -> Value:
    """A quantity: `parse_quantity` raises `ValueError` whose text completes "expected ..."."""

    def parse(value: object) -> Any:
        try:
            return parse_quantity(value)
        except ValueError as error:
            raise Mismatch(str(error), value) from None

    return Value(schema=schema, parse=parse)


def anything(expected: str) -> Value:
    """A value of JSON: what TOML can say, but for dates and times."""

    def parse(value: object) -> Any:
        if isinstance(value, list):
            return [parse(item) for item in value]
        if isinstance(value, dict):
            return {name: parse(content) for name, content in value.items()}
        if isinstance(value, (bool, int, float, str)):
            return value
        raise Mismatch(expected, value)

    return Value(schema={"type": ["boolean", "number", "string", "array", "object"]}, parse=parse)


def texts_by_name(expected: str, name_pattern: str) -> Value:
    """A table from names to strings, as sorted pairs."""
    schema = {
        "type": "object",
        "propertyNames": {"pattern": name_pattern},
        "additionalProperties": {"type": "string", "pattern": _NO_NUL},
    }

    def parse(value: object) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Mismatch(expected, value)
        for name, content in value.items():
            if re.match(name_pattern[:-1] + r"\Z", name) is None:
                raise Mismatch("a name of letters, digits and _", name, inside=(name,))
            if not isinstance(content, str) or "\0" in content:
                raise Mismatch("a string", content, "put it in quotes", (name,))
        return tuple(sorted(value.items()))

    return Value(schema=schema, parse=parse)
