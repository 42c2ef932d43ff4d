"""Limits, clocks and disks: what a worker meets while a fault lasts, and that it is gone afterwards."""

import datetime
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.child import clocks, namespaces
from chaos.child.target import PythonTarget
from chaos.child.values import decode
from chaos.child.witness import Witness
from chaos.errors import NotMeasured, UsageError
from chaos.fleet import Fault, FaultKind, FleetSettings
from tests.fleet.running import STEP_S, Ran, ran


def possible(what: Callable[[], object]) -> bool:
    """Whether the system allows something, tried in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            what()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def shift() -> None:
    with namespaces.shifted_clocks(10.0):
        pass


LASTS_S = 1.0  # long enough for a worker to meet it on a busy machine
AFTER_S = 0.5
MOUNTS, TIME_NAMESPACES = possible(namespaces.private_mounts), possible(shift)
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="mount namespaces are forbidden here")


def watching(probe: Callable[[Path], Any]) -> Callable[[Path, Witness], None]:
    """A worker that acknowledges what it sees, again and again."""

    def worker(disk: Path, witness: Witness) -> None:
        while True:
            witness(probe(disk))
            time.sleep(STEP_S)

    return worker


def until_faults_come_and_go(probe: Callable[[Path], str]) -> Callable[[Path, Witness], None]:
    """Likewise, until it has met the fault, and then nothing of it any more."""

    def worker(disk: Path, witness: Witness) -> None:
        found = ["fine"]
        while found[-1] == "fine" or len(set(found)) == 1:
            found.append(probe(disk))
            witness(found[-1])
            time.sleep(STEP_S)
        while found[-1] != "fine":
            found.append(probe(disk))
            witness(found[-1])
            time.sleep(STEP_S)

    return worker


def seen(done: Ran) -> list[Any]:
    return [decode(text[1:]) for _, _, text in done.statements if text[:1] == "a"]


def once(kind: FaultKind, **settings: Any) -> Fault:
    return Fault(kind=kind, statements=5, count=1, lasts_s=LASTS_S, **settings)


def attempt(what: Callable[[], object]) -> str:
    try:
        what()
    except (OSError, MemoryError, sqlite3.Error) as error:
        return type(error).__name__
    return "fine"


def assert_hurt_and_healed(done: Ran, hurt: str) -> None:
    found = seen(done)
    assert set(found) == {"fine", hurt}
    assert found[0] == found[-1] == "fine"
    assert all(one.returned for one in done.course.crew)


def test_memory_beyond_the_limit_is_refused_while_it_lasts() -> None:
    probe = until_faults_come_and_go(lambda disk: attempt(lambda: bytes(64 << 20)))  # from the kernel, not touched
    assert_hurt_and_healed(ran(probe, once(FaultKind.MEMORY, amount=8 << 20), workers=1, finish_s=30.0), "MemoryError")


def test_files_beyond_the_limit_are_refused_while_it_lasts() -> None:
    def open_many() -> None:
        opened: list[int] = []
        try:
            for _ in range(60):
                opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - those opened until it fails count
        finally:
            for one in opened:
                os.close(one)

    probe = until_faults_come_and_go(lambda disk: attempt(open_many))
    assert_hurt_and_healed(ran(probe, once(FaultKind.DESCRIPTORS, amount=40), workers=1, finish_s=30.0), "OSError")


def files_allowed() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_limit_counts_for_later_lives_too() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while witness.life < 2:
            witness(files_allowed())
            time.sleep(STEP_S)
        witness(files_allowed())

    limit = Fault(kind=FaultKind.DESCRIPTORS, statements=5, count=1, amount=77)
    done = ran(worker, limit, Fault(kind=FaultKind.KILL, statements=20, count=2), workers=1)
    lives: dict[int, list[int]] = {}
    for _, life, text in done.statements:
        if text[:1] == "a":
            lives.setdefault(life, []).append(int(text[1:]))
    assert lives[0][0] != 77
    assert set(lives[1]) == set(lives[2]) == {77}


def test_a_limit_without_an_end_is_lifted_with_the_healing() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while files_allowed() != 77:
            witness("free")
            time.sleep(STEP_S)
        while files_allowed() == 77:
            witness("limited")
            time.sleep(STEP_S)
        witness("free again")

    limit = Fault(kind=FaultKind.DESCRIPTORS, statements=5, count=1, amount=77)
    done = ran(worker, limit, workers=1, duration_s=2.0, finish_s=30.0)
    assert done.course.crew[0].returned
    assert done.of(0, "a")[-1] == 'a"free again"'


@pytest.mark.slow
def test_processor_time_beyond_the_limit_ends_a_life() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while witness.life == 0:
            witness("at work")
            sum(range(1000))

    fault = Fault(kind=FaultKind.CPU, statements=5, count=1, amount=1)
    done = ran(worker, fault, workers=1)
    assert done.course.crew[0].failed == 1
    assert "signal 24" in done.course.crew[0].last_failure


@needs_mounts
def test_a_full_disk_refuses_what_is_written_and_has_room_again_afterwards() -> None:
    def fill(disk: Path) -> str:
        def write() -> None:
            with open(disk / "log", "ab", buffering=0) as file:
                file.write(bytes(4096))

        return attempt(write)

    fault = once(FaultKind.DISK_FULL)
    done = ran(until_faults_come_and_go(fill), fault, workers=1, disk_bytes=256 << 20, finish_s=30.0)
    assert_hurt_and_healed(done, "OSError")


@needs_mounts
def test_a_disk_of_their_own_is_as_large_as_was_said_and_is_gone_afterwards() -> None:
    def free(disk: Path) -> int:
        space = os.statvfs(disk)
        return space.f_blocks * space.f_frsize

    before = Path("/proc/self/mounts").read_text()
    fault = Fault(kind=FaultKind.KILL, statements=5, count=1)
    found = seen(ran(watching(free), fault, workers=1, disk_bytes=3 << 20))
    assert set(found) == {3 << 20}
    assert Path("/proc/self/mounts").read_text() == before


@needs_mounts
def test_recovery_sees_the_disk_that_the_workers_saw() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        (disk / "f").write_text("there")
        while True:
            witness("written")
            time.sleep(STEP_S)

    fault = Fault(kind=FaultKind.KILL, statements=1, count=1)
    done = ran(worker, fault, workers=1, disk_bytes=1 << 20, recover=lambda disk: (disk / "f").read_text())
    assert done.course.recovery is not None
    assert done.course.recovery.value == '"there"'
    assert done.course.sizes == {"f": 5}


def test_a_full_disk_needs_a_disk_of_its_own() -> None:
    with pytest.raises(UsageError, match="a disk of its own"):
        FleetSettings(faults=(once(FaultKind.DISK_FULL),))


def clock_probe(disk: Path) -> list[float]:
    return [time.time(), time.monotonic(), datetime.datetime.now().timestamp()]


def at_fault(done: Ran) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """What was seen before, during and after; at the borders it may be either."""
    marks = [number for number, (_, _, text) in enumerate(done.statements) if text[:1] == "*"]
    parts = []
    for start, end in ((0, marks[0]), (marks[0] + 1, marks[1]), (marks[1] + 1, len(done.statements))):
        parts.append([decode(text[1:]) for _, _, text in done.statements[start:end] if text[:1] == "a"])
    return parts[0], parts[1][1:-1], parts[2][len(parts[2]) // 2 :]


def test_a_wall_clock_that_jumps_is_seen_by_all_that_python_asks_and_comes_back() -> None:
    fault = once(FaultKind.CLOCK, shift_s=-7200.0)
    before, during, after = at_fault(ran(watching(clock_probe), fault, workers=1, finish_s=AFTER_S))
    for number in (0, 2):
        assert all(-7200 < one[number] - before[0][number] < -6000 for one in during)
        assert all(one[number] >= before[0][number] for one in after)
    steady = [one[1] for one in (*before, *during, *after)]
    assert steady == sorted(steady)


def test_a_steady_clock_that_jumps_leaves_the_wall_clock_alone() -> None:
    fault = once(FaultKind.CLOCK, clock="steady", shift_s=5000.0)
    before, during, after = at_fault(ran(watching(clock_probe), fault, workers=1, finish_s=AFTER_S))
    assert all(4999 < one[1] - before[0][1] < 6000 for one in during)
    wall = [one[0] for one in (*before, *during, *after)]
    assert wall == sorted(wall)


@pytest.mark.parametrize(("clock", "number"), [("wall", 0), ("steady", 1)])
def test_a_frozen_clock_stands_still(clock: Any, number: int) -> None:
    fault = once(FaultKind.CLOCK, clock=clock)
    before, during, after = at_fault(ran(watching(clock_probe), fault, workers=1, finish_s=AFTER_S))
    assert len(during) > 5
    assert len({one[number] for one in during}) == 1
    assert after[-1][number] > during[0][number] >= before[0][number]


def test_only_the_struck_workers_clock_is_set() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while True:
            witness([witness.number, time.time()])
            time.sleep(STEP_S)

    real = time.time()
    done = ran(worker, once(FaultKind.CLOCK, shift_s=1e6), workers=2)
    struck = done.course.plan.strikes[0].workers[0]
    ahead = {number for number, seen_s in seen(done) if seen_s > real + 5e5}
    assert ahead == {struck}


def test_a_module_that_imports_the_clock_by_name_gets_the_set_one(tmp_path: Path) -> None:
    (tmp_path / "late_clock.py").write_text(
        "import time as t\nfrom time import time\nfrom datetime import date, datetime\n"
        "def worker(disk, witness):\n"
        "    while True:\n"
        "        witness([time(), t.clock_gettime(t.CLOCK_REALTIME), t.localtime().tm_year, datetime.now().year,\n"
        "                 date.today().year, isinstance(datetime(2000, 1, 1), datetime), int(t.strftime('%Y'))])\n"
        "        t.sleep(0.0005)\n"
    )
    year = datetime.date.today().year
    fault = once(FaultKind.CLOCK, shift_s=20 * 366 * 86400.0)
    _, during, _ = at_fault(
        ran(PythonTarget(ref="late_clock:worker", search=(str(tmp_path),)), fault, workers=1, finish_s=AFTER_S)
    )
    assert during
    for wall, by_number, *years, is_one, printed in during:
        assert abs(wall - by_number) < 60
        assert {*years, printed} == {year + 20}
        assert is_one


def test_the_true_time_is_told_where_no_clock_is_set() -> None:
    with open(os.memfd_create("clocks"), "r+b") as file:
        os.ftruncate(file.fileno(), clocks.SLOT_BYTES * 2)
        shared = clocks.Clocks(file.fileno(), 2)
    shared.set(1, "wall", shift_ns=7)
    assert shared.seen(0, 123) == 123
    shared.worker = 1
    shared.set(0, "wall", frozen_ns=9)
    assert shared.seen(0, 123) == 130
    shared.set(1, "wall", frozen_ns=5)
    assert shared.seen(0, 123) == 5
    shared.set(1, "wall")
    assert shared.seen(0, 123) == 123


@pytest.mark.skipif(not TIME_NAMESPACES, reason="time namespaces are forbidden here")
def test_the_kernels_clocks_are_shifted_for_lives_that_begin_while_it_lasts() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while witness.life == 0:
            witness(float(Path("/proc/uptime").read_text().split()[0]))
            time.sleep(STEP_S)
        witness(float(Path("/proc/uptime").read_text().split()[0]))

    uptime = float(Path("/proc/uptime").read_text().split()[0])
    fault = Fault(kind=FaultKind.CLOCK, clock="kernel", shift_s=90_000.0, statements=5, count=1)
    done = ran(worker, fault, Fault(kind=FaultKind.KILL, statements=20, count=1), workers=1)
    lives = {life: float(text[1:]) for _, life, text in done.statements if text[:1] == "a"}
    assert lives[0] - uptime < 80_000
    assert 80_000 < lives[1] - uptime < 180_000


def test_clocks_that_can_not_be_shifted_are_told_as_not_measured() -> None:
    fault = Fault(kind=FaultKind.CLOCK, clock="kernel", shift_s=-1e12, statements=5, count=1)

    def worker(disk: Path, witness: Witness) -> None:
        while True:
            witness("here")
            time.sleep(STEP_S)

    with pytest.raises(NotMeasured, match="shifted clocks"):
        ran(worker, fault, Fault(kind=FaultKind.KILL, statements=20, count=1), workers=1)


def test_the_kernels_clocks_can_not_be_frozen() -> None:
    with pytest.raises(UsageError, match="not be frozen"):
        Fault(kind=FaultKind.CLOCK, clock="kernel", every_s=1.0)


@pytest.mark.skipif(not TIME_NAMESPACES, reason="time namespaces are forbidden here")
def test_a_time_namespace_shifts_the_steady_clocks_of_all_code_and_of_children_alone() -> None:
    reader, writer = os.pipe()

    def work() -> None:
        with namespaces.shifted_clocks(5000.0):
            pid = os.fork()
            if pid == 0:
                os.write(writer, Path("/proc/uptime").read_bytes())
                os._exit(0)
        os.waitpid(pid, 0)
        after = os.fork()
        if after == 0:
            os._exit(0 if abs(time.clock_gettime(time.CLOCK_BOOTTIME) - uptime) < 4000 else 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(after, 0)[1]))

    uptime = float(Path("/proc/uptime").read_text().split()[0])
    pid = os.fork()
    if pid == 0:
        work()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    shifted = float(os.read(reader, 100).split()[0])
    os.close(reader)
    os.close(writer)
    assert 4999 < shifted - uptime < 6000
