"""A `Record` behaves like a `NamedTuple`, which is what type checkers take it for."""

import pickle

import pytest

from pytest_guardrails.records import Record


class Point(Record):
    """With a property, as some have."""

    x: int
    y: int = 2
    name: str = "p"

    @property
    def total(self) -> int:
        return self.x + self.y


def test_fields_come_by_position_by_name_and_by_default() -> None:
    assert Point(1) == Point(x=1) == Point(1, 2, name="p") == (1, 2, "p")
    assert Point(1, name="q").name == "q"


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, "a", 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1})]
)
def test_wrong_values_are_refused(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)  # type: ignore[arg-type]


def test_it_is_a_tuple_that_can_be_unpacked_copied_and_shown() -> None:
    x, y, name = Point(1)
    assert (x, y, name, Point(1).total) == (1, 2, "p", 3)
    assert Point(1)._replace(y=5) == Point(1, 5)
    assert Point(1)._asdict() == {"x": 1, "y": 2, "name": "p"}
    assert repr(Point(1)) == "Point(x=1, y=2, name='p')"
    with pytest.raises(TypeError):
        Point(1)._replace(z=5)  # type: ignore[call-arg]


def test_it_survives_pickling_and_can_not_be_changed() -> None:
    assert pickle.loads(pickle.dumps(Point(1, 5))) == Point(1, 5)
    assert type(pickle.loads(pickle.dumps(Point(1, 5)))) is Point
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Point(1).other = 2  # type: ignore[attr-defined]


def test_a_field_without_a_default_can_not_come_late() -> None:
    with pytest.raises(TypeError, match="Late: fields without a default come first"):

        class Late(Record):
            x: int = 1
            y: int  # type: ignore[misc]
