"""Whatever a racer does, an episode comes to an end and tells honestly what happened."""

import os
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from chaos.errors import UsageError
from chaos.observations import Ending
from chaos.oracles.exclusive import exclusive
from chaos.race.episode import Cast
from chaos.race.moves import Form, Sight
from chaos.race.policies import RandomWalk, Switches
from chaos.race.shrinking import switches_of
from chaos.race.stage import Played, Stage
from chaos.race.wording import move_words
from chaos.syscalls.listener import Listener
from tests.race.playing import episodes, players, runs, staged

IN_TURN = Switches({}, participants=2)
_NOBODY = 2**22 + 1  # above any process id that Linux gives out


def endings(played: Played) -> list[Ending]:
    return [outcome.ending for outcome in played.outcomes]


def test_racers_run_one_at_a_time_and_their_values_come_back() -> None:
    (played,) = episodes(1, "notes", "notes", "notes")
    assert [outcome.value for outcome in played.outcomes] == ["0", "1", "2"]
    assert {step.participant for step in played.episode.steps} == {0, 1, 2}


def test_an_episode_begins_with_the_files_of_the_set_up_and_with_no_others() -> None:
    with staged("notes", "add_one", setup="zero", check="is_counted") as stage:
        for _ in range(2):
            stage.play(IN_TURN)
            # Before the next one, the folder holds what this one left.
            assert sorted(os.listdir(stage.folder)) == ["counter", "notes"]
            assert len((Path(stage.folder) / "notes").read_text().split()) == 3


def test_a_racer_that_raises_is_told_with_its_error_and_place() -> None:
    (played,) = episodes(1, "raises", "notes")
    assert endings(played) == [Ending.RAISED, Ending.RETURNED]
    assert played.outcomes[0].error_type == "KeyError"
    assert played.outcomes[0].frames[0].function == "raises"


def test_a_racer_that_exits_at_once_does_not_hold_up_the_others() -> None:
    (played,) = episodes(1, "leaves", "notes")
    assert endings(played) == [Ending.EXITED, Ending.RETURNED]
    assert played.outcomes[0].detail == 7


def test_a_racer_that_is_killed_is_told_with_its_signal() -> None:
    (played,) = episodes(1, "killed", "notes")
    assert endings(played) == [Ending.KILLED, Ending.RETURNED]
    assert played.outcomes[0].detail == 9


def test_racers_without_any_call_on_the_folder_end_in_an_episode_without_steps() -> None:
    (played,) = episodes(1, "nothing", "nothing")
    assert endings(played) == [Ending.RETURNED, Ending.RETURNED]
    assert played.episode.steps == []


def test_a_racer_that_computes_without_end_is_cut_at_its_deadline() -> None:
    (played,) = episodes(1, "notes", "computes")
    assert "worker 1 computed for 1 s without any call on the folder" in played.episode.cut
    assert played.outcomes[1].ending is Ending.HUNG


@pytest.mark.slow
def test_who_waits_for_a_child_that_is_busy_for_longer_than_the_deadline_is_not_said_to_compute() -> None:
    (played,) = episodes(1, "waits_for_a_busy_child", "nothing")
    assert played.episode.cut == ""
    assert endings(played) == [Ending.RETURNED, Ending.RETURNED]


@pytest.mark.slow
def test_racers_of_whom_always_one_is_awake_out_of_sight_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    first_rests = [False]  # the second one when the first one does not; they are asked in this order

    def rests(_: Cast, number: int) -> bool:
        first_rests[0] ^= number == 0
        return first_rests[0] == (number == 0)

    monkeypatch.setattr(Cast, "_rests", rests)
    (played,) = episodes(1, "waits_at_once", "waits_at_once")
    assert "without any call on the folder" in played.episode.cut


def test_threads_that_only_threads_of_the_race_could_wake_are_not_waited_for_until_the_deadline() -> None:
    deadline_s = 30.0
    with Stage(replace(players("waits_outside", "nothing"), deadline_s=deadline_s)) as stage:
        began = monotonic()
        assert stage.play(IN_TURN).episode.waiting
        assert monotonic() - began < deadline_s


def test_a_racer_that_waits_for_what_nobody_brings_is_told_as_waiting() -> None:
    (played,) = episodes(1, "notes", "waits_outside")
    assert [(step.participant, move_words(step.move)) for step in played.episode.waiting] == [
        (1, "a call that is not watched")
    ]
    assert endings(played) == [Ending.RETURNED, Ending.HUNG]


def test_a_sleep_costs_no_real_time() -> None:
    (played,) = episodes(1, "sleeps_long", "sleeps_long")  # an hour each
    assert endings(played) == [Ending.RETURNED, Ending.RETURNED]


# "locked" has 300 episodes in `test_search.py`.
@pytest.mark.parametrize("lock", ["record_locked", "polls", "spins"])
def test_a_correct_lock_is_never_accused(lock: str) -> None:
    for played, run in zip(found := episodes(30, lock, lock, lock), runs(found), strict=True):
        assert exclusive(run.said) is None
        assert endings(played) == [Ending.RETURNED] * 3, (played.episode.cut, played.episode.waiting)


def test_who_polls_by_programs_that_sleep_sleeps_longer_and_longer_too() -> None:
    with staged("polls_by_programs", "takes_its_time") as stage:
        episode = stage.play(RandomWalk("0")).episode
    assert 5 < [step.move.form for step in episode.steps].count(Form.SLEEP) < 40  # of 200 calls of the other one


def test_a_loop_that_polls_for_ever_is_cut_after_so_many_calls() -> None:
    with staged("polls_for_ever", "notes", steps=200) as stage:
        played = stage.play(RandomWalk("0"))
    assert played.episode.cut.startswith("still under way after 200 calls, many of them sleeps")
    assert endings(played) == [Ending.HUNG, Ending.RETURNED]


@pytest.mark.parametrize(("racer", "call"), [("crosswise", "flock"), ("crosswise_records", "fcntl")])
def test_a_deadlock_is_found_and_names_who_waits(racer: str, call: str) -> None:
    stuck = [played for played in episodes(40, racer, racer) if played.episode.waiting]
    assert stuck, "in no order of 40 did the two wait for each other"
    waiting = stuck[0].episode.waiting
    assert [(step.participant, step.move.call) for step in waiting] == [(0, call), (1, call)]
    assert {step.move.path for step in waiting} == {"a", "b"}


def test_who_waits_for_a_lock_goes_on_as_soon_as_it_is_free() -> None:
    """Racer 1 is let go whenever it can once racer 0 has the lock, and racer 0 has calls to make after its release."""
    with staged("holds_and_goes_on", "holds_and_goes_on") as stage:
        calls = [step.move.call for step in stage.play(IN_TURN).episode.steps]
        switches = dict.fromkeys(range(calls.index("flock") + 1, 40), 1)
        steps = stage.play(Switches(switches, participants=2)).episode.steps
    order = [(step.participant, step.move.call) for step in steps]
    locked = [number for number, step in enumerate(order) if step[1] == "flock"]
    assert [order[number][0] for number in locked] == [0, 0, 1, 1]
    assert locked[2] == locked[1] + 1


@pytest.mark.parametrize("racer", ["slow_thread", "slow_child"])
def test_nobody_goes_on_while_a_thread_or_a_child_still_computes(racer: str) -> None:
    with staged(racer, "notes") as stage:
        first = stage.play(IN_TURN).episode.ready[0]
    assert first == (1, 2), "the thread or child of racer 0 was waited for"


def test_a_process_that_nobody_ever_saw_is_gone_with_its_episode() -> None:
    with staged("forgets_child", "nothing") as stage:
        pid = int(stage.play(IN_TURN).outcomes[0].value)
        give_up = monotonic() + 10
        while _state_of(pid) != "Z":
            assert monotonic() < give_up
            sleep(0.001)


def _state_of(pid: int) -> str:
    try:
        return psutil.Process(pid).status().upper()[0]
    except psutil.NoSuchProcess:
        return "Z"


def test_a_racer_that_is_gone_before_it_is_looked_at_has_ended() -> None:
    reading, writing = os.pipe()
    listener = Listener(reading)
    try:
        cast = Cast(listener, {}, Sight("/"), [_NOBODY], deadline_s=1.0)
        assert cast.play(IN_TURN, most_steps=10).ends == [(0, 0)]
    finally:
        listener.close()
        os.close(writing)


def test_processes_and_threads_of_a_racer_take_part_under_numbers_of_their_own() -> None:
    (played,) = episodes(1, "forks", "threaded")
    moved = {step.move.path: step.participant for step in played.episode.steps}
    assert moved["child"] == 2, "the first child of racer 0 of two"
    assert (moved["main"], moved["thread"]) == (1, 3)
    assert played.outcomes[0].value == "0"


def test_a_process_left_behind_does_not_reach_into_the_next_episode() -> None:
    with staged("abandons", "nothing", steps=100) as stage:
        assert "abandoned" in {step.move.path for step in stage.play(IN_TURN).episode.steps}
        (Path(stage.folder) / "abandoned").unlink(missing_ok=True)
        stage.play(IN_TURN)
        (Path(stage.folder) / "abandoned").unlink(missing_ok=True)
        assert os.listdir(stage.folder) == []


def test_a_racer_that_closes_all_its_descriptors_is_still_heard() -> None:
    (played,) = episodes(1, "closes_all", "closes_all")
    assert [one.text for one in runs([played])[0].said if one.text[0] == "a"] == ["a1", "a1"]


def test_a_worker_that_dies_inside_leaves_the_section_by_that() -> None:
    for run in runs(episodes(10, "dies_inside", "locked")):
        assert exclusive(run.said) is None


def test_the_check_sees_the_folder_and_the_values_and_its_objection_comes_back() -> None:
    (played,) = episodes(1, "add_one_locked", "add_one_locked", setup="zero", check="counted")
    assert played.check is not None
    assert played.check.value == "2"
    (failed,) = episodes(1, "nothing", "nothing", check="fails")
    assert failed.check is not None
    assert (failed.check.ending, failed.check.error) == (Ending.RAISED, "not today")


def test_a_check_that_ends_its_process_is_an_outcome_and_the_next_episode_is_played() -> None:
    first, second = episodes(2, "nothing", "notes", check="hangs_up")
    assert first.check is not None
    assert (first.check.ending, first.check.detail) == (Ending.EXITED, 3)
    assert second.outcomes[1].ending is Ending.RETURNED


@pytest.mark.parametrize(
    ("names", "setup", "words"),
    [
        (("absent", "notes"), "", "has no attribute 'absent'"),
        (("notes", "notes"), "fails", "setup raised: not today"),
        (("notes", "notes"), "hangs_up", "setup exited"),
    ],
)
def test_what_can_not_begin_is_wrong_usage(names: tuple[str, ...], setup: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Stage(players(*names, setup=setup))


def test_source_lines_change_nothing_and_say_where_each_step_stands() -> None:
    with staged("entering", "notes") as stage:
        plain = stage.play(RandomWalk("7"))
        told = stage.play(Switches(switches_of(plain.episode), participants=2), sources=True)
    assert [(one.participant, one.move) for one in told.episode.steps] == [
        (one.participant, one.move) for one in plain.episode.steps
    ]
    assert {frame.function for step in told.episode.steps for frame in step.source} >= {"entering", "notes"}
    assert all(step.source for step in told.episode.steps)
