"""Oracles that compare recovered values: recovers, atomic, durable, check."""

from dataclasses import replace

import pytest

from chaos.observations import Damage, Ending, Outcome, Verdict
from chaos.oracles.answer import Answer
from chaos.oracles.atomic import atomic
from chaos.oracles.check import check, undamaged_objections
from chaos.oracles.durable import durable
from chaos.oracles.recovers import recovers, undamaged_failures
from tests.oracles.making import raised, reference, returned, seen

COUNTER = reference(0, 1, 2, 2)


def verdict(answer: Answer) -> tuple[Verdict, Damage | None]:
    return answer.verdict, answer.damage


HOLDS = (Verdict.HOLDS, None)
UNKNOWN = (Verdict.UNKNOWN, None)


def violated(damage: Damage) -> tuple[Verdict, Damage | None]:
    return Verdict.VIOLATED, damage


# recovers


def test_a_recovery_that_returns_recovers_whatever_its_value() -> None:
    assert verdict(recovers(seen(99), COUNTER)) == HOLDS


def test_a_recovery_that_raises_is_loud() -> None:
    answer = recovers(seen(raised("json.decoder.JSONDecodeError", "Expecting value")), COUNTER)
    assert verdict(answer) == violated(Damage.LOUD)
    assert answer.message == "recovery raised json.decoder.JSONDecodeError: Expecting value"


@pytest.mark.parametrize("ending", [Ending.KILLED, Ending.HUNG, Ending.MEMORY])
def test_a_recovery_that_dies_or_hangs_cannot_start(ending: Ending) -> None:
    answer = recovers(seen(raised("x", ending=ending, detail=9)), COUNTER)
    assert verdict(answer) == violated(Damage.CANNOT_START)


def test_before_the_first_acknowledgement_the_initial_failure_is_legal() -> None:
    fresh = reference(raised("FileNotFoundError", "no a"), 1, 1)
    assert verdict(recovers(seen(raised("FileNotFoundError", "no b"), acked=0), fresh)) == HOLDS


def test_before_the_first_acknowledgement_another_failure_is_not_legal() -> None:
    fresh = reference(raised("FileNotFoundError"), 1, 1)
    assert verdict(recovers(seen(raised("ValueError"), acked=0), fresh)) == violated(Damage.LOUD)


def test_after_the_first_acknowledgement_the_initial_failure_is_not_legal() -> None:
    fresh = reference(raised("FileNotFoundError"), 1, 1)
    assert verdict(recovers(seen(raised("FileNotFoundError"), acked=1), fresh)) == violated(Damage.LOUD)


def test_another_exit_code_is_another_failure() -> None:
    fresh = reference(raised("exit", detail=2), 1, 1)
    assert verdict(recovers(seen(raised("exit", detail=1), acked=0), fresh)) == violated(Damage.LOUD)


def test_a_right_second_start_is_self_healed_and_no_violation() -> None:
    answer = recovers(seen(raised(), again=returned(1)), COUNTER)
    assert verdict(answer) == (Verdict.HOLDS, Damage.SELF_HEALED)


def test_a_wrong_second_start_heals_nothing() -> None:
    assert verdict(recovers(seen(raised(), again=returned(77)), COUNTER)) == violated(Damage.LOUD)


def test_a_target_that_fails_on_an_undamaged_acknowledged_tree_is_broken_without_a_crash() -> None:
    (objection,) = undamaged_failures(reference(raised(), raised(), 2, 2))
    assert (objection.step, objection.damage) == (1, Damage.LOUD)


# atomic


@pytest.mark.parametrize("value", [1, 2])
def test_the_values_before_and_after_the_step_in_flight_are_legal(value: int) -> None:
    assert verdict(atomic(seen(value), COUNTER)) == HOLDS


def test_a_value_between_the_steps_is_silent_damage() -> None:
    answer = atomic(seen(15), COUNTER)
    assert verdict(answer) == violated(Damage.SILENT)
    assert answer.message == "recovery returned 15; right is 1 or 2"


def test_an_older_value_alone_is_a_lost_acknowledgement() -> None:
    assert verdict(atomic(seen(0), COUNTER)) == violated(Damage.LOST)


def test_several_writers_make_the_steps_unknown() -> None:
    assert verdict(atomic(seen(15), reference(0, 1, 2, 2, writers=2))) == UNKNOWN


def test_values_that_differ_between_two_readings_are_unknown() -> None:
    assert verdict(atomic(seen(15), reference(0, 1, 2, 2, vague="they differ"))) == UNKNOWN


def test_a_check_of_the_users_own_decides_instead() -> None:
    assert verdict(atomic(seen(15), reference(0, 1, 2, 2, checked=True))) == UNKNOWN


def test_a_failed_recovery_is_not_a_torn_value() -> None:
    assert verdict(atomic(seen(raised()), COUNTER)) == UNKNOWN


@pytest.mark.parametrize(("point", "wanted"), [(2, False), (3, True), (6, True), (7, False)])
def test_a_value_between_the_steps_of_several_at_work_side_by_side_tells_nothing(point: int, wanted: bool) -> None:
    beside = reference(0, 1, 2, 2, overlaps=((2, 6),))
    assert (verdict(atomic(replace(seen(99), point=point), beside)) == UNKNOWN) == wanted
    assert verdict(atomic(replace(seen(1), point=point), beside)) == HOLDS


# durable


def test_an_older_state_is_a_lost_acknowledgement() -> None:
    answer = durable(seen(0), COUNTER)
    assert verdict(answer) == violated(Damage.LOST)
    assert "at the start" in answer.message


def test_an_older_value_that_is_also_a_legal_one_is_no_loss() -> None:
    assert verdict(durable(seen(0), reference(0, 0, 1, 1))) == HOLDS


def test_an_acknowledged_value_missing_from_the_container_is_lost() -> None:
    lists = reference([], ["a"], ["a", "b"], ["a", "b"], acked=("a", "b"), writers=2)
    assert verdict(durable(seen(["b"], acked=2), lists)) == violated(Damage.LOST)
    assert verdict(durable(seen(["b", "a"], acked=2), lists)) == HOLDS


@pytest.mark.parametrize(
    ("one", "both", "torn"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a"}, {"a", "b"}, {"b"}),
        ({"jobs": ["a"]}, {"jobs": ["a", "b"]}, {"jobs": ["b"]}),
    ],
)
def test_keys_sets_and_nested_containers_count(one: object, both: object, torn: object) -> None:
    containers = reference({}, one, both, both, acked=("a", "b"), writers=2)
    assert verdict(durable(seen(torn, acked=2), containers)) == violated(Damage.LOST)
    assert verdict(durable(seen(both, acked=2), containers)) == HOLDS


def test_numbers_match_keys_that_json_made_strings() -> None:
    keyed = reference({}, {"1": "x"}, {"1": "x", "2": "y"}, {"1": "x", "2": "y"}, writers=2)
    assert verdict(durable(seen({"2": "y"}, acked=2), keyed)) == violated(Damage.LOST)


def test_a_container_that_never_held_the_acknowledged_values_proves_nothing() -> None:
    queue = reference([], ["a"], ["b"], [], acked=("a", "b"), writers=2)
    assert verdict(durable(seen(["x"], acked=2), queue)) == UNKNOWN


def test_an_acknowledgement_before_the_step_is_a_loss() -> None:
    early = reference(0, 0, 1, 2, 3, acked=(1, 2, 3))
    assert verdict(durable(seen(0, acked=1), early)) == violated(Damage.LOST)
    assert verdict(durable(seen(1, acked=1), early)) == HOLDS
    buffered = reference([], [], [], ["a", "b"], acked=("a", "b"))
    assert verdict(durable(seen([], acked=1), buffered)) == violated(Damage.LOST)
    assert verdict(durable(seen(["a"], acked=1), buffered)) == HOLDS


def test_values_that_come_and_go_prove_nothing_about_early_acknowledgements() -> None:
    assert verdict(durable(seen([2], acked=2), reference([], [1], [2], [1, 2], [1, 2], acked=(1, 2, 3)))) == HOLDS
    assert verdict(durable(seen(1, acked=1), reference(1, 1, 2, 2, acked=(1, 2)))) == HOLDS


def test_a_number_that_turns_up_somewhere_else_is_no_acknowledged_value() -> None:
    moved = [{"from": 30, "to": 0}, {"from": 20, "to": 10}, {"from": 10, "to": 20}, {"from": 10, "to": 20}]
    accounts = reference(*moved, acked=(10, 20))
    assert verdict(durable(seen({"from": 0, "to": 30}, acked=2), accounts)) == HOLDS
    kept = reference({"n": 0}, {"n": 1, "seen": [1]}, {"n": 2, "seen": [1, 2]}, {"n": 2, "seen": [1, 2]}, acked=(1, 2))
    assert verdict(durable(seen({"n": 5, "seen": [2]}, acked=2), kept)) == violated(Damage.LOST)


def test_a_number_that_stood_there_before_anything_was_done_is_no_acknowledged_value() -> None:
    steps = [{"n": number, "sizes": [1, 2, 3]} for number in (0, 1, 2, 2)]
    assert verdict(durable(seen({"n": 2}, acked=2), reference(*steps))) == HOLDS
    done = [{"done": list(range(2, number)), "sizes": [1]} for number in (2, 2, 3, 4, 4)]
    assert verdict(durable(seen({"done": [2]}, acked=3), reference(*done))) == violated(Damage.LOST)
    assert verdict(durable(seen({"done": [2, 3]}, acked=3), reference(*done))) == HOLDS
    assert durable(seen({"done": [3]}, acked=3), reference(*done)).message == "acknowledged and not there: 2"


def test_durable_claims_nothing_of_a_recovery_that_always_returns_the_same() -> None:
    assert verdict(durable(seen(None, acked=1), reference(None, None, None, None))) == UNKNOWN
    assert "let it return what it finds, or give a check" in durable(seen(True), reference(True, True, True)).message
    assert verdict(durable(seen(0), reference(0, 0, 1, 1))) == HOLDS


def test_a_torn_value_that_lost_nothing_is_not_durables_matter() -> None:
    assert verdict(durable(seen(15), COUNTER)) == HOLDS


# check


def test_the_users_check_decides() -> None:
    checked = reference(0, 1, 2, 2, checked=True)
    assert verdict(check(seen(15), checked)) == HOLDS
    answer = check(seen(returned(15, check="AssertionError: 15")), checked)
    assert verdict(answer) == violated(Damage.SILENT)
    assert "AssertionError: 15" in answer.message


def test_an_objection_that_the_legal_undamaged_step_meets_too_is_not_the_crashs_doing() -> None:
    checked = reference(returned(0, check="empty"), 1, 1, checked=True)
    assert verdict(check(seen(returned(0, check="empty"), acked=0), checked)) == HOLDS
    assert verdict(check(seen(returned(7, check="odd"), acked=0), checked)) == violated(Damage.SILENT)


def test_a_value_that_the_check_accepts_undamaged_and_rejects_here_is_a_violation() -> None:
    checked = reference(0, 1, 2, 2, checked=True)
    assert verdict(check(seen(returned(2, check="too early")), checked)) == violated(Damage.SILENT)


def test_without_a_check_it_is_unknown() -> None:
    assert verdict(check(seen(15), COUNTER)) == UNKNOWN


def test_a_check_that_rejects_an_undamaged_acknowledged_tree_is_told() -> None:
    (objection,) = undamaged_objections(reference(returned(0, check="x"), returned(1, check="y"), 1, checked=True))
    assert (objection.step, objection.message) == (1, "the check objects: y")


def test_endings_are_told_in_words() -> None:
    hung = Outcome(ending=Ending.HUNG, error_type="deadline")
    assert recovers(seen(hung), COUNTER).message == "recovery did not return before its deadline"
