"""Oracles that look beyond the value: resumable, clean, finite."""

import math

from chaos.observations import Damage, Verdict
from chaos.oracles.clean import clean, undamaged_leftovers
from chaos.oracles.finite import finite, undamaged_non_finite
from chaos.oracles.resumable import resumable
from tests.oracles.making import raised, reference, returned, seen

COUNTER = reference(0, 1, 2, 2)
FOLDER = reference(0, 1, 1, names=frozenset({"a"}))


# resumable


def test_running_on_to_the_same_end_is_resumable() -> None:
    assert resumable(seen(1, resumed=returned(2, acks=(2,))), COUNTER).verdict is Verdict.HOLDS


def test_another_end_is_silent_damage() -> None:
    answer = resumable(seen(1, resumed=returned(3)), COUNTER)
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.SILENT)
    assert answer.message == "run on, it ends with 3; without a crash it ends with 2"


def test_an_acknowledged_step_done_again_is_a_violation() -> None:
    answer = resumable(seen(1, resumed=returned(2, acks=(1, 2))), COUNTER)
    assert answer.verdict is Verdict.VIOLATED
    assert "done again: 1" in answer.message


def test_a_step_in_flight_may_be_done_again() -> None:
    assert resumable(seen(2, acked=1, resumed=returned(2, acks=(2,))), COUNTER).verdict is Verdict.HOLDS


def test_equal_acknowledged_values_do_not_tell_steps_apart() -> None:
    same = reference(0, 1, 2, 2, acked=("done", "done"))
    assert resumable(seen(1, resumed=returned(2, acks=("done",))), same).verdict is Verdict.HOLDS


def test_a_workload_that_fails_to_go_on_cannot_start() -> None:
    answer = resumable(seen(1, resumed=raised()), COUNTER)
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.CANNOT_START)


def test_a_check_that_objects_after_running_on_is_a_violation() -> None:
    answer = resumable(seen(1, resumed=returned(2, check="AssertionError: 2")), COUNTER)
    assert "AssertionError: 2" in answer.message


def test_without_the_extra_run_it_is_unknown() -> None:
    assert resumable(seen(1), COUNTER).verdict is Verdict.UNKNOWN


def test_after_a_failed_recovery_it_is_unknown() -> None:
    assert resumable(seen(raised(), resumed=raised()), COUNTER).verdict is Verdict.UNKNOWN


def test_without_a_final_state_it_is_unknown() -> None:
    assert resumable(seen(1, resumed=returned(2)), reference(0, 1, raised())).verdict is Verdict.UNKNOWN


# clean


def test_a_name_that_no_undamaged_tree_has_is_left_over() -> None:
    answer = clean(seen(returned(1, names=("a", "a.tmp"))), FOLDER)
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.UNCLEAN)
    assert answer.message == "left over after recovery: a.tmp"


def test_a_known_name_is_clean() -> None:
    assert clean(seen(returned(1, names=("a",))), FOLDER).verdict is Verdict.HOLDS


def test_a_process_left_running_is_unclean() -> None:
    answer = clean(seen(returned(1, names=("a",), leftovers=("process 12: sleep",))), FOLDER)
    assert answer.damage is Damage.UNCLEAN


def test_what_recovery_always_leaves_behind_is_told_once_on_the_undamaged_tree() -> None:
    usual = reference(0, returned(1, leftovers=("process 7: daemon",)), 1, names=frozenset({"a"}))
    assert clean(seen(returned(1, names=("a",), leftovers=("process 12: daemon",))), usual).verdict is Verdict.HOLDS
    assert [objection.step for objection in undamaged_leftovers(usual)] == [1]


def test_names_that_were_not_asked_for_are_unknown() -> None:
    assert clean(seen(1), COUNTER).verdict is Verdict.UNKNOWN


# finite


def test_a_nan_in_the_value_is_silent_damage() -> None:
    answer = finite(seen({"loss": math.nan}), COUNTER)
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.SILENT)
    assert "loss" in answer.message


def test_an_infinity_that_undamaged_trees_hold_is_told_on_them_alone() -> None:
    usual = reference(0, {"best": math.inf}, {"best": math.inf})
    assert finite(seen({"best": math.inf}), usual).verdict is Verdict.HOLDS
    assert undamaged_non_finite(usual)[0].step == 1


def test_an_acknowledged_nan_is_told() -> None:
    assert undamaged_non_finite(reference(0, 1, 1, acked=(math.nan,)))[0].step == 1


def test_a_nan_acknowledged_after_the_crash_is_a_violation() -> None:
    assert finite(seen(1, resumed=returned(2, acks=(math.nan,))), COUNTER).verdict is Verdict.VIOLATED
