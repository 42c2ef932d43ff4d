"""The fixture `no_leaks` at work: what a test still holds when it is over, and did not hold when it began.

Processes, descriptors, locks, threads, and temporary files: while the test runs, its temporary files go to a folder
of their own, so that nobody else's are counted; the folder's name in a process's environment also tells which
processes the test started, though their parents are gone. Nothing is ended or removed on the test's behalf but that
folder. Read `guards.py` for the fixture.
"""

import gc
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import final

import psutil
import pytest

from chaos.child.leftovers import process_name

__all__ = ["watched"]

_GRACE_S = 1.0  # what was told to end may take a moment to be gone
_MOMENT_S = 0.005
# Started once a process by multiprocessing itself, and ended by it: nobody's leak.
_INFRASTRUCTURE = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What this process holds."""

    processes: frozenset[int]
    descriptors: frozenset[tuple[int, str]]
    locks: frozenset[tuple[str, int]]
    threads: frozenset[threading.Thread]


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Fail the test when it leaves something behind.

    Args:
        folder: an empty folder of this test's own, for its temporary files.
    """
    __tracebackhide__ = True
    before = _held(folder)
    with _temporary_files_in(folder):
        yield
        left = _left(before, folder)
        give_up = monotonic() + _GRACE_S
        while left and monotonic() < give_up:
            sleep(_MOMENT_S)
            left = _left(before, folder)
    shutil.rmtree(folder, ignore_errors=True)
    if left:
        pytest.fail("no_leaks: the test left behind:\n" + "\n".join(f"  {line}" for line in left), pytrace=False)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    kept, kept_default = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = kept_default
        if kept is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = kept


def _left(before: _Held, folder: Path) -> list[str]:
    gc.collect()  # what only a cycle of garbage holds is nobody's any more
    now = _held(folder)
    lines = [f"process {pid}: {process_name(pid)}" for pid in sorted(now.processes - before.processes)]
    lines += [f"descriptor {number} open on {what}" for number, what in sorted(now.descriptors - before.descriptors)]
    lines += [f"lock on {_path_of(inode)} ({kind})" for kind, inode in sorted(now.locks - before.locks)]
    lines += [
        f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}" for thread in now.threads - before.threads
    ]
    return lines + [f"temporary {_kind(path)} {path.name}" for path in sorted(folder.iterdir())]


def _held(folder: Path) -> _Held:
    return _Held(
        processes=frozenset(_processes(folder)),
        descriptors=frozenset(_descriptors()),
        locks=frozenset(_locks()),
        threads=frozenset(threading.enumerate()),
    )


def _processes(folder: Path) -> Iterator[int]:
    """Descendants, and whoever has the test's folder in its environment; an ended one that nobody waited for too."""
    own = psutil.Process()
    found = {child.pid for child in own.children(recursive=True)}
    mark = f"TMPDIR={folder}".encode()
    for process in psutil.process_iter():
        if process.pid not in found and process.pid != own.pid and mark in _environment(process.pid):
            found.add(process.pid)
    return (pid for pid in found if not any(word in process_name(pid) for word in _INFRASTRUCTURE))


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return []


def _descriptors() -> Iterator[tuple[int, str]]:
    tracker = _tracker_pipe()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
        if int(name) != tracker:
            yield int(name), target


def _tracker_pipe() -> int | None:
    """The descriptor by which multiprocessing talks to its resource tracker, once there is one."""
    import sys  # noqa: PLC0415 - looked at, never imported

    module = sys.modules.get("multiprocessing.resource_tracker")
    number = getattr(getattr(module, "_resource_tracker", None), "_fd", None)
    return number if isinstance(number, int) else None


def _locks() -> Iterator[tuple[str, int]]:
    """Kind and inode of each file lock of this process."""
    with open("/proc/locks", encoding="ascii") as file:
        for line in file:
            fields = line.split()  # 1: POSIX ADVISORY WRITE 4711 00:1a:5678 0 EOF; waiters have "->" in front
            if "->" not in fields and fields[4] == str(os.getpid()):
                yield fields[1], int(fields[5].rpartition(":")[2])


def _path_of(inode: int) -> str:
    for number, target in _descriptors():
        if os.fstat(number).st_ino == inode:
            return target
    return f"inode {inode}"


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    return (
        "folder"
        if stat.S_ISDIR(mode)
        else "file"
        if stat.S_ISREG(mode)
        else "socket"
        if stat.S_ISSOCK(mode)
        else "name"
    )
