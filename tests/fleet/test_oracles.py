"""The oracles over fleets: each catches its canary and passes the twin, and says unknown where it can't tell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.child import values
from chaos.child.chronicle import HARNESS, Chronicle
from chaos.errors import UsageError
from chaos.fleet.judging import aftermath_of, timeline
from chaos.fleet.plan import Plan
from chaos.fleet.settings import Course, Crewman
from chaos.history import Said
from chaos.observations import Bounds, Damage, Ending, Outcome, Verdict
from chaos.oracles.answer import Answer, holds
from chaos.oracles.fleets import FLEET_CANARIES, FLEET_ORACLES, Aftermath, choose_fleet, prove_fleet
from chaos.oracles.jury import Jury
from chaos.oracles.linearizable import model_named
from chaos.oracles.live import LiveOracle, Terms
from chaos.scenario.kinds import FLEET_ORACLES as NAMES

TERMS = Terms(model=model_named("counter"))


def made(
    said: Sequence[tuple[int, str]] = (), value: object = None, *, before: object = None, **more: object
) -> Aftermath:
    statements = [Said(position, process, text) for position, (process, text) in enumerate(said)]
    outcome = Outcome(ending=Ending.RETURNED, value=values.encode(value))
    initial = None if before is None else Outcome(ending=Ending.RETURNED, value=values.encode(before))
    return replace(Aftermath(said=lambda: statements, recovery=outcome, initial=initial), **more)  # type: ignore[arg-type]


def ask(name: str, aftermath: Aftermath) -> Answer:
    return FLEET_ORACLES[name].judge(aftermath, TERMS)


def acks(*given: object) -> list[tuple[int, str]]:
    return [(0, "a" + values.encode(one)) for one in given]


@pytest.mark.parametrize("name", FLEET_ORACLES)
def test_each_oracle_catches_its_canary_and_passes_the_twin(name: str) -> None:
    assert prove_fleet(name) == ""


@pytest.mark.parametrize("name", FLEET_ORACLES)
def test_an_oracle_that_never_objects_is_not_trusted(name: str) -> None:
    blind = {name: LiveOracle(asserts="nothing", judge=lambda seen, terms: holds())}
    assert "does not catch its canary" in prove_fleet(name, blind)


def test_each_oracle_has_a_canary_and_a_name_in_scenarios() -> None:
    assert set(FLEET_ORACLES) == set(FLEET_CANARIES) == set(NAMES)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ([1, "two", [3]], Verdict.HOLDS),
        ({"two": [3], "x": 1}, Verdict.HOLDS),
        ({1: "two", 5: [3]}, Verdict.HOLDS),
        ([1, "two"], Verdict.VIOLATED),
        ([], Verdict.VIOLATED),
        (3, Verdict.UNKNOWN),
        ("1 two [3]", Verdict.UNKNOWN),
    ],
)
def test_acknowledged_values_are_looked_for_at_any_depth(value: object, verdict: Verdict) -> None:
    assert ask("durable", made(acks(1, "two", [3]), value)).verdict is verdict


def test_the_first_missing_value_says_where_to_look() -> None:
    answer = ask("durable", made(acks(1, 2, 3), [1]))
    assert (answer.damage, answer.position) == (Damage.LOST, 1)
    assert "2 of 3 acknowledged values are gone: 2, 3" in answer.message


@pytest.mark.parametrize("name", ["durable", "no_lost_update"])
def test_without_acknowledgements_nothing_can_be_told(name: str) -> None:
    assert ask(name, made((), [1])).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("name", ["durable", "no_lost_update"])
def test_without_a_value_nothing_can_be_told(name: str) -> None:
    broken = made(acks(1), [1], recovery=Outcome(ending=Ending.HUNG))
    assert ask(name, broken).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("value", "interrupted", "verdict"),
    [
        (9, 0, Verdict.VIOLATED),
        (10, 0, Verdict.HOLDS),
        (11, 0, Verdict.VIOLATED),
        (11, 1, Verdict.HOLDS),
        (12, 1, Verdict.VIOLATED),
    ],
)
def test_a_number_grows_by_what_was_acknowledged_and_one_more_for_each_ended_life(
    value: int, interrupted: int, verdict: Verdict
) -> None:
    said = acks(*range(5))
    assert ask("no_lost_update", made(said, value, before=5, interrupted=interrupted)).verdict is verdict


def call(process: int, number: int, amount: int, *, answered: str = ")") -> list[tuple[int, str]]:
    said = [(process, "(" + values.encode([number, "add", amount, None]))]
    return said + ([(process, answered + values.encode([number, None]))] if answered else [])


@pytest.mark.parametrize(("value", "verdict"), [(2, Verdict.VIOLATED), (3, Verdict.HOLDS), (7, Verdict.HOLDS)])
def test_a_call_without_an_answer_may_count_or_not(value: int, verdict: Verdict) -> None:
    said = call(0, 1, 1) + call(1, 1, 2) + call(2, 1, 4, answered="")
    assert ask("no_lost_update", made(said, value)).verdict is verdict


def test_a_call_that_failed_does_not_count() -> None:
    said = call(0, 1, 1) + call(1, 1, 2, answered="/")
    assert ask("no_lost_update", made(said, 1)).verdict is Verdict.HOLDS
    assert ask("no_lost_update", made(said, 3)).verdict is Verdict.VIOLATED


def test_in_a_list_each_acknowledged_value_stands_as_often_as_it_was_acknowledged() -> None:
    twice = ask("no_lost_update", made(acks("a", "b"), ["a", "b", "b", "c", "c"]))
    assert (twice.verdict, twice.damage, twice.position) == (Verdict.VIOLATED, Damage.SILENT, 1)
    once = ask("no_lost_update", made(acks("a", "a"), ["a"]))
    assert (once.verdict, once.damage) == (Verdict.VIOLATED, Damage.LOST)


def test_a_life_that_ended_in_a_section_has_left_it() -> None:
    said = [(0, '+"s"'), (0, "x"), (1, '+"s"'), (1, '-"s"')]
    assert ask("exclusive", made(said)).verdict is Verdict.HOLDS
    assert ask("exclusive", made([said[0], *said[2:]])).verdict is Verdict.VIOLATED


def test_a_worker_that_can_not_start_is_told_from_one_that_hangs() -> None:
    assert ask("terminates", made(stuck={1: "ended with exit code 1"})).damage is Damage.CANNOT_START
    assert ask("terminates", made(stuck={1: ""})).damage is Damage.STUCK
    assert "worker 1 (ended with exit code 1)" in ask("terminates", made(stuck={1: "ended with exit code 1"})).message


def test_files_that_nobody_knows_of_are_no_verdict() -> None:
    assert ask("clean", made(left=None)).verdict is Verdict.UNKNOWN
    assert ask("clean", made(left=None, strays=("sleep",))).verdict is Verdict.VIOLATED


def test_bounds_that_nobody_gave_are_no_verdict() -> None:
    assert ask("bounded", made()).verdict is Verdict.UNKNOWN
    assert ask("bounded", made(sizes={"a": 6, "b": 5}, bounds=Bounds(disk_bytes=10))).verdict is Verdict.VIOLATED
    long = ask("bounded", made(sizes={"a": 6, "b": 5}, bounds=Bounds(file_bytes=5)))
    assert long.message == "a has 6 bytes in the end, and 5 are allowed"
    slow = made(recovery=Outcome(ending=Ending.RETURNED, value="1", duration_s=2.0), bounds=Bounds(recovery_s=1.0))
    assert ask("bounded", slow).damage is Damage.EXCESS


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, ("finite", "terminates")),
        ({"recovers": True}, ("durable", "recovers", "finite", "terminates")),
        ({"recovers": True, "checked": True}, ("recovers", "check", "finite", "terminates")),
        ({"modelled": True, "bounded": True}, ("linearizable", "finite", "terminates", "bounded")),
        ({"names": ["exclusive"], "checked": True, "recovers": True}, ("exclusive", "check")),
    ],
)
def test_what_is_given_decides_who_judges(given: dict[str, object], chosen: tuple[str, ...]) -> None:
    settings = {"names": None, "recovers": False, "checked": False, "modelled": False, **given}
    assert choose_fleet(**settings) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["exlusive"], "unknown oracle 'exlusive'"),
        (["durable"], "no recover"),
        (["check"], "no check"),
        (["linearizable"], "no model"),
    ],
)
def test_an_oracle_without_what_it_needs_is_refused(names: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_fleet(names, recovers=False, checked=False, modelled=False)


def test_an_oracles_own_crash_is_never_a_pass() -> None:
    def crash(seen: object, terms: Terms) -> Answer:
        raise ZeroDivisionError

    jury = Jury(("durable",), Terms(), table={"durable": LiveOracle(asserts="", judge=crash)})
    assert jury.judge(made()) is None
    (verdict,) = jury.verdicts()
    assert verdict.verdict is Verdict.UNKNOWN
    assert "ZeroDivisionError" in verdict.fault


def course(**settings: object) -> Course:
    crew = (Crewman(lives=3, killed=2), Crewman(lives=2, killed=1, returned=True))
    fixed = {"plan": Plan(workers=2, strikes=()), "fired": 1, "crew": crew, "chronicle": ""}
    return Course(**{**fixed, **settings})  # type: ignore[arg-type]


def test_each_life_that_did_not_return_may_have_done_one_thing_more() -> None:
    assert aftermath_of(course(), Bounds()).interrupted == 4


def test_files_of_an_undisturbed_run_are_no_leftovers_whatever_their_numbers() -> None:
    hurt, calm = course(sizes={"a.1": 1, "b.22": 1, "c": 1}), course(sizes={"a.77": 1, "b.3": 1})
    assert aftermath_of(hurt, Bounds(), calm=calm).left == ("c",)
    assert aftermath_of(hurt, Bounds()).left is None


def test_the_timeline_shows_what_was_said_around_a_position(tmp_path: Path) -> None:
    path = f"{tmp_path}/chronicle"
    with open(path, "wb"):
        pass
    pens = [Chronicle(path, 0, 0), Chronicle(path, 1, 2), Chronicle(path, HARNESS, 0)]
    for number in range(20):
        pens[0].append(f"a{number}")
    pens[2].append('*{"what":"kill","workers":[1]}')
    pens[1].append('([1,"add",1,null]')
    for number in range(20, 40):
        pens[1].append(f"a{number}")
    with open(path, "rb") as file:
        position = file.read().index(b"0 0 a15")
    lines = timeline(path, position)
    assert "       0.0  acknowledges 15   <- this one" in lines
    assert "    ------  kill worker 1" in lines
    assert "       1.2  call 1: add(1)" in lines
    assert len(lines) <= 19
    assert timeline(path, None)[-1] == "       1.2  acknowledges 39"
