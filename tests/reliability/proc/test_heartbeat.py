"""Heartbeats: progress is life, silence is not, and nobody's number is mistaken for another's."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import NewerFormatError
from pytest_guardrails.reliability.durability import own_identity
from pytest_guardrails.reliability.processes import Heartbeat, is_process_healthy, last_beat
from pytest_guardrails.reliability.state import BackendSettings, StateStore, open_store
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "s.json", backend="json", settings=BackendSettings(durability="process")) as found:
        yield found


def test_a_loop_that_makes_progress_is_healthy(store: StateStore, clock: MovedClock) -> None:
    Heartbeat(store, "loop", clock=clock).beat(7, "on the way")
    health = is_process_healthy(store, "loop", clock=clock)
    assert (health.healthy, health.reason, health.age_s) == (True, "", 0.0)
    assert health.beat is not None
    assert (health.beat.process, health.beat.progress, health.beat.note) == (own_identity(), 7, "on the way")


def test_silence_for_more_than_half_a_minute_is_not_healthy(store: StateStore, clock: MovedClock) -> None:
    Heartbeat(store, "loop", clock=clock).beat()
    clock.monotonic_s += 30.0
    assert is_process_healthy(store, "loop", clock=clock).healthy
    clock.monotonic_s += 0.1
    assert is_process_healthy(store, "loop", clock=clock).reason == "silent"


def test_beats_without_progress_are_no_sign_of_life(store: StateStore, clock: MovedClock) -> None:
    heart = Heartbeat(store, "loop", clock=clock)
    heart.beat(7)
    for _ in range(4):
        clock.monotonic_s += 10.0
        assert not heart.beat(7)
    assert not is_process_healthy(store, "loop", clock=clock).healthy
    assert heart.beat(8)
    assert is_process_healthy(store, "loop", clock=clock).healthy


def test_a_step_of_the_wall_clock_makes_nobody_old(store: StateStore, clock: MovedClock) -> None:
    Heartbeat(store, "loop", clock=clock).beat()
    clock.wall_s += 3600.0
    assert is_process_healthy(store, "loop", clock=clock).healthy


def test_beats_are_stored_at_most_once_an_interval(store: StateStore, clock: MovedClock) -> None:
    heart = Heartbeat(store, "loop", interval_s=1.0, clock=clock)
    assert [heart.beat() for _ in range(3)] == [True, False, False]
    clock.monotonic_s += 1.0
    assert heart.beat()
    beat = last_beat(store, "loop")
    assert beat is not None
    assert (beat.progress, beat.beats) == (4, 4)


def test_nobody_who_never_beat_or_has_stopped_is_healthy(store: StateStore) -> None:
    assert is_process_healthy(store, "loop").reason == "no beat"
    heart = Heartbeat(store, "loop")
    heart.beat()
    heart.stop()
    assert is_process_healthy(store, "loop").reason == "no beat"


def test_another_boot_and_another_host_can_not_be_judged(store: StateStore) -> None:
    Heartbeat(store, "loop").beat()
    plain = store.get("heartbeat/loop")
    store.put("heartbeat/loop", {**plain, "process": {**plain["process"], "host": "elsewhere"}})
    assert is_process_healthy(store, "loop").reason == "process unknown"
    store.put("heartbeat/loop", {**plain, "process": {**plain["process"], "boot": "before"}})
    assert is_process_healthy(store, "loop").reason == "process gone"


def test_a_reused_process_number_is_not_taken_for_the_process(store: StateStore) -> None:
    Heartbeat(store, "loop").beat()
    plain = store.get("heartbeat/loop")
    store.put("heartbeat/loop", {**plain, "process": {**plain["process"], "started": "1"}})
    assert is_process_healthy(store, "loop").reason == "process gone"


def test_a_time_from_the_future_is_not_healthy(store: StateStore, clock: MovedClock) -> None:
    Heartbeat(store, "loop", clock=clock).beat()
    clock.monotonic_s -= 100.0
    assert not is_process_healthy(store, "loop", clock=clock).healthy


def test_names_never_leave_their_place(store: StateStore) -> None:
    Heartbeat(store, "../../etc/passwd").beat()
    assert store.keys("heartbeat/") == ["heartbeat/%2E.%2F..%2Fetc%2Fpasswd"]


def beating(folder: Path) -> Callable[[Callable[[str], None]], None]:
    def work(say: Callable[[str], None]) -> None:
        store = open_store(folder / "s.json", backend="json", settings=BackendSettings(durability="process"))
        heart = Heartbeat(store, "loop", interval_s=0.0)
        while True:
            heart.beat()
            say("beat")
            time.sleep(0.01)

    return work


def test_a_paused_process_falls_silent_and_recovers_when_it_goes_on(tmp_path: Path, store: StateStore) -> None:
    child = Child(beating(tmp_path))
    child.line()
    os.kill(child.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20.0
    while is_process_healthy(store, "loop", max_age_s=0.5).healthy and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_process_healthy(store, "loop", max_age_s=0.5).reason == "silent"
    os.kill(child.pid, signal.SIGCONT)
    while not is_process_healthy(store, "loop", max_age_s=0.5).healthy and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_process_healthy(store, "loop", max_age_s=0.5).healthy
    child.kill()
    assert is_process_healthy(store, "loop", max_age_s=0.5).reason == "process gone"


def test_a_beat_of_a_later_version_is_refused_and_left_alone(store: StateStore, clock: MovedClock) -> None:
    heart = Heartbeat(store, "loop", clock=clock, interval_s=0.0)
    heart.beat()
    plain = {**store.get("heartbeat/loop"), "format": 2}
    store.put("heartbeat/loop", plain)
    with pytest.raises(NewerFormatError, match="update"):
        is_process_healthy(store, "loop", clock=clock)
    with pytest.raises(NewerFormatError, match="update"):
        heart.beat()
    assert store.get("heartbeat/loop") == plain
