"""Plain values as canonical text: two values are the same exactly when their texts are.

Recovered and acknowledged values travel between processes, and are compared, printed and searched for NaN as text,
so nobody needs the target's classes. Standard library only; nothing is ever rebuilt by running code. The text is
JSON. What JSON has is itself: null, booleans, integers, finite floats, strings, lists, and objects for dicts whose
keys are plain strings. Everything else is an object with one key, a tag:

=============================  =========================================================================
`{"$float": "nan"}`            nan, inf, -inf (every NaN is the same)
`{"$int": "-ff"}`              an integer of more than 4096 bits, in hex
`{"$str": "eda0bd"}`           a string with lone surrogates: its UTF-8 in hex
`{"$bytes": "AQI="}`           bytes in base64; `$bytearray` likewise
`{"$tuple": [...]}`            a tuple; `$set` and `$frozenset` with their members sorted by text
`{"$dict": [[key, value]]}`    a dict with any other key, sorted by text; insertion order never counts
`{"$complex": [re, im]}`       and `$decimal`, `$fraction`, `$datetime`, `$date`, `$time`, `$timedelta`, `$path`,
                               `$uuid`
`{"$array": [...]}`            NumPy: [dtype, shape, nested lists]; `$scalar`: [dtype, value]
`{"$object": [type, state]}`   dataclasses (the fields that take part in comparison), and whatever says its own
                               state as for copying
`{"$global": name}`            a class or a function
`{"$repr": [type, text]}`      the last resort: `repr` without addresses
`{"$cycle": n}`                a container within itself, n levels up
=============================  =========================================================================

1, 1.0 and True are different texts, as are [1] and (1,). Read `isolated.py` next.
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import re
import types
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

__all__ = ["LIMIT_BYTES", "Described", "Unencodable", "decode", "encode", "non_finite", "render", "type_name"]

LIMIT_BYTES = 16 << 20  # a recovered value is a summary to compare; above this it is most likely a runaway
_LARGE_INT_BITS = 4096  # above about 4300 digits CPython refuses to print integers in decimal
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_REPR_LIMIT = 10_000


@final
class Unencodable(ValueError):  # noqa: N818 - what the value is, not what went wrong here
    """A value that has no text: too deep, too large, or its own state can't be read."""


@final
@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Described:
    """What `decode` gives for a value whose class only its own process knows; it encodes to the same text again.

    Attributes:
        tag: which kind of description, e.g. "object", "array", "global".
        type: the type's qualified name, as far as known.
        state: what the description says, decoded.
        text: the canonical text; two are equal when their texts are.
    """

    tag: str
    type: str
    state: Any
    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Described) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        name = self.type.rpartition(".")[2] or self.tag
        if isinstance(self.state, dict) and all(isinstance(key, str) for key in self.state):
            return f"{name}({', '.join(f'{key}={value!r}' for key, value in self.state.items())})"
        return f"{name}({self.state!r})"


def encode(value: object, limit_bytes: int = LIMIT_BYTES) -> str:
    """The canonical text of a value.

    Args:
        value: anything; an object that can't say its state is given by its `repr` without addresses.
        limit_bytes: the longest text allowed.

    Raises:
        Unencodable: nested too deeply, longer than the limit, or its own code failed while being read.
    """
    try:
        text = _dump(_tree(value, []))
    except RecursionError:
        raise Unencodable("the value is nested too deeply to be compared") from None
    if len(text) > limit_bytes:
        raise Unencodable(f"the value takes {len(text)} bytes as text; {limit_bytes} are allowed: return a digest")
    return text


def decode(text: str) -> Any:
    """The value of a text; objects of unknown classes come back as `Described`.

    Raises:
        ValueError: not a canonical text.
    """
    try:
        return _value(json.loads(text))
    except (KeyError, TypeError, IndexError, decimal.InvalidOperation) as error:
        raise ValueError(f"not the canonical text of a value: {text[:200]!r}") from error


def render(text: str, limit: int = 200) -> str:
    """The value of a text as people write it, at most `limit` characters (the tail is cut, and says so)."""
    words = repr(decode(text))
    if len(words) <= limit:
        return words
    tail = f"... ({len(words)} characters)"
    return words[: max(0, limit - len(tail))] + tail[:limit]


def non_finite(text: str) -> list[str]:
    """Where the value of a text holds NaN or an infinity, as expressions on `value`, e.g. `value['loss'][3]`."""
    if "$float" not in text and "$decimal" not in text:
        return []
    return list(_non_finite(json.loads(text), "value"))


def _dump(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


# Encoding: `trail` holds the ids of the containers around the value.


def _tree(value: Any, trail: list[int]) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    leaf = _LEAVES.get(kind)
    if leaf is not None:
        return leaf(value)
    if id(value) in trail:
        return {"$cycle": trail[::-1].index(id(value)) + 1}
    trail.append(id(value))
    try:
        container = _CONTAINERS.get(kind)
        return container(value, trail) if container else _other(value, trail)
    finally:
        trail.pop()


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": repr(value)}


def _int(value: int) -> Any:
    return value if value.bit_length() <= _LARGE_INT_BITS else {"$int": f"{value:x}"}


def _str(value: str) -> Any:
    return value if _is_whole(value) else {"$str": value.encode("utf-8", "surrogatepass").hex()}


def _is_whole(text: str) -> bool:
    # Two lone surrogates side by side would come back from JSON as one character.
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


def _dict(value: dict[Any, Any], trail: list[int]) -> Any:
    if all(type(key) is str and key[:1] != "$" and _is_whole(key) for key in value):
        return {key: _tree(item, trail) for key, item in value.items()}
    return {"$dict": _sorted([_tree(key, trail), _tree(item, trail)] for key, item in value.items())}


def _sorted(trees: Iterable[Any]) -> list[Any]:
    return sorted(trees, key=_dump)


def _members(value: Iterable[Any], trail: list[int]) -> list[Any]:
    return [_tree(item, trail) for item in value]


_LEAVES: dict[type, Callable[[Any], Any]] = {
    str: _str,
    int: _int,
    float: _float,
    bytes: lambda v: {"$bytes": _base64(v)},
    bytearray: lambda v: {"$bytearray": _base64(v)},
    complex: lambda v: {"$complex": [_float(v.real), _float(v.imag)]},
    decimal.Decimal: lambda v: {"$decimal": str(v)},
    fractions.Fraction: lambda v: {"$fraction": [_int(v.numerator), _int(v.denominator)]},
    datetime.datetime: lambda v: {"$datetime": v.isoformat()},
    datetime.date: lambda v: {"$date": v.isoformat()},
    datetime.time: lambda v: {"$time": v.isoformat()},
    datetime.timedelta: lambda v: {"$timedelta": [v.days, v.seconds, v.microseconds]},
    uuid.UUID: lambda v: {"$uuid": v.hex},
}
_CONTAINERS: dict[type, Callable[[Any, list[int]], Any]] = {
    dict: _dict,
    list: _members,
    tuple: lambda v, trail: {"$tuple": _members(v, trail)},
    set: lambda v, trail: {"$set": _sorted(_members(v, trail))},
    frozenset: lambda v, trail: {"$frozenset": _sorted(_members(v, trail))},
}


def type_name(kind: Any) -> str:
    """The qualified name of a class, function or module, without "builtins"."""
    module = getattr(kind, "__module__", None)
    name = str(getattr(kind, "__qualname__", None) or getattr(kind, "__name__", "?"))
    return name if module in (None, "builtins") else f"{module}.{name}"


def _other(value: Any, trail: list[int]) -> Any:
    kind = type(value)
    if isinstance(value, Described):
        return json.loads(value.text)
    if isinstance(value, pathlib.PurePath):
        return {"$path": _str(str(value))}
    if kind.__module__ == "numpy" and hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _numpy(value, trail)
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)):
        return {"$global": _str(type_name(value))}
    if isinstance(value, enum.Enum):
        return {"$object": [type_name(kind), _str(value.name or repr(value.value))]}
    try:
        return {"$object": [type_name(kind), _state(value, trail)]}
    except (RecursionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - foreign code, the edge of this process: whatever it raised, repr comes next
        return {"$repr": [type_name(kind), _repr(value)]}


def _repr(value: object) -> Any:
    try:
        return _str(_ADDRESS.sub("", repr(value))[:_REPR_LIMIT])
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise Unencodable(f"repr() of a {type_name(type(value))} raised {type(error).__name__}") from error


def _numpy(value: Any, trail: list[int]) -> Any:
    items = _tree(value.tolist(), trail)
    if hasattr(value, "__len__") and hasattr(value, "shape") and not isinstance(value, (str, bytes)):
        return {"$array": [str(value.dtype), list(value.shape), items]}
    return {"$scalar": [str(value.dtype), items]}


def _state(value: Any, trail: list[int]) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _tree(getattr(value, f.name), trail) for f in dataclasses.fields(value) if f.compare}
    for base, container in _CONTAINERS.items():
        if isinstance(value, base):
            return _with_attributes(container(base(value), trail), value, trail)
    for base, leaf in _LEAVES.items():
        if isinstance(value, base):
            return _with_attributes(leaf(_plain(value)), value, trail)
    return _reduced(value, trail)


def _plain(value: Any) -> Any:
    """The plain value under a subclass, whatever that overrides."""
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    return memoryview(value).tobytes() if isinstance(value, bytes) else value


def _with_attributes(plain: Any, value: Any, trail: list[int]) -> Any:
    attributes = getattr(value, "__dict__", None)
    return [plain, _tree(dict(attributes), trail)] if attributes else plain


def _reduced(value: Any, trail: list[int]) -> Any:
    """The state that the object itself gives for copying: arguments, attributes, items."""
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return reduced
    _, arguments, *rest = reduced
    state, members, items = [*rest, None, None, None][:3]
    if len(arguments) == 1 and arguments[0] is type(value):
        arguments = ()
    if not arguments and members is None and items is None:
        return _tree(_attributes(state), trail)
    parts = [list(arguments), _attributes(state), list(members or ()), [list(pair) for pair in items or ()]]
    return _tree(parts, trail)


def _attributes(state: Any) -> Any:
    """A class with `__slots__` gives (attributes, slots); as one dict both read the same."""
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return {**(state[0] or {}), **state[1]}
    return {} if state is None else state


# Decoding


def _value(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_value(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((tag, content),) = tree.items()
        if tag[:1] == "$":
            rebuild = _REBUILD.get(tag[1:])
            return rebuild(content) if rebuild else _described(tag[1:], content)
    return {key: _value(item) for key, item in tree.items()}


def _described(tag: str, content: Any) -> Described:
    text = _dump({f"${tag}": content})
    if tag in ("object", "repr"):
        return Described(tag, content[0], _value(content[1]), text)
    if tag in ("array", "scalar"):
        return Described(tag, f"numpy.{tag}", _value(content[-1]), text)
    if tag in ("global", "cycle"):
        return Described(tag, tag, _value(content), text)
    raise ValueError(f"unknown tag ${tag}")


_REBUILD: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "int": lambda c: int(c, 16),
    "str": lambda c: bytes.fromhex(c).decode("utf-8", "surrogatepass"),
    "bytes": base64.b64decode,
    "bytearray": lambda c: bytearray(base64.b64decode(c)),
    "tuple": lambda c: tuple(_value(item) for item in c),
    "set": lambda c: {_value(item) for item in c},
    "frozenset": lambda c: frozenset(_value(item) for item in c),
    "dict": lambda c: {_value(key): _value(item) for key, item in c},
    "complex": lambda c: complex(_value(c[0]), _value(c[1])),
    "decimal": decimal.Decimal,
    "fraction": lambda c: fractions.Fraction(_value(c[0]), _value(c[1])),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda c: datetime.timedelta(*c),
    "path": lambda c: pathlib.PurePath(_value(c)),
    "uuid": lambda c: uuid.UUID(hex=c),
}


# Looking for NaN: paths are built only on the way down, for texts that hold a candidate.


def _non_finite(tree: Any, path: str) -> Iterator[str]:
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _non_finite(item, f"{path}[{index}]")
    elif isinstance(tree, dict):
        tag, content = next(iter(tree.items()), ("", None))
        if tag[:1] == "$":
            yield from _non_finite_tagged(tag, content, path)
            return
        for key, item in tree.items():
            yield from _non_finite(item, f"{path}[{key!r}]")


def _non_finite_tagged(tag: str, content: Any, path: str) -> Iterator[str]:
    if tag == "$float":
        yield path
    elif tag == "$decimal":
        if not decimal.Decimal(content).is_finite():
            yield path
    elif tag == "$dict":
        for key, item in content:
            yield from _non_finite(key, f"{path} key {_value(key)!r}")
            yield from _non_finite(item, f"{path}[{_value(key)!r}]")
    elif tag in ("$object", "$array", "$scalar"):
        state = content[-1]
        attributes = tag == "$object" and isinstance(state, dict) and not any(key[:1] == "$" for key in state)
        if attributes:
            for key, item in state.items():
                yield from _non_finite(item, f"{path}.{key}")
        else:
            yield from _non_finite(state, path)
    elif tag not in ("$str", "$int", "$global", "$repr"):
        yield from _non_finite(content, path)
