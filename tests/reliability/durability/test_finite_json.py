"""Strict JSON: what goes in comes back, and what can't is refused with its path."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.durability.finite_json import MAX_DEPTH, JsonRefusedError, dumps, loads, printable

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values)
def test_what_went_in_comes_back(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(value, indent=2).encode()) == value


def test_the_longest_whole_number_comes_back() -> None:
    longest = 2**14_284 - 1
    assert loads(dumps({"count": longest})) == {"count": longest}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "$"),
        ({"losses": [1.0, float("inf")]}, "$.losses[1]"),
        ({"a b": {"c": float("-inf")}}, "$['a b'].c"),
        ({"count": 10**4300}, "$.count"),
        ([-(10**5000)], "$[0]"),
        ({"text": "\ud800"}, "$.text"),
        ({"\udfff": 1}, "$"),
        ({1: "one"}, "$"),
        ([{"when": object()}], "$[0].when"),
        ([b"bytes"], "$[0]"),
        (nested(MAX_DEPTH + 1), "$" + "[0]" * MAX_DEPTH),
        (LOOP, "$" + "[0]" * MAX_DEPTH),
    ],
)
def test_dumps_refuses_with_the_path(value: Any, path: str) -> None:
    with pytest.raises(JsonRefusedError) as caught:
        dumps(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "-1e999",
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        '{"\\udc00": 1}',
        "[" * 200 + "]" * 200,
        "[" * 200_000,
        "",
        "{",
        "1 2",
        b"\xff",
        "9" * 5000,
    ],
)
def test_loads_refuses(text: str | bytes) -> None:
    with pytest.raises(JsonRefusedError):
        loads(text)


def test_the_deepest_allowed_value_passes() -> None:
    assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


def test_text_from_outside_becomes_printable() -> None:
    assert finite_json.dumps(printable("caf\u00e9 \udcff")) == '"caf\u00e9 \\\\udcff"'
