"""Plain values as canonical text: two values are the same exactly when their texts are.

Recovered and acknowledged values travel between processes, and are compared, printed and searched for NaN as text,
so nobody needs the target's classes. Standard library only; nothing is ever rebuilt by running code. The text is
JSON. What JSON has is itself: null, booleans, integers, finite floats, strings, lists, and objects for dicts whose
keys are plain strings. Everything else is an object with one key, a tag:

=============================  =========================================================================
`{"$float": "nan"}`            nan, inf, -inf (every NaN is the same)
`{"$int": "-ff"}`              an integer of more than 4096 bits, in hex
`{"$str": "eda0bd"}`           a string with lone surrogates: its UTF-8 in hex
`{"$bytes": "0102"}`           bytes in hexadecimal; `$bytearray` likewise
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

import enum
import importlib
import json
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring_ascii as _quote

from chaos.child.lean import Any, final

__all__ = ["LIMIT_BYTES", "Described", "Unencodable", "decode", "encode", "non_finite", "opaque", "render", "type_name"]

LIMIT_BYTES = 16 << 20  # a recovered value is a summary to compare; above this it is most likely a runaway
_LARGE_INT_BITS = 4096  # above about 4300 digits CPython refuses to print integers in decimal
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_REPR_LIMIT = 10_000
_OPAQUE = re.compile(r'\{"\$repr":\["([^"\\]*)","<')  # others, as "dict_keys([1])", show what they hold


@final
class Unencodable(ValueError):  # noqa: N818 - what the value is, not what went wrong here
    """A value that has no text: too deep, too large, or its own state can't be read."""


@final
class Described:
    """What `decode` gives for a value whose class only its own process knows; it encodes to the same text again.

    Attributes:
        tag: which kind of description, e.g. "object", "array", "global".
        type: the type's qualified name, as far as known.
        state: what the description says, decoded.
        text: the canonical text; two are equal when their texts are.
    """

    __slots__ = ("state", "tag", "text", "type")

    def __init__(self, tag: str, type: str, state: Any, text: str) -> None:  # noqa: A002 - the word for it
        self.tag = tag
        self.type = type
        self.state = state
        self.text = text

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
    leaf = _LEAVES.get(type(value))
    try:
        text = leaf(value) if leaf is not None else _text(value, [])
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
    except (KeyError, TypeError, IndexError, ArithmeticError) as error:
        raise ValueError(f"not the canonical text of a value: {text[:200]!r}") from error


def opaque(text: str) -> str:
    """The type of the first object in a canonical text that shows nothing of its state, such as a generator; or ""."""
    found = _OPAQUE.search(text)
    return "" if found is None else found[1]


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


# Encoding: `trail` holds the ids of the containers around the value. The text is built directly: this runs once a
# crash state in a fresh fork, where every object that is touched is a page to be copied.


def _text(value: Any, trail: list[int]) -> str:
    kind = type(value)
    leaf = _LEAVES.get(kind)
    if leaf is not None:
        return leaf(value)
    if id(value) in trail:
        return f'{{"$cycle":{trail[::-1].index(id(value)) + 1}}}'
    trail.append(id(value))
    try:
        container = _CONTAINERS.get(kind)
        return container(value, trail) if container else _other(value, trail)
    finally:
        trail.pop()


def _float(value: float) -> str:
    return repr(value) if value - value == 0.0 else f'{{"$float":"{value!r}"}}'  # NaN for NaN and the infinities


def _int(value: int) -> str:
    return repr(value) if value.bit_length() <= _LARGE_INT_BITS else f'{{"$int":"{value:x}"}}'


def _str(value: str) -> str:
    return _quote(value) if _is_whole(value) else f'{{"$str":"{value.encode("utf-8", "surrogatepass").hex()}"}}'


def _is_whole(text: str) -> bool:
    # Two lone surrogates side by side would come back from JSON as one character.
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dict(value: dict[Any, Any], trail: list[int]) -> str:
    for key in value:
        if type(key) is not str or key[:1] == "$" or not _is_whole(key):
            return f'{{"$dict":[{_pairs(value, trail)}]}}'
    return "{" + ",".join([f"{_quote(key)}:{_text(value[key], trail)}" for key in sorted(value)]) + "}"


def _pairs(value: dict[Any, Any], trail: list[int]) -> str:
    return ",".join(sorted(f"[{_text(key, trail)},{_text(item, trail)}]" for key, item in value.items()))


def _members(value: Iterable[Any], trail: list[int]) -> str:
    return "[" + ",".join([_text(item, trail) for item in value]) + "]"


def _sorted(value: Iterable[Any], trail: list[int]) -> str:
    return "[" + ",".join(sorted([_text(item, trail) for item in value])) + "]"


_LEAVES: dict[type, Callable[[Any], str]] = {
    str: _str,
    int: _int,
    float: _float,
    bool: lambda v: "true" if v else "false",
    type(None): lambda _: "null",
    bytes: lambda v: f'{{"$bytes":"{v.hex()}"}}',
    bytearray: lambda v: f'{{"$bytearray":"{v.hex()}"}}',
    complex: lambda v: f'{{"$complex":[{_float(v.real)},{_float(v.imag)}]}}',
}
# By name: this module is loaded where forks must stay cheap, and most targets never import these.
_RARE_LEAVES: dict[tuple[str, str], Callable[[Any], str]] = {
    ("decimal", "Decimal"): lambda v: f'{{"$decimal":"{v}"}}',
    ("fractions", "Fraction"): lambda v: f'{{"$fraction":[{_int(v.numerator)},{_int(v.denominator)}]}}',
    ("datetime", "datetime"): lambda v: f'{{"$datetime":"{v.isoformat()}"}}',
    ("datetime", "date"): lambda v: f'{{"$date":"{v.isoformat()}"}}',
    ("datetime", "time"): lambda v: f'{{"$time":"{v.isoformat()}"}}',
    ("datetime", "timedelta"): lambda v: f'{{"$timedelta":[{v.days},{v.seconds},{v.microseconds}]}}',
    ("uuid", "UUID"): lambda v: f'{{"$uuid":"{v.hex}"}}',
}
_CONTAINERS: dict[type, Callable[[Any, list[int]], str]] = {
    dict: _dict,
    list: _members,
    tuple: lambda v, trail: f'{{"$tuple":{_members(v, trail)}}}',
    set: lambda v, trail: f'{{"$set":{_sorted(v, trail)}}}',
    frozenset: lambda v, trail: f'{{"$frozenset":{_sorted(v, trail)}}}',
}


def type_name(kind: Any) -> str:
    """The qualified name of a class, function or module, without "builtins"."""
    module = getattr(kind, "__module__", None)
    name = str(getattr(kind, "__qualname__", None) or getattr(kind, "__name__", "?"))
    return name if module in (None, "builtins") else f"{module}.{name}"


def _other(value: Any, trail: list[int]) -> str:
    kind = type(value)
    rare = _RARE_LEAVES.get((kind.__module__, kind.__name__))
    if rare is not None:
        return rare(value)
    if isinstance(value, Described):
        return value.text
    if isinstance(value, pathlib.PurePath):
        return f'{{"$path":{_str(str(value))}}}'
    if kind.__module__ == "numpy" and hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _numpy(value, trail)
    if kind.__module__.partition(".")[0] == "pandas" and kind.__name__ in _TABLES:
        return _object(kind, _text(_TABLES[kind.__name__](value), trail))
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)):
        return f'{{"$global":{_str(type_name(value))}}}'
    if isinstance(value, enum.Enum):
        return _object(kind, _str(value.name or repr(value.value)))
    try:
        return _object(kind, _state(value, trail))
    except (RecursionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - foreign code, the edge of this process: whatever it raised, repr comes next
        return f'{{"$repr":[{_str(type_name(kind))},{_repr(value)}]}}'


def _object(kind: type, state: str) -> str:
    return f'{{"$object":[{_str(type_name(kind))},{state}]}}'


def _repr(value: object) -> str:
    try:
        return _str(_ADDRESS.sub("", repr(value))[:_REPR_LIMIT])
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise Unencodable(f"repr() of a {type_name(type(value))} raised {type(error).__name__}") from error


# Tables by what they show: their inner state has markers of its own, NaN among them, and caches.
_TABLES: dict[str, Callable[[Any], Any]] = {
    "DataFrame": lambda frame: {"dtypes": [str(dtype) for dtype in frame.dtypes], **frame.to_dict(orient="split")},
    "Series": lambda series: {
        "dtype": str(series.dtype),
        "name": series.name,
        "index": list(series.index),
        "data": series.tolist(),
    },
}


def _numpy(value: Any, trail: list[int]) -> str:
    items = _text(value.tolist(), trail)
    if hasattr(value, "__len__") and hasattr(value, "shape") and not isinstance(value, (str, bytes)):
        return f'{{"$array":[{_str(str(value.dtype))},{_members(value.shape, trail)},{items}]}}'
    return f'{{"$scalar":[{_str(str(value.dtype))},{items}]}}'


def _state(value: Any, trail: list[int]) -> str:
    if hasattr(type(value), "__dataclass_fields__"):
        fields = sys.modules["dataclasses"].fields(value)  # loaded by whoever made the class, not here: see above
        return _dict({field.name: getattr(value, field.name) for field in fields if field.compare}, trail)
    for base, container in _CONTAINERS.items():
        if isinstance(value, base):
            return _with_attributes(container(base(value), trail), value, trail)
    for base in type(value).__mro__:
        leaf = _LEAVES.get(base) or _RARE_LEAVES.get((base.__module__, base.__name__))
        if leaf is not None:
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


def _with_attributes(plain: str, value: Any, trail: list[int]) -> str:
    attributes = getattr(value, "__dict__", None)
    return f"[{plain},{_dict(dict(attributes), trail)}]" if attributes else plain


def _reduced(value: Any, trail: list[int]) -> str:
    """The state that the object itself gives for copying: arguments, attributes, items."""
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return _str(reduced)
    _, arguments, *rest = reduced
    state, members, items = [*rest, None, None, None][:3]
    if len(arguments) == 1 and arguments[0] is type(value):
        arguments = ()
    if not arguments and members is None and items is None:
        return _text(_attributes(state), trail)
    parts = [list(arguments), _attributes(state), list(members or ()), [list(pair) for pair in items or ()]]
    return _text(parts, trail)


def _attributes(state: Any) -> Any:
    """A class with `__slots__` gives (attributes, slots); as one dict both read the same."""
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return {**(state[0] or {}), **state[1]}
    return {} if state is None else state


# Decoding


def _rare(module: str) -> Any:
    """A standard module that only some values need."""
    return importlib.import_module(module)


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
    text = json.dumps({f"${tag}": content}, sort_keys=True, separators=(",", ":"))
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
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "tuple": lambda c: tuple(_value(item) for item in c),
    "set": lambda c: {_value(item) for item in c},
    "frozenset": lambda c: frozenset(_value(item) for item in c),
    "dict": lambda c: {_value(key): _value(item) for key, item in c},
    "complex": lambda c: complex(_value(c[0]), _value(c[1])),
    "decimal": lambda c: _rare("decimal").Decimal(c),
    "fraction": lambda c: _rare("fractions").Fraction(_value(c[0]), _value(c[1])),
    "datetime": lambda c: _rare("datetime").datetime.fromisoformat(c),  # noqa: PLW0108 - on use, not on import
    "date": lambda c: _rare("datetime").date.fromisoformat(c),  # noqa: PLW0108 - likewise
    "time": lambda c: _rare("datetime").time.fromisoformat(c),  # noqa: PLW0108 - likewise
    "timedelta": lambda c: _rare("datetime").timedelta(*c),
    "path": lambda c: pathlib.PurePath(_value(c)),
    "uuid": lambda c: _rare("uuid").UUID(hex=c),
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
        if not _value({tag: content}).is_finite():
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
