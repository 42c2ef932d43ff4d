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

from chaos.child.pinning import pin
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
from chaos.child.pinning import pin
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
ready, first = pin([]), waits()
done = pin([(ctypes.addressof(ctypes.c_char.from_buffer(memory)), len(memory))])
print(int(ready), int(done), first, waits())
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
    assert pin([(0, PAGE)] * 1025) is False


def test_memory_that_is_not_there_is_refused() -> None:
    assert pin([(PAGE, PAGE)]) is False


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
