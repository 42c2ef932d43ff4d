"""Plans: a run's faults as text, with nothing left to chance, and smaller ones."""

import pytest

from chaos.errors import UsageError
from chaos.faults.fault import parse_fault
from chaos.faults.plan import Plan, explicit, parse_plan, smaller

EIO = parse_fault({"errno": "EIO", "call": "write"})
DRAWN = parse_fault({"errno": "EIO", "call": "write", "probability": 0.5})
FULL = parse_fault({"full": 10})


def test_a_plan_comes_back_from_its_text() -> None:
    plan = Plan(faults=(EIO.at(3), DRAWN, FULL), seed="7 1")
    assert parse_plan(plan.text()) == plan


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"faults": 1, "seed": ""}', '{"faults": [{"nth": 1}], "seed": ""}'])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_plan(text)


def test_each_strike_becomes_a_fault_of_its_own() -> None:
    plan = Plan(faults=(DRAWN, FULL))
    assert plan.is_drawn
    pinned = explicit(plan, [(0, 2), (1, 9), (0, 5), (1, 10)])
    assert pinned.faults == (EIO.at(2), FULL, EIO.at(5))
    assert not pinned.is_drawn


def test_a_fault_that_goes_on_stays_one() -> None:
    onwards = parse_fault({"errno": "EIO", "nth": 2, "onwards": True})
    assert explicit(Plan(faults=(onwards,)), [(0, 2), (0, 3)]).faults == (onwards,)


def test_smaller_plans_have_fewer_faults_or_earlier_ones_and_come_to_an_end() -> None:
    plan = Plan(faults=(EIO.at(9), EIO.at(2), EIO.at(5), EIO.at(7)))
    found = list(smaller(plan))
    assert all(one.size < plan.size for one in found)
    assert {len(one.faults) for one in found} == {1, 2, 3, 4}
    assert Plan(faults=(EIO.at(8), *plan.faults[1:])) in found
    assert list(smaller(Plan(faults=(EIO.at(1),)))) == []


def test_striking_once_is_less_than_striking_from_there_on() -> None:
    onwards = parse_fault({"errno": "EIO", "nth": 1, "onwards": True})
    assert parse_fault({"errno": "EIO", "nth": 1}) in [one.faults[0] for one in smaller(Plan(faults=(onwards,)))]
