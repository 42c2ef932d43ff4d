"""Canonical text of values: equal exactly when the values are, and the same in every process."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import subprocess
import sys
import threading
import uuid
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.child.values import Described, Unencodable, decode, encode, non_finite, opaque, render

text = st.text(st.characters(exclude_categories=[]), max_size=8)
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers(allow_nan=False)
    | st.builds(pathlib.PurePath, st.text("ab/", min_size=1, max_size=5)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
plain = st.recursive(
    hashable | st.binary(max_size=4).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4) | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    cache: Any = dataclasses.field(default=None, compare=False)


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Number(int):
    pass


@given(plain)
def test_decoding_gives_the_value_back(value: Any) -> None:
    assert decode(encode(value)) == value


@given(plain)
def test_encoding_a_decoded_text_gives_the_text_back(value: Any) -> None:
    encoded = encode(value)
    assert encode(decode(encoded)) == encoded


@given(plain, plain)
def test_equal_texts_mean_equal_values(one: Any, other: Any) -> None:
    if encode(one) == encode(other):
        assert one == other


@given(st.dictionaries(hashable, st.integers(), max_size=5))
def test_insertion_order_of_a_dict_never_counts(value: dict[Any, int]) -> None:
    assert encode(value) == encode(dict(reversed(value.items())))


@given(plain)
def test_text_is_ascii_json(value: Any) -> None:
    encoded = encode(value)
    assert encoded.isascii()
    json.loads(encoded, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_values_of_different_types_have_different_texts() -> None:
    values = [1, 1.0, True, "1", b"1", bytearray(b"1"), [1], (1,), {1}, frozenset({1}), None, {"1": 1}, {1: 1}]
    assert len({encode(value) for value in values}) == len(values)


def test_a_dict_that_looks_like_a_tag_is_not_taken_for_one() -> None:
    value = {"$float": "nan"}
    assert decode(encode(value)) == value


def test_lone_surrogates_do_not_merge() -> None:
    assert encode("\ud800\udc00") != encode("\U00010000")
    assert decode(encode("\ud800\udc00")) == "\ud800\udc00"


def test_integers_beyond_the_printing_limit_survive() -> None:
    assert decode(encode(-(10**5000))) == -(10**5000)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinities_survive(value: float) -> None:
    assert decode(encode(value)) == value


def test_every_nan_has_one_text() -> None:
    assert encode(float("nan")) == encode(-float("nan")) == encode(math.inf - math.inf)
    assert math.isnan(decode(encode(math.nan)))


def test_dataclasses_compare_by_type_and_compared_fields() -> None:
    assert encode(Point(1.0, cache="a")) == encode(Point(1.0, cache="b")) != encode(Point(2.0))


def test_objects_compare_by_type_and_attributes() -> None:
    assert encode(Plain(a=1, b=2)) == encode(Plain(b=2, a=1)) != encode(Plain(a=1))
    assert encode(Slotted(1, 2)) == encode(Slotted(1, 2)) != encode(Slotted(1, 3))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Color.RED, Color.BLUE),
        (Number(1), Number(2)),
        (collections.deque([1]), collections.deque([2])),
        (collections.Counter("aab"), collections.Counter("ab")),
        (collections.OrderedDict(a=1), collections.OrderedDict(a=2)),
        (range(3), range(4)),
        (ValueError("a"), ValueError("b")),
        (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
        (fractions.Fraction(1, 3), fractions.Fraction(1, 4)),
        (uuid.UUID(int=1), uuid.UUID(int=2)),
        (numpy.array([1.0, 2.0]), numpy.array([1.0, 3.0])),
        (numpy.array([1, 2]), numpy.array([1.0, 2.0])),
        (numpy.float64(1), numpy.float32(1)),
        (numpy.zeros((2, 1)), numpy.zeros((1, 2))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_library_values_are_told_apart(one: Any, other: Any) -> None:
    assert encode(one) == encode(one) != encode(other)
    assert encode(decode(encode(one))) == encode(one)


def test_a_subclass_differs_from_its_base() -> None:
    assert encode(Number(1)) != encode(1)


def test_an_object_without_state_is_its_repr_without_address() -> None:
    lock = encode(threading.Lock())
    assert "0x" not in lock
    assert lock == encode(threading.Lock())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (threading.Lock(), "_thread.lock"),
        ({"rows": (one for one in "ab")}, "generator"),
        ({"a": 1}.keys(), ""),
        ('{"$repr":["generator","<"]}', ""),
        (object(), ""),
    ],
    ids=["lock", "generator inside", "keys", "text that looks like one", "no state at all"],
)
def test_what_shows_nothing_of_its_state_is_named(value: Any, kind: str) -> None:
    assert opaque(encode(value)) == kind


def test_functions_and_classes_are_their_names() -> None:
    assert decode(encode(json.loads)).state == "json.loads"
    assert decode(encode(Plain)).state.endswith("Plain")


def test_a_container_within_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert encode(value) == '[1,{"$cycle":1}]'


def test_a_value_seen_twice_is_not_a_cycle() -> None:
    shared = [1]
    assert decode(encode([shared, shared])) == [[1], [1]]


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unencodable, match="nested"):
        encode(value)


def test_a_value_too_large_is_refused() -> None:
    with pytest.raises(Unencodable, match="1000 are allowed"):
        encode("x" * 2000, limit_bytes=1000)


def test_an_object_whose_code_fails_is_refused() -> None:
    class Broken:
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise OSError("no")

        def __repr__(self) -> str:
            raise OSError("no")

    with pytest.raises(Unencodable, match="Broken raised OSError"):
        encode(Broken())


@pytest.mark.parametrize("wrong", ['{"$nonsense": 1}', '{"$tuple": 3}', "{", '{"$object": []}'])
def test_foreign_text_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one of them
        decode(wrong)


def test_sets_have_one_text_in_every_process() -> None:
    program = "from chaos.child.values import encode; print(encode({'a', 'b', 'c', ('d', 1)}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=pathlib.Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {encode({"a", "b", "c", ("d", 1)}) + "\n"}


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"loss": [1.0, math.nan]}, ["value['loss'][1]"]),
        ((1, {2: math.inf}), ["value[1][2]"]),
        (Point(math.nan), ["value.x"]),
        (numpy.array([[1.0, -math.inf]]), ["value[0][1]"]),
        (numpy.float32("nan"), ["value"]),
        (decimal.Decimal("NaN"), ["value"]),
        (complex(math.nan, 0), ["value[0]"]),
        ([decimal.Decimal(1), "$float", {"$float": "nan"}, 1e308], []),
        ({math.inf: 1}, ["value key inf"]),
    ],
)
def test_non_finite_numbers_are_found_with_their_place(value: Any, places: list[str]) -> None:
    assert non_finite(encode(value)) == places


def test_rendering_reads_like_python() -> None:
    assert render(encode({"a": (1, b"x")})) == "{'a': (1, b'x')}"
    assert render(encode(Point(1.0, 2.0))) == "Point(x=1.0, y=2.0)"


@given(plain, st.integers(0, 60))
def test_rendering_keeps_to_its_limit(value: Any, limit: int) -> None:
    assert len(render(encode(value), limit)) <= limit


def test_a_described_value_is_equal_by_its_text() -> None:
    one, other = decode(encode(Plain(a=1))), decode(encode(Plain(a=1)))
    assert isinstance(one, Described)
    assert one == other
    assert {one} == {other}


class _Frame:
    """What pandas shows of a table, and an inner state with a NaN that is no value of it."""

    def __init__(self, data: list[list[object]]) -> None:
        self.data = data
        self._missing = float("nan")

    @property
    def dtypes(self) -> list[str]:
        return ["int64", "str"]

    def to_dict(self, *, orient: str) -> dict[str, object]:
        assert orient == "split"
        return {"index": list(range(len(self.data))), "columns": ["n", "v"], "data": self.data}


_Frame.__module__, _Frame.__name__, _Frame.__qualname__ = "pandas.core.frame", "DataFrame", "DataFrame"


def test_a_table_is_what_it_shows_and_not_what_it_is_made_of() -> None:
    table = encode(_Frame([[1, "a"]]))
    assert non_finite(table) == []
    assert encode(_Frame([[1, "a"]])) == table
    assert encode(_Frame([[2, "a"]])) != table
    assert non_finite(encode(_Frame([[float("inf"), "a"]]))) == ["value.data[0][0]"]
