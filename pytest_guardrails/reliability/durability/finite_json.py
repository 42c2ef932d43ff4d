"""JSON in which every number is finite, every key unique, and every text valid Unicode.

Python's `json` writes `NaN`, turns the key 1 into "1", takes `1e999` for infinity and lets the last of two equal keys
win. Each of these changes data without a word, so each is refused here, with the path to the value. What comes back
from `loads` equals what went into `dumps`, but for tuples, which come back as lists. Read `atomic.py` next.
"""

import json
import math
from collections.abc import Mapping

from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.hints import Any, final

__all__ = ["MAX_DEPTH", "JsonRefusedError", "check", "dumps", "loads", "printable"]

MAX_DEPTH = 100  # far above any honest document, far below Python's limit on recursion
_MOST_BITS = 14_284  # of whole numbers; longer ones have more digits than Python reads from a text
_PLAIN = frozenset({bool, int, float, type(None)})
_PLAIN_OR_TEXT = _PLAIN | {str}
_PLAIN_KEY = str.isidentifier
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@final
class JsonRefusedError(GuardrailsError, ValueError):
    """A value or a text is not JSON that this project accepts.

    Attributes:
        path: where, such as `$.losses[3]`.
        problem: what is wrong there.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def dumps(value: object, *, indent: int | None = None, envelope: int = 0) -> str:
    """The value as JSON text, without spaces when `indent` is None; keys keep their order.

    Args:
        value: what to write.
        indent: spaces a level; None for one line.
        envelope: levels that are allowed beyond `MAX_DEPTH`, for what is wrapped around values of others.

    Raises:
        JsonRefusedError: NaN, infinity, a whole number of more than 4,300 digits, a lone surrogate, a key that is no
            string, a type that JSON has not, a reference to itself, or more than `MAX_DEPTH` levels.
    """
    if not _is_plain(value, -envelope):
        check(value, envelope=envelope)
    try:
        if indent is None:
            return _encode(value)
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number that is not finite, or too long for Python to write: `check` says which
        check(value, envelope=envelope)
        raise


def loads(text: str | bytes, *, envelope: int = 0) -> Any:
    """The value that a JSON text stands for; `envelope` as for `dumps`.

    Raises:
        JsonRefusedError: not JSON, or NaN, infinity, a number too large for a float, a duplicate key, a lone
            surrogate, more than `MAX_DEPTH` levels, or bytes that are not UTF-8.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite_float, object_pairs_hook=_unique_keys
        )
    except JsonRefusedError:
        raise
    except RecursionError:
        raise JsonRefusedError("$", f"more than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise JsonRefusedError("$", f"not JSON: {error}") from error
    if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        check(value, envelope=envelope)  # surrogates come in by escapes alone, since UTF-8 has none
    return value


def check(value: object, *, envelope: int = 0) -> None:
    """Refuse what `dumps` would refuse.

    Raises:
        JsonRefusedError: with the path to the first such value.
    """
    _check(value, "$", -envelope)


def printable(text: str) -> str:
    """Text from outside, with each lone surrogate written as an escape, so that it can be stored and sent."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_plain(value: object, depth: int) -> bool:
    """Whether `_check` surely finds nothing to refuse but numbers, which the encoder looks at.

    A fraction of its cost, as it keeps no path, and asks for the kinds of a whole list at once.
    """
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is str:
        return value.isascii()  # type: ignore[attr-defined, no-any-return]
    if depth >= MAX_DEPTH:
        return False
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            inner = type(item)
            if inner not in _PLAIN and not (item.isascii() if inner is str else _is_plain(item, depth + 1)):
                return False
        return True
    if not isinstance(value, (list, tuple)):
        return False
    kinds = set(map(type, value))
    if kinds <= _PLAIN:
        return True
    if kinds <= _PLAIN_OR_TEXT:
        return all(item.isascii() for item in value if type(item) is str)
    return all(_is_plain(item, depth + 1) for item in value)


def _check(value: object, path: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value, path)  # type: ignore[arg-type]
    elif kind is bool or value is None:
        return
    elif isinstance(value, (int, float)):
        _check_number(value, path)
    elif depth >= MAX_DEPTH and isinstance(value, (dict, list, tuple)):
        raise JsonRefusedError(path, f"more than {MAX_DEPTH} levels, or a reference to itself")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise JsonRefusedError(path, f"the key {key!r} is a {type(key).__name__}; JSON keys are strings")
            _check_text(key, path)
            _check(item, _below(path, key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        _check_text(value, path)
    else:
        raise JsonRefusedError(path, f"a {kind.__module__}.{kind.__qualname__} has no JSON form; convert it first")


def _check_number(value: float, path: str) -> None:
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise JsonRefusedError(path, "a whole number of more than 4300 digits, which Python can't read back")
    elif not math.isfinite(value):
        raise JsonRefusedError(path, f"{value} is not a finite number")


def _check_text(text: str, path: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JsonRefusedError(path, f"lone surrogate at character {error.start} of {printable(text[:60])!r}") from None


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if _PLAIN_KEY(key) else f"{path}[{key!r}]"


def _refuse_constant(name: str) -> None:
    raise JsonRefusedError("$", f"{name} is not a finite number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonRefusedError("$", f"{text} is too large for a float")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise JsonRefusedError("$", f"the key {double!r} is there twice in one object")
    return found
