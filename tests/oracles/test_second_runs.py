"""What a run acknowledges that follows a crash must be there, as the run without a crash shows how."""

from typing import Any

import pytest

from chaos.observations import Damage, Reference
from chaos.oracles.durable import undamaged_losses
from tests.oracles.making import raised, reference

LIST = reference([], ["a"], ["a", "b"], ["a", "b"], acked=("a", "b"))
NUMBER = reference(0, 1, 2, 2)


def after_a_crash(first: Reference, *steps: object, acked: tuple[object, ...], before: int = 1) -> Reference:
    return reference(*steps, acked=acked, before=before, first=first)


def test_what_it_acknowledges_and_never_shows_is_lost_though_it_was_not_crashed() -> None:
    later = after_a_crash(LIST, [], ["a"], ["a"], ["a"], acked=("a", "c"))
    (objection,) = undamaged_losses(later)
    assert (objection.step, objection.damage) == (3, Damage.LOST)
    assert objection.message == "acknowledged and not there: 'c'"


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(after_a_crash(LIST, [], ["a"], ["a", "c"], ["a", "c"], acked=("a", "c")), id="all is there"),
        pytest.param(after_a_crash(LIST, [], ["a"], ["c"], ["c"], acked=("a", "c")), id="it starts afresh"),
        pytest.param(after_a_crash(LIST, [], ["a"], ["a"], ["a", "c"], acked=("a", "c")), id="acknowledged too early"),
        pytest.param(after_a_crash(LIST, [], ["a"], raised(), raised(), acked=("a", "c")), id="recovery fails"),
        pytest.param(after_a_crash(NUMBER, 0, 1, 2, 3, 3, acked=(1, 2, 3)), id="numbers go on"),
        pytest.param(after_a_crash(NUMBER, 0, 1, 2, 1, 1, acked=(1, 2, 1), before=2), id="numbers start afresh"),
        pytest.param(after_a_crash(NUMBER, 0, 1, 0, 1, 1, acked=(1, 0, 1)), id="numbers repeat"),
        pytest.param(after_a_crash(reference(0, 7, 8, 8), 0, 1, 1, 1, acked=(1, 2)), id="the first run proves nothing"),
        pytest.param(reference([], ["a"], ["a"], acked=("c",)), id="no run before it"),
    ],
)
def test_otherwise_it_does_not_object(later: Any) -> None:
    assert undamaged_losses(later) == ()


def test_a_number_that_stays_behind_what_was_acknowledged_is_lost() -> None:
    later = after_a_crash(NUMBER, 0, 1, 1, 1, acked=(1, 2))
    assert [one.message for one in undamaged_losses(later)] == ["acknowledged and not there: 2"]
