"""Whatever a recovery does, it becomes an outcome, and the exploration goes on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.child.values import decode
from chaos.explore.settings import Isolation
from chaos.observations import Ending
from tests.explore import traces
from tests.explore.exploring import explore, folders_left, is_running, plainly, roles, start


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert folders_left() == []


@pytest.mark.parametrize(
    ("recover", "ending", "error_type", "detail"),
    [
        ("kill_itself", Ending.KILLED, "signal", 9),
        ("crash_in_c", Ending.KILLED, "signal", 11),
        ("leave_at_once", Ending.EXITED, "exit", 7),
        ("leave_quietly", Ending.EXITED, "exit", 0),
        ("exec_another", Ending.EXITED, "exit", 0),
        ("exit_politely", Ending.EXITED, "exit", 3),
        ("exit_with_words", Ending.EXITED, "exit", 1),
        ("eat_memory", Ending.MEMORY, "memory", 0),
        ("recurse", Ending.RAISED, "RecursionError", 0),
        ("raise_interrupt", Ending.RAISED, "KeyboardInterrupt", 0),
        ("raise_unprintable", Ending.RAISED, "targets._BrokenError", 0),
        ("return_unencodable", Ending.RAISED, "chaos.child.values.Unencodable", 0),
        ("return_too_much", Ending.RAISED, "chaos.child.values.Unencodable", 0),
        ("print_and_fail", Ending.RAISED, "ValueError", 0),
    ],
)
def test_a_recovery_that_fails_is_an_outcome(recover: str, ending: Ending, error_type: str, detail: int) -> None:
    outcome = start(recover)
    assert (outcome.ending, outcome.error_type, outcome.detail) == (ending, error_type, detail)
    assert outcome.value == ""


@pytest.mark.parametrize("recover", ["hang", "spin", "stop_itself", "ignore_signals_and_hang", "print_without_end"])
def test_a_recovery_that_does_not_end_is_killed_at_its_deadline(recover: str) -> None:
    outcome = start(recover, deadline_s=0.1)
    assert (outcome.ending, outcome.error_type) == (Ending.HUNG, "deadline")
    assert len(outcome.output) <= 4000


def test_shared_memory_counts_as_memory() -> None:
    assert start("eat_shared_memory", memory_bytes=64 << 20).ending is Ending.MEMORY


def test_a_file_without_end_is_cut_short() -> None:
    outcome = start("write_without_end", file_bytes=8 << 20)
    assert (outcome.ending, outcome.error_type) == (Ending.RAISED, "OSError")


def test_a_long_message_is_bounded() -> None:
    assert len(start("raise_at_length").error) < 2100


def test_an_exception_says_where_and_shows_no_frame_of_the_harness() -> None:
    outcome = start("print_and_fail")
    assert [frame.function for frame in outcome.frames] == ["print_and_fail"]
    assert outcome.frames[0].file.endswith("targets.py")
    assert outcome.error == "told"


def test_what_a_recovery_prints_is_kept_and_not_mixed_into_ours(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = start("print_and_fail")
    assert outcome.output == "to standard output\nto standard error, {disk}\n"
    assert capfd.readouterr() == ("", "")


def test_the_folder_s_own_name_shows_in_no_outcome() -> None:
    value = decode(start("tell_the_path").value)
    assert (str(value["path"]), value["text"]) == ("{disk}/state.json", "in {disk}")
    assert "'{disk}/missing'" in start("fail_with_the_path").error


# In a batch stays what a recovery does to its own process, so some are tried in forks alone.
HARMFUL = [
    *((Isolation.FORK, name) for name in ("close_everything", "shrink_everything", "change_everything")),
    *(
        (isolation, name)
        for isolation in (Isolation.FORK, Isolation.BATCH)
        for name in ("leave_threads", "fork_and_return_twice", "remove_the_folder", "forbid_the_folder")
    ),
]


@pytest.mark.parametrize(("isolation", "recover"), HARMFUL)
def test_a_recovery_that_also_does_harm_gives_its_value_and_spoils_no_other_state(
    isolation: Isolation, recover: str
) -> None:
    trace = traces.replace()
    expected = [(o.outcome.ending, o.outcome.value) for o in explore(roles("count"), trace)]
    found = [(o.outcome.ending, o.outcome.value) for o in explore(roles(recover), trace, isolation=isolation)]
    assert found == expected


def test_a_link_in_the_folder_s_place_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").write_text("precious")
    monkeypatch.setenv("CHAOS_TEST_PRECIOUS", str(tmp_path))
    explore(roles("link_the_folder_elsewhere"), traces.replace())
    assert os.listdir(tmp_path) == ["precious"]


@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.BATCH])
def test_a_daemon_that_a_recovery_forked_away_is_killed(isolation: Isolation) -> None:
    for observation in explore(roles("fork_away"), traces.replace(1), isolation=isolation):
        assert observation.outcome.ending is Ending.RETURNED
        assert not is_running(int(observation.outcome.value))


def test_a_value_of_some_megabytes_arrives() -> None:
    for observation in explore(roles("return_much"), traces.replace(1)):
        assert len(observation.outcome.value) == (5 << 20) + 2


@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.BATCH])
def test_exploration_goes_on_after_each_kind_of_death(isolation: Isolation) -> None:
    found = explore(roles("die_sometimes"), isolation=isolation)
    assert {o.outcome.ending for o in found} == {Ending.RETURNED, Ending.RAISED, Ending.KILLED, Ending.EXITED}
    assert plainly(found) == plainly(explore(roles("die_sometimes")))


def test_a_recovery_that_kills_its_parent_is_reported_and_the_others_are_done() -> None:
    trace = traces.replace(3)
    found = explore(roles("kill_its_parent"), trace)
    usual = explore(roles("count"), trace)
    lost = [o for o in found if o.outcome.ending is Ending.KILLED]
    assert [o.state for o in found] == [o.state for o in usual]
    assert [o.state for o in lost] == [o.state for o in usual if o.outcome.value == "1"]
    assert all("took the process that watches over it down" in o.outcome.error for o in lost)


def test_memory_of_one_state_does_not_reach_the_next_in_forks() -> None:
    assert {o.outcome.value for o in explore(roles("remember"))} == {"1"}


def test_memory_of_one_state_reaches_the_next_in_a_batch() -> None:
    assert len({o.outcome.value for o in explore(roles("remember"), isolation=Isolation.BATCH)}) > 1
