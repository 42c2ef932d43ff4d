"""Frozen dataclasses to plain JSON data, back, and the JSON Schema that says what such data looks like.

One place for all three, so that what is written, what is read and what is published can't drift apart. Only shapes
that results use: dataclasses, enums, tuples, mappings of strings, optional values, and scalars. No pickle, no class
names in the data: nothing is ever built but the type that the reader asks for. Read `document.py` next.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from chaos.errors import UsageError

__all__ = ["from_plain", "parse_json", "schema_of", "to_json", "to_plain"]

_T = TypeVar("_T")
_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def to_plain(value: Any) -> Any:
    """Plain data: dicts, lists, strings, finite numbers, booleans, None.

    Raises:
        ValueError: a number is not finite, or a type is not one of those above.
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} can't be reported: only finite numbers are")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{type(value).__name__} can't be reported: {value!r}")


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """ASCII JSON of a value; odd characters in paths are escaped, so that every reader takes it.

    Raises:
        ValueError: as `to_plain`.
    """
    return json.dumps(to_plain(value), indent=indent, allow_nan=False).encode("ascii")


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """An object from the file `name`.

    Raises:
        UsageError: it is not JSON, or not an object.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}", "it was cut or is another program's file") from None
    if not isinstance(data, dict):
        raise UsageError(f"{name} holds {type(data).__name__}, not an object", "it is another program's file")
    return data


def from_plain(kind: type[_T], data: Any, place: str = "$") -> _T:
    """The value of type `kind` that `data` describes; keys that it does not know are passed over.

    Args:
        kind: a dataclass made of the shapes above.
        data: plain data.
        place: where `data` stands, for errors.

    Raises:
        UsageError: the data does not fit; says where.
    """
    found: _T = _value(kind, data, place)
    return found


def _value(kind: Any, data: Any, place: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None if data is None else _value(_present(kind), data, place)
    if origin is tuple:
        return _tuple(get_args(kind), data, place)
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), "an object", data, place)
        return {key: _value(get_args(kind)[1], item, f"{place}.{key}") for key, item in data.items()}
    if is_dataclass(kind):
        return _dataclass(kind, data, place)
    if isinstance(kind, type) and issubclass(kind, Enum):
        values = [one.value for one in kind]
        _expect(data in values, f"one of {values}", data, place)
        return kind(data)
    return _scalar(kind, data, place)


def _present(kind: Any) -> Any:
    (one,) = [option for option in get_args(kind) if option is not type(None)]
    return one


def _tuple(inside: tuple[Any, ...], data: Any, place: str) -> tuple[Any, ...]:
    _expect(isinstance(data, list), "a list", data, place)
    if inside[-1] is Ellipsis:
        return tuple(_value(inside[0], item, f"{place}[{index}]") for index, item in enumerate(data))
    _expect(len(data) == len(inside), f"{len(inside)} items", data, place)
    return tuple(
        _value(kind, item, f"{place}[{index}]") for index, (kind, item) in enumerate(zip(inside, data, strict=True))
    )


def _dataclass(kind: Any, data: Any, place: str) -> Any:
    _expect(isinstance(data, dict), "an object", data, place)
    hints = get_type_hints(kind)
    given = {}
    for field in fields(kind):
        if field.name in data:
            given[field.name] = _value(hints[field.name], data[field.name], f"{place}.{field.name}")
        elif _is_required(field):
            raise UsageError(f"{place}.{field.name} is missing", "the file was cut, or is of another version")
    return kind(**given)


def _scalar(kind: Any, data: Any, place: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    _expect(type(data) is kind, _SCALARS.get(kind, str(kind)), data, place)
    return data


def _expect(fits: bool, wanted: str, data: Any, place: str) -> None:
    if not fits:
        raise UsageError(f"{place} is {data!r:.80}, and must be {wanted}", "the file is damaged, or of another version")


def _is_required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def schema_of(kind: type[Any], *, title: str, identifier: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what `to_plain` makes of a dataclass.

    Args:
        kind: the dataclass.
        title: for people.
        identifier: the schema's own URI.
    """
    definitions: dict[str, Any] = {}
    reference = _schema(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identifier,
        "title": title,
        **reference,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(_present(kind), definitions), {"type": "null"}]}
    if origin is tuple:
        return _tuple_schema(get_args(kind), definitions)
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(get_args(kind)[1], definitions)}
    if is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, Enum)):
        name: str = kind.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = {}  # stands for itself while it is being described
            definitions[name] = _named_schema(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return {"type": _SCALARS[kind]}


def _tuple_schema(inside: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if inside[-1] is Ellipsis:
        return {"type": "array", "items": _schema(inside[0], definitions)}
    items = [_schema(one, definitions) for one in inside]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _named_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    hints = get_type_hints(kind)
    return {
        "type": "object",
        "properties": {field.name: _schema(hints[field.name], definitions) for field in fields(kind)},
        "required": [field.name for field in fields(kind)],
    }
