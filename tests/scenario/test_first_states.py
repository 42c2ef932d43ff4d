"""From which states of a first crash a second run starts, and what it is judged against."""

from dataclasses import replace
from typing import Any

import pytest

from chaos.disk import MODELS, StateSpace
from chaos.explore.settings import Settings
from chaos.observations import Damage, Observation, Violation
from chaos.scenario.runner.first_states import FirstStates, Judged
from chaos.scenario.runner.second import first_budget, second_reference
from chaos.trace.model import Trace
from chaos.trace.overlaps import Beside
from tests.explore import traces
from tests.oracles.making import acks, reference, returned

KILL, POSIX = MODELS["kill"], MODELS["posix"]
TRACE = traces.overwrite()


def judged(trace: Trace, *models: Any, wrong: Any = lambda _: False, until: int | None = None) -> FirstStates:
    """As a run does it: each distinct state once, under the first model that has it."""
    books = Judged()
    seen = set()
    for model in models:
        for state in list(StateSpace(trace, model).states())[:until]:
            if (state.digest, state.acked) in seen:
                continue
            seen.add((state.digest, state.acked))
            damage = wrong(state)
            violation = Violation(oracle="recovers", damage=damage or Damage.LOUD, message="", state="", point=0)
            observation = Observation(
                state=state.recipe, model=model.name, point=state.point, acked=state.acked, outcome=returned(0)
            )
            books.add(observation, [violation] if damage else [])
    return books.first_states(trace, Settings(models=tuple(models)))


def test_each_tree_is_a_start_once_with_the_most_acknowledgements() -> None:
    found = judged(TRACE, KILL)
    space = StateSpace(TRACE, KILL)
    digests = [space.tree(one.recipe).digest for one in found.states]
    assert len(set(digests)) == len(digests) == len({state.digest for state in space.states()})
    whole = [one for one in found.states if one.point == 2 and one.recipe.endswith(":all")]
    assert [one.acked for one in whole] == [1]
    assert (found.wrong, found.complete) == (0, True)


def test_a_tree_that_several_models_allow_is_one_start_with_all_of_them() -> None:
    found = judged(TRACE, KILL, POSIX)
    both = {state.digest for state in StateSpace(TRACE, POSIX).states()}
    space = StateSpace(TRACE, KILL)
    for one in found.states:
        if one.models[0] == 0:
            assert one.models == ((0, 1) if space.tree(one.recipe).digest in both else (0,))
    assert any(one.models == (1,) for one in found.states)


def test_a_state_that_is_wrong_is_no_start() -> None:
    found = judged(TRACE, KILL, wrong=lambda state: Damage.LOUD if ":cut" in state.recipe else None)
    assert not any(":cut" in one.recipe for one in found.states)
    assert found.wrong > 0


def test_a_state_that_heals_itself_is_a_start() -> None:
    found = judged(TRACE, KILL, wrong=lambda state: Damage.SELF_HEALED if ":cut" in state.recipe else None)
    assert any(":cut" in one.recipe for one in found.states)
    assert found.wrong == 0


def test_states_that_were_not_run_are_no_starts() -> None:
    found = judged(TRACE, KILL, until=3)
    assert len(found.states) <= 3
    assert not found.complete


def test_a_state_that_was_run_for_a_later_model_is_known_of_an_earlier_one_as_well() -> None:
    books = Judged()
    for state in StateSpace(TRACE, POSIX).states():
        seen = Observation(state=state.recipe, model="posix", point=state.point, acked=state.acked, outcome=returned(0))
        books.add(seen, ())
    twin = replace(POSIX, name="twin")
    found = books.first_states(TRACE, Settings(models=(twin, POSIX)))
    assert found.complete
    assert {one.models for one in found.states} == {(0, 1)}


def test_a_second_run_is_judged_against_the_first_up_to_its_crash_and_its_own_from_there() -> None:
    first = reference("", "a", "b", "b", acked=("a", "b"))
    own = [returned("a and more"), returned("c"), returned("c")]
    side = Beside(writers=1, overlaps=((2, 4),), halfway=frozenset({2}))
    joined = second_reference(replace(first, halfway=frozenset({0, 1})), 1, [*acks("a"), *acks("c")], own, side)
    assert [step.value for step in joined.steps] == ['""', '"a and more"', '"c"', '"c"']
    assert [one.value for one in joined.acks] == ['"a"', '"c"']
    assert len(joined.steps) == len(joined.acks) + 2
    assert (joined.writers, joined.overlaps, joined.halfway) == (1, ((2, 4),), frozenset({0, 2}))
    two = Beside(writers=2)
    assert second_reference(first, 1, first.acks, own, two).writers == 2
    assert second_reference(replace(first, writers=2), 1, first.acks, own, side).writers == 2


@pytest.mark.parametrize(("given", "half"), [(None, None), (10, 5), (1, 1)])
def test_the_first_crash_gets_half_of_the_states(given: int | None, half: int | None) -> None:
    assert first_budget(Settings(models=(KILL,), budget_states=given)).budget_states == half


def test_the_first_crash_gets_half_of_the_time() -> None:
    assert first_budget(Settings(models=(KILL,), budget_s=8.0)).budget_s == 4.0
