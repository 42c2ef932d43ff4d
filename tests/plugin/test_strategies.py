"""What the strategies make can be used as it is."""

import math
from itertools import islice
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from chaos.faults.feedback import Feedback, FeedbackKind, rounds
from chaos.faults.llm import Script
from chaos.faults.llm_script import steps
from chaos.faults.network import Direction, Rule
from chaos.faults.policy import check_single
from chaos.scenario.fields.faults import fault_from as call_fault_from
from chaos.scenario.fields.fleet import fault_from
from pytest_guardrails.plugin.strategies import (
    call_faults,
    feedback,
    fleet_faults,
    llm_scripts,
    network_rules,
    non_finite,
    numbers_with_some_non_finite,
)
from tests.plugin.running import run_anew


@given(feedback())
def test_feedback_can_be_played_and_only_honest_feedback_ends(told: Feedback) -> None:
    texts = list(islice(rounds(told), 50))
    assert (len(texts) == 50) == (told.kind is not FeedbackKind.HONEST)
    assert list(islice(rounds(told), 50)) == texts


@given(feedback((FeedbackKind.CYCLIC, FeedbackKind.IDENTICAL)))
def test_kinds_can_be_chosen(told: Feedback) -> None:
    assert told.kind in (FeedbackKind.CYCLIC, FeedbackKind.IDENTICAL)


@given(non_finite())
def test_no_number_is_finite(number: float) -> None:
    assert not math.isfinite(number)


@given(numbers_with_some_non_finite())
def test_some_number_of_a_list_is_not_finite(numbers: list[float]) -> None:
    assert 1 <= len(numbers) <= 20
    assert not all(map(math.isfinite, numbers))


@given(llm_scripts())
def test_scripts_never_end(script: Script) -> None:
    assert len(list(islice(steps(script), 100))) == 100


@given(network_rules(), st.integers(1, 10))
def test_rules_are_drawn_the_same_again(rule: Rule, connection: int) -> None:
    assert rule.hits(connection, Direction.UPSTREAM, seed="a") == rule.hits(connection, Direction.UPSTREAM, seed="a")


@given(call_faults())
def test_faults_at_calls_are_tables_that_strike_one_run(table: dict[str, Any]) -> None:
    check_single([call_fault_from(table)])


@given(fleet_faults(max_size=2))
def test_faults_of_fleets_are_tables(tables: list[dict[str, Any]]) -> None:
    assert 1 <= len(tables) <= 2
    assert {fault_from(table).kind.value for table in tables} <= {"kill", "pause"}


def test_the_mildest_fleet_is_struck_once_and_late() -> None:
    (table,) = find(fleet_faults(), lambda tables: True, settings=settings(database=None))
    assert table == {"kind": "kill", "statements": 50, "count": 1, "workers": 1}


@pytest.mark.usefixtures("every_plugin")
def test_a_drawn_plan_that_goes_wrong_is_shrunk_by_hypothesis(pytester: pytest.Pytester) -> None:
    text = """
import contextlib

from hypothesis import HealthCheck, Phase, given, settings

from pytest_guardrails.plugin.strategies import call_faults


def save(folder):
    with contextlib.suppress(OSError):
        (folder / "a").write_text("1")


writes = call_faults().filter(lambda table: table["call"] == "write" and "errno" in table)


# Not to be explained: that alone takes some hundred children.
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=5, database=None, derandomize=True,
          phases=[Phase.generate, Phase.shrink])
@given(writes.map(lambda table: {**table, "nth": 1, "onwards": True}))
def test_it(tmp_path_factory, faults, table):
    folder = tmp_path_factory.mktemp("drawn")
    with faults.child(folder, table) as child:
        child(save, folder)
    assert (folder / "a").read_text() == "1"
"""
    printed = run_anew(pytester, text, failed=1)
    assert "table={'call': 'write', 'nth': 1, 'errno': 'EIO', 'onwards': True}" in printed


def test_the_simplest_loop_that_gets_nowhere_is_the_mildest() -> None:
    found = find(feedback(), lambda told: told.kind is not FeedbackKind.HONEST, settings=settings(database=None))
    assert (found.kind, found.texts, found.seed) == (FeedbackKind.IDENTICAL, ("a",), 0)
