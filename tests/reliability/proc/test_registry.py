"""Clean-up of stale processes: what is left over ends, and nothing else is ever touched."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.durability import identity_of, is_alive, own_identity
from pytest_guardrails.reliability.processes import (
    Heartbeat,
    ProcessHandle,
    ProcessRegistry,
    Registration,
    stop_process,
)
from pytest_guardrails.reliability.processes.registry import judge
from pytest_guardrails.reliability.state import BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog
from tests.reliability.clocks import MovedClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "s.json", backend="json", settings=BackendSettings(durability="process")) as found:
        yield found


class Left:
    """Processes registered by somebody who has died since, or so it looks."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.clock = MovedClock(time.monotonic())
        self.registry = ProcessRegistry(store, "program", clock=self.clock)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, code: str = "import time; time.sleep(300)") -> "subprocess.Popen[bytes]":
        first, rest = code.split(";", 1)
        ready = f"{first}; print('ready', flush=True); {rest}"
        process = self.keep(subprocess.Popen([sys.executable, "-c", ready], stdout=subprocess.PIPE))
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def keep(self, process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
        self.started.append(process)
        return process

    def orphan(self, process: subprocess.Popen[bytes], *, heartbeat: str = "", age_s: float = 60.0) -> Registration:
        """Register it as if its parent had died, `age_s` seconds ago."""
        made = self.registry.register(process.pid, heartbeat=heartbeat)
        key = f"process/program/{made.process.pid}-{made.process.started}-{made.process.boot}"
        plain = self.store.get(key)
        self.store.put(
            key, {**plain, "parent": {**plain["parent"], "started": "1"}, "since_s": plain["since_s"] - age_s}
        )
        return made

    def clean(self) -> list[tuple[str, str]]:
        return [(done.standing, done.outcome) for done in self.registry.cleanup_stale_processes(stop_s=0.2)]


@pytest.fixture
def left(store: StateStore) -> Iterator[Left]:
    found = Left(store)
    yield found
    for process in found.started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_what_a_dead_program_left_behind_is_ended(left: Left) -> None:
    process = left.start()
    left.orphan(process)
    assert left.clean() == [("stale", "ended")]
    assert process.wait(10.0) == -signal.SIGTERM
    assert left.registry.registrations() == ()


def test_what_a_clean_up_did_is_told_and_what_it_left_alone_is_not(left: Left) -> None:
    left.orphan(left.start())
    young = left.orphan(left.start(), age_s=5.0)
    assert sorted(left.clean()) == [("stale", "ended"), ("young", "left alone")]
    (event,) = EventLog(left.store)
    assert (event.kind, event.detail["outcome"]) == ("process.cleaned_up", "ended")
    assert [one.process for one in left.registry.registrations()] == [young.process]


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored, 16) >> (number - 1) & 1)


@pytest.mark.slow
def test_what_does_not_listen_is_killed(left: Left) -> None:
    process = left.start("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)")
    deadline = time.monotonic() + 20.0
    while not _ignores(process.pid, signal.SIGTERM):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    left.orphan(process)
    assert left.clean() == [("stale", "killed")]
    assert process.wait(10.0) == -signal.SIGKILL


def test_a_process_whose_parent_lives_is_left_alone(left: Left) -> None:
    process = left.start()
    left.registry.register(process.pid)
    left.clock.monotonic_s += 1e6
    assert left.clean() == [("parented", "left alone")]
    assert process.poll() is None


def test_a_young_sibling_is_left_alone(left: Left) -> None:
    process = left.start()
    left.orphan(process, age_s=1.0)
    assert left.clean() == [("young", "left alone")]
    assert process.poll() is None


def test_one_that_still_makes_progress_is_left_alone(left: Left) -> None:
    process = left.start()
    made = left.orphan(process, heartbeat="loop")
    Heartbeat(left.store, "loop", clock=left.clock).beat()
    plain = left.store.get("heartbeat/loop")
    left.store.put("heartbeat/loop", {**plain, "process": made.process.plain()})
    assert left.clean() == [("beating", "left alone")]
    left.clock.monotonic_s += 31.0
    assert left.clean() == [("stale", "ended")]


def test_a_beat_of_another_process_protects_nobody(left: Left) -> None:
    left.orphan(left.start(), heartbeat="loop")
    Heartbeat(left.store, "loop", clock=left.clock).beat()
    assert left.clean() == [("stale", "ended")]


def test_an_editor_that_has_the_programs_file_open_is_not_even_looked_at(left: Left) -> None:
    editor = left.start("program = 'vim program.py'; import time; time.sleep(300)")
    assert left.clean() == []
    assert editor.poll() is None


def test_a_reused_number_is_forgotten_and_not_signalled(left: Left) -> None:
    process = left.start()
    made = left.orphan(process)
    key = f"process/program/{made.process.pid}-{made.process.started}-{made.process.boot}"
    plain = left.store.get(key)
    left.store.put(key, {**plain, "process": {**plain["process"], "started": "1"}})
    assert left.clean() == [("gone", "forgotten")]
    assert process.poll() is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start another user's process")
def test_another_users_process_is_left_alone(left: Left) -> None:
    process = left.keep(subprocess.Popen(["sleep", "300"], user=65534))
    left.orphan(process)
    assert left.clean() == [("foreign", "left alone")]
    assert process.poll() is None


def test_another_programs_processes_are_not_even_looked_at(left: Left) -> None:
    left.orphan(left.start())
    other = ProcessRegistry(left.store, "other", clock=left.clock)
    assert other.cleanup_stale_processes() == ()


def test_the_program_that_asks_is_left_alone(left: Left) -> None:
    left.registry.register()
    left.clock.monotonic_s += 1e6
    assert left.clean() == [("own", "left alone")]
    left.registry.unregister()
    assert left.registry.registrations() == ()


def test_registering_what_does_not_run_is_refused(left: Left) -> None:
    process = left.start()
    process.kill()
    process.wait()
    with pytest.raises(ConfigurationError, match="no process"):
        left.registry.register(process.pid)


FACTS = itertools.product(
    (True, False), (True, False, None), (True, False), (True, False, None), (5.0, 60.0, None), (True, False)
)


@pytest.mark.parametrize("facts", list(FACTS))
def test_only_what_is_surely_left_over_is_stale(
    facts: tuple[bool, bool | None, bool, bool | None, float | None, bool],
) -> None:
    is_own, alive, same_user, parent_alive, age_s, beats = facts
    standing = judge(
        is_own=is_own,
        alive=alive,
        same_user=same_user,
        parent_alive=parent_alive,
        age_s=age_s,
        beats=beats,
        grace_s=30.0,
    )
    assert (standing == "stale") == (facts == (False, True, True, False, 60.0, False))


def test_a_handle_refuses_a_process_that_is_another_one() -> None:
    with pytest.raises(ProcessLookupError):
        ProcessHandle(own_identity()._replace(started="1"))


def test_a_handle_waits_for_the_end_of_a_process_that_is_no_child(left: Left) -> None:
    process = left.start()
    with ProcessHandle(identity_of(process.pid)) as handle:
        assert not handle.wait_end(0.01)
        assert stop_process(handle, 5.0)
        assert handle.wait_end(5.0)
    process.wait()
    assert is_alive(identity_of(process.pid)) is not True


def test_a_registration_of_a_later_version_is_refused_before_anything_is_ended(left: Left) -> None:
    made = left.orphan(left.start())
    (key,) = left.store.keys("process/")
    left.store.put(key, {**left.store.get(key), "format": 2})
    with pytest.raises(NewerFormatError, match="update"):
        left.clean()
    assert is_alive(made.process)
