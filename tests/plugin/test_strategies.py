"""What the strategies make can be used as it is."""

import math
from itertools import islice

from hypothesis import find, given, settings
from hypothesis import strategies as st

from chaos.faults.feedback import Feedback, FeedbackKind, rounds
from chaos.faults.llm import Script
from chaos.faults.llm_script import steps
from chaos.faults.network import Direction, Rule
from pytest_guardrails.plugin.strategies import (
    feedback,
    llm_scripts,
    network_rules,
    non_finite,
    numbers_with_some_non_finite,
)


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


def test_the_simplest_loop_that_gets_nowhere_is_the_mildest() -> None:
    found = find(feedback(), lambda told: told.kind is not FeedbackKind.HONEST, settings=settings(database=None))
    assert (found.kind, found.texts, found.seed) == (FeedbackKind.IDENTICAL, ("a",), 0)
