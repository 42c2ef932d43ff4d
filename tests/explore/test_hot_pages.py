"""What children write is found, and copied at once by later forks; nothing else about a recovery changes."""

import ctypes
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.child.pinning import pin, take
from chaos.child.target import PythonTarget
from chaos.child.values import decode
from chaos.disk import StateSpace
from chaos.explore.hot_pages import ranges, written
from chaos.observations import Ending
from tests.explore import traces
from tests.explore.exploring import KILL, explore, roles

ROOT = Path(__file__).parents[2]
PAGE = mmap.PAGESIZE
PAGES = 64
ENDINGS = {1: Ending.KILLED, 2: Ending.EXITED, 3: Ending.RAISED}
# A process pins for good, so it is done in a fresh one. It says whether it could, and how often its children had to
# wait for the copy of a page, before and after.
COUNTED = f"""
import ctypes, mmap, os, resource
from chaos.child.pinning import can_pin, pin
memory = mmap.mmap(-1, {PAGES * PAGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def touch():
    for start in range(0, len(memory), {PAGE}):
        memory[start] = (memory[start] + 1) % 256
def waits():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    child = os.fork()
    if not child:
        touch()
        os._exit(0)
    os.waitpid(child, 0)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before
touch()
waits()
ready, first = can_pin(), waits()
done = 0 <= pin([(ctypes.addressof(ctypes.c_char.from_buffer(memory)), len(memory))])
print(int(ready), int(done), first, waits())
"""

# An exploration whose every process is killed when it calls `io_uring_setup`, as a service manager's filter does it.
SANDBOXED = """
import ctypes, struct
from chaos.child.pinning import can_pin
from tests.explore import traces
from tests.explore.exploring import explore, roles
load_number, killing = (0x20, 0, 0, 0), (0x06, 0, 0, 0x80000000)
program = [load_number, (0x15, 0, 1, 425), killing, (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert not ctypes.CDLL(None).prctl(22, 2, struct.pack("HP", len(program), ctypes.addressof(code)))
print(can_pin(), {observation.outcome.ending for observation in explore(roles("load"), traces.replace(40))})
"""


# Recoveries by a forker of this process, up to the first that is looked at; its child is then no longer listed.
UNLISTED = """
import os, sys
from socket import socketpair
from chaos.child.actors import spec_of
from chaos.child.adoption import adopt_descendants
from chaos.explore.stages import ForkerLost, RemoteStage
from chaos.explore.watching import Limits
from tests.explore.exploring import target
def listed(*_):
    {listed}
adopt_descendants()
parts = dict.fromkeys(("check", "work")) | {{"recover": spec_of(target("load")), "acks": [], "leftovers": False}}
link, theirs = socketpair()
stage = RemoteStage({{**parts, "folder": sys.argv[1], "limits": Limits(60.0, 1 << 30, 1 << 30)}}, link.fileno())
for _ in range(29):
    stage.recover(0)
os.pread = listed
try:
    print(stage.recover(0).code)
except ForkerLost:
    print("ForkerLost")
sys.stdout.flush()
os._exit(0)
"""


def _pinning() -> tuple[bool, bool, int, int]:
    said = subprocess.run([sys.executable, "-c", COUNTED], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    ready, done, before, after = map(int, said.split())
    return bool(ready), bool(done), before, after


@contextmanager
def _child(act: Callable[[], object]) -> Iterator[int]:
    """A fork of this process that has acted, and stands still."""
    (told, tell), (wait, let_go) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        act()
        os.write(tell, b"!")
        os.close(let_go)
        os.read(wait, 1)
        os._exit(0)
    os.read(told, 1)
    try:
        yield child
    finally:
        for descriptor in (told, tell, wait, let_go):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_pages_that_the_child_or_its_parent_wrote_are_told() -> None:
    memory = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: -2 * PAGE] = b"x" * (len(memory) - 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def write(*pages: int) -> None:
        for page in pages:
            memory[page * PAGE] = 7

    with _child(lambda: write(3, 4, PAGES - 1)) as child:
        write(9)
        found = {(page - start) // PAGE for page in written(child, os.getpid()) if 0 <= page - start < len(memory)}
    assert found == {3, 4, 9}  # the last one the parent has not, so there is nothing to copy


def test_of_a_process_that_is_gone_nothing_is_told() -> None:
    with _child(lambda: None) as child:
        pass
    assert written(child, os.getpid()) == frozenset()


def test_neighbours_make_one_range() -> None:
    assert ranges({5 * PAGE, 3 * PAGE, 4 * PAGE, 9 * PAGE}) == [(3 * PAGE, 3 * PAGE), (9 * PAGE, PAGE)]
    assert ranges(()) == []


def test_a_fork_copies_pinned_pages_at_once() -> None:
    ready, done, before, after = _pinning()
    if not ready:
        pytest.skip("io_uring may not be used here")
    assert done
    assert before - after > PAGES // 2


def test_too_many_ranges_are_refused() -> None:
    assert pin([(0, PAGE)] * 1025) == -1


def test_memory_that_is_not_there_is_refused() -> None:
    before = os.listdir("/proc/self/fd")
    assert pin([(PAGE, PAGE)]) == -1
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_recoveries_are_forked_with_the_pages_that_they_write() -> None:
    if not _pinning()[0]:
        pytest.skip("io_uring may not be used here")
    found = explore(roles("tell_how_often_memory_was_copied"), traces.replace(40))
    waits = [decode(observation.outcome.value) for observation in found]
    assert max(waits[-20:]) < 0.75 * min(waits[:5])


def test_what_is_looked_at_ends_as_it_would_have() -> None:
    trace = traces.replace(40)
    space = StateSpace(trace, KILL)
    for observation in explore(roles("end_badly_in_many_ways"), trace):
        number = json.loads(space.tree(observation.state).data(traces.STATE))["count"]
        assert observation.outcome.ending is ENDINGS.get(number % 5, Ending.RETURNED)


def test_a_process_with_a_vast_address_space_is_not_looked_at() -> None:
    with mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), _child(lambda: None) as child:
        assert written(child, os.getpid()) == frozenset()
    with _child(lambda: None) as child:
        assert written(child, os.getpid())


def test_pinned_pages_are_nothing_that_a_recovery_could_see() -> None:
    found = explore(roles("tell_surroundings"), traces.replace(40))
    assert len(found) > 80
    assert {observation.outcome.value for observation in found} == {found[0].outcome.value}


def test_a_module_of_the_target_that_is_named_ctypes_is_left_alone(tmp_path: Path) -> None:
    told = tmp_path / "imported"
    (tmp_path / "ctypes.py").write_text(f"open({str(told)!r}, 'w').close()\nraise SystemExit(3)\n")
    (tmp_path / "own.py").write_text("def recover(disk):\n    return (disk / 'state.json').read_bytes()[:1].hex()\n")
    own = PythonTarget(ref="own:recover", search=(str(tmp_path),))
    found = explore(roles(own), traces.replace(40))
    assert {observation.outcome.ending for observation in found} == {Ending.RETURNED}
    assert not told.exists()


def test_the_pages_stay_pinned_while_somebody_has_the_descriptor() -> None:
    told, tell = os.pipe()
    with _child(lambda: os.dup2(tell, 77)) as child:
        mine = take(child, 77)
    assert os.fstat(mine) == os.fstat(tell)
    for descriptor in (told, tell, mine):
        os.close(descriptor)
    assert take(os.getpid(), 1 << 20) == -1
    assert take(child, 1) == -1


def test_a_sandbox_that_kills_who_asks_kills_no_recovery() -> None:
    said = subprocess.run([sys.executable, "-c", SANDBOXED], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout == "False {<Ending.RETURNED: 'returned'>}\n"


@pytest.mark.parametrize(("listed", "came"), [("raise ProcessLookupError", "ForkerLost"), ("return b''", "0")])
def test_a_child_that_is_listed_no_more_when_it_is_looked_at_is_no_fault_of_ours(
    tmp_path: Path, listed: str, came: str
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / traces.STATE).write_bytes(traces.text(1))
    program = [sys.executable, "-c", UNLISTED.format(listed=listed), str(tmp_path)]
    said = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == (f"{came}\n", "")
