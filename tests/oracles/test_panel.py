"""The panel: one violation a cause, verdicts of the whole run, and an oracle's own crash."""

from dataclasses import replace

import pytest

from chaos.errors import UsageError
from chaos.observations import Damage, Observation, Reference, Verdict
from chaos.oracles import CANARIES, DEFAULT_ORACLES, ORACLES, Panel, choose, judge, judge_reference, prove
from chaos.oracles.answer import Answer, holds, unknown, violated
from tests.oracles.making import raised, reference, returned, seen

COUNTER = reference(0, 1, 2, 2)


def test_a_lost_acknowledgement_is_reported_once_by_the_most_telling_oracle() -> None:
    (violation,) = judge(seen(0), COUNTER, ("atomic", "durable"))
    assert (violation.oracle, violation.damage) == ("durable", Damage.LOST)


def test_the_worse_damage_is_reported_whichever_oracle_comes_first() -> None:
    folder = reference(0, 1, 1, names=frozenset({"a"}))
    failed_once = raised(names=("a", "a.tmp"))
    (violation,) = judge(seen(failed_once, again=returned(1)), folder, ("recovers", "clean"))
    assert (violation.oracle, violation.damage) == ("clean", Damage.UNCLEAN)


def test_each_default_oracle_alone_would_report_it_too() -> None:
    (violation,) = judge(seen(0), COUNTER, ("atomic",))
    assert violation.damage is Damage.LOST


def test_an_oracle_whose_objection_is_shown_elsewhere_does_not_hold() -> None:
    panel = Panel(COUNTER, ("atomic", "durable"))
    panel.judge(seen(0))
    assert {one.oracle: one.verdict for one in panel.verdicts()} == dict.fromkeys(
        ("atomic", "durable"), Verdict.VIOLATED
    )


def test_an_oracle_that_judged_a_state_and_objected_to_none_holds() -> None:
    panel = Panel(COUNTER, ("recovers", "atomic"))
    panel.judge(seen(1))
    assert [one.verdict for one in panel.verdicts()] == [Verdict.HOLDS, Verdict.HOLDS]


def test_an_oracle_that_judged_nothing_does_not_hold() -> None:
    (verdict,) = Panel(COUNTER, ("atomic",)).verdicts()
    assert (verdict.verdict, verdict.reason) == (Verdict.UNKNOWN, "no crash state was judged")


def test_an_unknown_verdict_names_its_reason() -> None:
    panel = Panel(reference(0, 1, 1, writers=2), ("atomic",))
    panel.judge(seen(1))
    (verdict,) = panel.verdicts()
    assert verdict.verdict is Verdict.UNKNOWN
    assert "2 processes" in verdict.reason


def test_an_oracles_own_crash_is_unknown_and_a_fault_never_a_pass() -> None:
    def crashes_at_odd(observation: Observation, _: Reference) -> Answer:
        if observation.point % 2:
            raise KeyError("oops")
        return holds()

    table = {"recovers": replace(ORACLES["recovers"], judge=crashes_at_odd)}
    panel = Panel(COUNTER, ("recovers",), table=table)
    panel.judge(seen(1, point=2))
    panel.judge(seen(1, point=3))
    (verdict,) = panel.verdicts()
    assert verdict.verdict is Verdict.UNKNOWN
    assert "KeyError: 'oops'" in verdict.fault


def test_self_healed_damage_is_told_and_holds() -> None:
    panel = Panel(COUNTER, ("recovers",))
    (violation,) = panel.judge(seen(raised(), again=returned(1)))
    assert violation.damage is Damage.SELF_HEALED
    assert panel.verdicts()[0].verdict is Verdict.HOLDS


def test_a_target_that_fails_undamaged_is_one_violation_and_its_crash_states_none() -> None:
    broken = reference(0, raised("KeyError"), 2, 2)
    panel = Panel(broken, ("recovers", "atomic", "durable"), operations=9)
    (violation,) = panel.judge_reference()
    assert (violation.oracle, violation.state, violation.point) == ("recovers", "", 2)
    assert not panel.judge(seen(raised("KeyError"), acked=1))
    assert panel.verdicts()[0].verdict is Verdict.VIOLATED


def test_an_objection_to_the_last_tree_stands_at_the_end_of_the_trace() -> None:
    (violation,) = judge_reference(reference(0, 1, raised()), ("recovers",), operations=9)
    assert violation.point == 9
    assert "at the end" in violation.message


def test_files_with_numbers_that_are_not_finite_are_told_once_a_content() -> None:
    panel = Panel(COUNTER, ("finite",))
    files = {"a.json": b'{"x": NaN}', "b.json": b'{"x": 1.5}'}
    (violation,) = panel.judge_files(files, state="", point=3)
    assert violation.message == "a file holds a number that is not finite: a.json: $.x = nan"
    assert not panel.judge_files(files, state="", point=4)
    assert panel.verdicts()[0].verdict is Verdict.VIOLATED


def test_files_are_not_scanned_when_finite_is_not_asked_for() -> None:
    assert not Panel(COUNTER, ("atomic",)).judge_files({"a.json": b'{"x": NaN}'}, state="", point=3)


def test_a_file_scan_that_crashes_is_a_fault_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(*_: object) -> tuple[str, ...]:
        raise KeyError("oops")

    monkeypatch.setattr("chaos.oracles.finite.non_finite_places", crashes)
    panel = Panel(COUNTER, ("finite",))
    panel.judge(seen(1))
    assert not panel.judge_files({"a.json": b"{}"}, state="", point=3)
    assert panel.verdicts()[0].verdict is Verdict.UNKNOWN
    assert "oops" in panel.verdicts()[0].fault


# Which oracles


def test_by_default_a_check_takes_the_place_of_atomic() -> None:
    assert set(choose(None, checked=False)) == set(DEFAULT_ORACLES)
    assert set(choose(None, checked=True)) == {"recovers", "durable", "finite", "check"}


def test_a_way_to_go_on_turns_resumable_on() -> None:
    assert "resumable" in choose(None, checked=False, resumes=True)


def test_an_unknown_oracle_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="durable"):
        choose(["durabel"], checked=False)


def test_check_without_a_check_is_refused() -> None:
    with pytest.raises(UsageError, match="no check is given"):
        choose(["check"], checked=False)


def test_a_given_check_is_never_passed_over() -> None:
    assert choose(["clean"], checked=True) == ("check", "clean")


# Canaries


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_each_oracle_catches_its_canary_and_passes_the_sound_twin(name: str) -> None:
    assert prove(name) == ""


def test_no_canary_without_an_oracle() -> None:
    assert set(CANARIES) == set(ORACLES)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_an_oracle_that_always_holds_does_not_pass_its_canary(name: str) -> None:
    table = {name: replace(ORACLES[name], judge=lambda *_: holds())}
    assert "does not catch" in prove(name, table)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_an_oracle_that_always_objects_does_not_pass_the_sound_twin(name: str) -> None:
    damage = CANARIES[name].damage
    table = {name: replace(ORACLES[name], judge=lambda *_: violated(damage, "no"))}
    assert "objects to the sound twin" in prove(name, table)


def test_an_oracle_that_never_knows_is_not_trusted() -> None:
    table = {"atomic": replace(ORACLES["atomic"], judge=lambda *_: unknown("?"))}
    assert prove("atomic", table)
