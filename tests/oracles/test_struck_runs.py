"""Crash states of a run that faults sent another way are held against its own undamaged steps, where they are whole."""

from dataclasses import replace

import pytest

from chaos.observations import Damage, Observation, Reference, Verdict
from chaos.oracles.atomic import atomic
from chaos.oracles.durable import durable
from tests.oracles.making import raised, reference, seen

CLEAN = reference(0, 1, 2, 3, 4, 4)
# The second step failed, and all after it went well.
OWN = reference(0, 1, 3, 4, 4, acked=(1, 3, 4))


def astray(own: Reference | None = OWN, first: Reference = CLEAN) -> Reference:
    made = reference(0, *[raised("(unknown)")] * 3, 4, acked=(1, 3, 4))
    return replace(made, first=first, diverged=True, own=own)


def after(number: int, value: object, **more: object) -> Observation:
    return replace(seen(value, acked=number), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [3, 4])
def test_within_a_step_that_both_runs_have_the_values_before_and_after_it_are_right(value: int) -> None:
    assert atomic(after(2, value), astray()).verdict is Verdict.HOLDS
    assert durable(after(2, value), astray()).verdict is Verdict.HOLDS


def test_within_a_step_that_both_runs_have_a_value_between_is_damage() -> None:
    answer = atomic(after(2, 34), astray())
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.SILENT)
    assert answer.message == "recovery returned 34; right is 3 or 4"


def test_what_such_a_run_had_acknowledged_must_not_go_back() -> None:
    answer = durable(after(2, 1), astray(reference(0, 1, 3, 4, 4, acked=("a", "c", "d")), reference(*"0abcdd")))
    assert answer.verdict is Verdict.UNKNOWN  # the two have no step in common: c comes after b there
    labelled = reference("s0", "s1", "s3", "s4", "s4", acked=(1, 3, 4))
    answer = durable(after(2, "s1"), astray(labelled))
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.LOST)


@pytest.mark.parametrize(
    ("seen_", "against", "words"),
    [
        pytest.param(after(1, 2), astray(), "within such a step", id="in the step in which something failed"),
        pytest.param(after(2, 34, damaged=(2,)), astray(), "did that failed may be lost", id="lacks what that did"),
        pytest.param(after(2, 34), astray(None), "the run acknowledged something else", id="no steps of its own"),
        pytest.param(
            after(2, 34), astray(OWN, reference(0, 1, 2, 3, 4, 4, acked=(1, 3, 4, 1))), "repeat", id="acks that repeat"
        ),
        pytest.param(
            after(2, 34),
            astray(reference(0, 1, raised(), 4, 4, acked=(1, 3, 4))),
            "fails on its own undamaged trees",
            id="recovery fails without a crash",
        ),
    ],
)
def test_elsewhere_nobody_knows_what_is_right(seen_: Observation, against: Reference, words: str) -> None:
    answer = atomic(seen_, against)
    assert answer.verdict is Verdict.UNKNOWN
    assert words in answer.message


def test_after_the_last_acknowledgement_a_run_is_on_the_usual_way_only_if_that_is_the_usual_last_one() -> None:
    assert atomic(after(3, 45), astray()).verdict is Verdict.VIOLATED
    stopped = astray(reference(0, 1, 3, 4, acked=(1, 3)))
    assert atomic(after(2, 45), stopped).verdict is Verdict.UNKNOWN


def test_what_a_whole_step_lost_is_no_excuse() -> None:
    # Acknowledgements stand after operations 2, 4 and 6: operations 4 and 5 are of the last step.
    assert atomic(after(2, 34, damaged=(4, 5)), astray()).verdict is Verdict.VIOLATED
