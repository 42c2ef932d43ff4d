"""The oracles over living processes: each with its canary, its sound twin, and what it can't tell."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.child import values
from chaos.errors import UsageError
from chaos.history import Answer, LiveRun, Operation, Said, operations_of
from chaos.observations import Damage, Ending, Outcome, Verdict
from chaos.oracles.answer import holds, violated
from chaos.oracles.exclusive import Intrusion, exclusive
from chaos.oracles.jury import Jury
from chaos.oracles.linearizable.models import COUNTER
from chaos.oracles.live import LIVE_ORACLES, LiveOracle, Terms, choose_live
from chaos.oracles.live_canaries import LIVE_CANARIES, prove_live
from chaos.oracles.lost_update import Miscount, lost_update
from tests.oracles.making import raised, returned

FINE = (returned(None), returned(None))


def said(*statements: tuple[int, str, Any]) -> tuple[Said, ...]:
    return tuple(
        Said(position, process, kind + values.encode(value))
        for position, (process, kind, value) in enumerate(statements)
    )


def run(*statements: tuple[int, str, Any], outcomes: tuple[Outcome, ...] = FINE, **more: Any) -> LiveRun:
    return LiveRun(said=said(*statements), outcomes=outcomes, **more)


def judge(name: str, live: LiveRun, terms: Terms | None = None) -> tuple[Verdict, str]:
    answer = LIVE_ORACLES[name].judge(live, terms or Terms())
    return answer.verdict, answer.message


def test_every_live_oracle_has_a_canary_and_no_canary_is_without_oracle() -> None:
    assert set(LIVE_CANARIES) == set(LIVE_ORACLES)


@pytest.mark.parametrize("name", LIVE_ORACLES)
def test_a_live_oracle_catches_its_canary_and_passes_the_sound_twin(name: str) -> None:
    assert prove_live(name) == ""


@pytest.mark.parametrize("name", LIVE_ORACLES)
def test_a_live_oracle_that_always_agrees_or_always_objects_or_fails_is_not_trusted(name: str) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("no")

    agreeing = {name: LiveOracle(asserts="", judge=lambda *_: holds())}
    objecting = {name: LiveOracle(asserts="", judge=lambda *_: violated(LIVE_CANARIES[name].damage, "no"))}
    assert "does not catch its canary" in prove_live(name, agreeing)
    assert "objects to the sound twin" in prove_live(name, objecting)
    assert "RuntimeError" in prove_live(name, {name: LiveOracle(asserts="", judge=fails)})


def test_two_sections_do_not_exclude_each_other() -> None:
    apart = said((0, "+", "a"), (1, "+", "b"), (0, "-", "a"), (1, "-", "b"))
    assert exclusive(apart) is None


def test_a_section_entered_twice_by_one_worker_is_left_twice() -> None:
    again = said((0, "+", "a"), (0, "+", "a"), (0, "-", "a"), (1, "+", "a"))
    assert exclusive(again) == Intrusion("a", inside=0, entered=1, position=3)


def test_who_ends_inside_has_left() -> None:
    assert exclusive([*said((0, "+", "a")), Said(1, 0, "x"), *said((1, "+", "a"))]) is None


def test_leaving_what_was_never_entered_means_nothing() -> None:
    assert exclusive(said((0, "-", "a"), (1, "-", 5), (0, "+", "a"))) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("+-x")), max_size=12))
def test_exclusive_says_what_counting_those_inside_says(moves: list[tuple[int, str]]) -> None:
    inside = dict.fromkeys(range(3), 0)
    expected = None
    for position, (process, kind) in enumerate(moves):
        if kind == "+":
            if expected is None and any(count for other, count in inside.items() if other != process):
                expected = position
            inside[process] += 1
        elif kind == "-":
            inside[process] = max(0, inside[process] - 1)
        else:
            inside[process] = 0
    found = exclusive(Said(n, who, kind if kind == "x" else kind + '"s"') for n, (who, kind) in enumerate(moves))
    assert (None if found is None else found.position) == expected


def add(amount: int = 1, answer: Answer = Answer.OK, result: Any = None, key: Any = None) -> Operation:
    return Operation(
        process=0, name="add", argument=amount, called=0, returned=1, answer=answer, result=result, key=key
    )


@pytest.mark.parametrize(
    ("history", "final", "told"),
    [
        ([add(), add(2)], 3, ""),
        ([add(), add()], 1, "2 acknowledged updates make it 2"),
        ([add(), add()], 3, "2 acknowledged updates make it 2"),
        ([add(), add(answer=Answer.UNKNOWN)], 1, ""),
        ([add(), add(answer=Answer.UNKNOWN)], 2, ""),
        ([add(), add(answer=Answer.UNKNOWN)], 3, "1 acknowledged updates make it 1 to 2"),
        ([add(), add(answer=Answer.FAIL)], 1, ""),
        ([add(5), add(-2, Answer.UNKNOWN)], 2, "make it 3 to 5"),
        ([add(result=1), add(result=1)], 2, "2 updates were answered with the same new value 1"),
        ([add(result=1), add(result=2)], None, ""),
        ([add(2, result=2), add(-1, result=1), add(result=2)], 2, ""),
        ([add(key="a"), add(key="b")], {"a": 1}, "(key 'b')"),
        ([add(key="a"), add(key="b")], {"a": 1, "b": 1}, ""),
    ],
)
def test_a_lost_update_is_told_by_the_sum_or_by_two_equal_answers(
    history: list[Operation], final: Any, told: str
) -> None:
    found = lost_update(history, final)
    assert (found is None) == (told == "")
    assert found is None or told in found.words


def test_too_much_is_no_lost_acknowledgement_but_silent_damage() -> None:
    assert lost_update([add(), add()], 1) == Miscount(
        "it is 1 in the end, and 2 acknowledged updates make it 2", Damage.LOST
    )
    assert lost_update([add(), add()], 3) == Miscount(
        "it is 3 in the end, and 2 acknowledged updates make it 2: some count more than once", Damage.SILENT
    )


def test_a_first_value_counts() -> None:
    assert lost_update([add()], 6, initial=5) is None
    assert lost_update([add(key="a")], {"a": 2}, initial={"a": 5})


CALL, ANSWER = (0, "(", [1, "add", 1, None]), (0, ")", [1, None])


def test_without_anything_to_judge_an_oracle_does_not_pass() -> None:
    silent = run()
    for name in ("exclusive", "no_lost_update", "check"):
        assert judge(name, silent)[0] is Verdict.UNKNOWN, name
    assert judge("linearizable", silent, Terms(model=COUNTER))[0] is Verdict.UNKNOWN
    assert judge("linearizable", run(CALL, ANSWER))[0] is Verdict.UNKNOWN
    assert judge("no_lost_update", run(CALL, ANSWER))[0] is Verdict.UNKNOWN


def test_what_a_run_that_did_not_end_left_is_not_held_against_it() -> None:
    stopped = (returned(None), Outcome(ending=Ending.KILLED, detail=9))
    assert judge("check", run(outcomes=stopped, check=raised()))[0] is Verdict.UNKNOWN
    assert judge("no_lost_update", run(CALL, ANSWER, outcomes=stopped, check=returned(0)))[0] is Verdict.UNKNOWN
    assert judge("no_lost_update", run(CALL, ANSWER, check=returned(0)))[0] is Verdict.VIOLATED


def test_why_there_was_nothing_to_hold_against_it_is_told() -> None:
    dead = (returned(None), Outcome(ending=Ending.RAISED, error_type="KeyError", error="'n'"))
    for name in ("check", "no_lost_update"):
        assert "worker 1 raised KeyError" in judge(name, run(CALL, outcomes=dead, check=returned(0)))[1], name


def test_threads_and_processes_of_a_worker_are_not_called_workers() -> None:
    inside = run((1, "+", ""), (4, "+", ""), racers=2)
    assert judge("exclusive", inside)[1] == "worker 0's child 2 came into the critical section while worker 1 was there"
    stuck = run(racers=1, waiting=tuple((number, "flock(a)") for number in range(6)))
    assert judge("terminates", stuck)[1] == (
        "deadlock: worker 0 in flock(a), worker 0's child 1 in flock(a), worker 0's child 2 in flock(a), "
        "worker 0's child 3 in flock(a), 2 more"
    )


def test_a_number_that_a_command_printed_counts_as_one() -> None:
    assert judge("no_lost_update", run(CALL, ANSWER, check=returned("1\n")))[0] is Verdict.HOLDS


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"waiting": ((0, "flock(a)"), (1, "flock(b)"))}, "deadlock: worker 0 in flock(a), worker 1 in flock(b)"),
        ({"cut": "still under way after 9 calls"}, "still under way after 9 calls"),
        ({"outcomes": (returned(None), Outcome(ending=Ending.HUNG))}, "worker 1 was still running"),
    ],
)
def test_what_never_ends_is_told_as_it_is(more: dict[str, Any], words: str) -> None:
    verdict, message = judge("terminates", run(**more))
    assert (verdict, words in message) == (Verdict.VIOLATED, True)


def test_a_hanging_worker_is_one_oracle_s_affair() -> None:
    assert judge("returns", run(outcomes=(returned(None), Outcome(ending=Ending.HUNG))))[0] is Verdict.HOLDS


def test_calls_and_answers_become_a_history_and_what_was_not_answered_is_unknown() -> None:
    history = operations_of(said((0, "(", [1, "add", 2, "k"]), (1, "(", [1, "read", None, None]), (0, ")", [1, 7])))
    assert [(one.name, one.argument, one.key, one.result, one.answer) for one in history] == [
        ("add", 2, "k", 7, Answer.OK),
        ("read", None, None, None, Answer.UNKNOWN),
    ]
    assert (history[0].called, history[0].returned, history[1].returned) == (0, 2, None)


def test_an_answer_to_a_call_that_another_thread_made_is_passed_over() -> None:
    (one,) = operations_of(said((0, "(", [1, "add", 1, None]), (2, ")", [1, None])))
    assert one.answer is Answer.UNKNOWN


def test_the_jury_keeps_the_most_telling_objection_and_counts_all() -> None:
    jury = Jury(("exclusive", "returns", "terminates"), Terms())
    both = run((0, "+", "a"), (1, "+", "a"), outcomes=(raised(), returned(None)))
    found = jury.judge(both)
    assert found is not None
    assert (found.oracle, found.damage, found.cause, found.position) == ("exclusive", Damage.SILENT, "a", 1)
    assert jury.judge(run()) is None
    verdicts = {one.oracle: one for one in jury.verdicts()}
    assert (verdicts["returns"].violated, verdicts["returns"].held) == (1, 1)
    assert verdicts["returns"].verdict is Verdict.VIOLATED
    assert verdicts["terminates"].verdict is Verdict.HOLDS


def test_an_oracle_that_fails_is_a_fault_and_never_a_pass() -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("no")

    jury = Jury(("check",), Terms(), table={"check": LiveOracle(asserts="", judge=fails)})
    assert jury.judge(run()) is None
    (verdict,) = jury.verdicts()
    assert verdict.verdict is Verdict.UNKNOWN
    assert "RuntimeError: no" in verdict.fault


def test_the_usual_oracles_and_those_for_what_is_given() -> None:
    assert choose_live(None, checked=False, modelled=False) == ("exclusive", "terminates", "returns")
    assert set(choose_live(None, checked=True, modelled=True)) >= {"check", "linearizable"}
    assert choose_live(["returns"], checked=True, modelled=False) == ("check", "returns")


@pytest.mark.parametrize(
    ("names", "words"),
    [(["exclusiv"], "unknown oracle"), (["check"], "no check is given"), (["linearizable"], "but no model")],
)
def test_an_oracle_without_what_it_needs_is_wrong_usage(names: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_live(names, checked=False, modelled=False)
