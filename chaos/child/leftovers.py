"""What a finished run still holds: open descriptors, locks, child processes. Standard library, Linux.

Asked of the process itself, right after the target's function returned; what outlives the process is seen by
whoever forked it. Lines name things, never numbers that differ from run to run. Read `isolated.py` next.
"""

import os
from collections.abc import Callable, Iterator
from time import monotonic as _monotonic  # kept, both: a target may patch the clock
from time import sleep as _sleep

__all__ = ["GRACE_S", "held_by_this_process", "process_name", "still_running"]

GRACE_S = 0.1  # a process that ends within this is no leftover
_PATIENCE_S = 5.0
_MOMENT_S = 0.001
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def held_by_this_process(folder: str) -> list[str]:
    """One line for each descriptor open under `folder`, each lock held, and each child process; sorted."""
    found = [f"descriptor open on {path}" for path in _open_under(folder)]
    found += [f"lock held on {path}" for path in _locked()]
    found += [f"process still running: {process_name(pid)}" for pid in still_running(_children, GRACE_S)]
    return sorted(found)


def still_running(look: Callable[[], list[int]], grace_s: float) -> list[int]:
    """Which processes do not end by themselves, on a busy machine too: who had no chance to run gets more time.

    Args:
        look: the processes that run now.
        grace_s: how long they may take, in seconds; who waited for a processor or a disk at its end is waited for.
    """
    began_s = _monotonic()
    while running := look():
        passed_s = _monotonic() - began_s
        if passed_s > grace_s and not (passed_s < _PATIENCE_S and any(_was_kept(pid, grace_s) for pid in running)):
            break
        _sleep(_MOMENT_S)
    return running


def process_name(pid: int) -> str:
    """The command line of a process, or its short name where it has none; "unknown" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(400).replace(b"\0", b" ").strip()
        with open(f"/proc/{pid}/comm", "rb") as file:
            return (words or file.read().strip()).decode("utf-8", "replace")
    except OSError:
        return "unknown"


def _descriptors() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the descriptor of the listing itself
        yield int(name), target


def _open_under(folder: str) -> list[str]:
    return [path for _, path in _descriptors() if path == folder or path.startswith(folder + "/")]


def _locked() -> list[str]:
    """Paths of files locked by this process, as far as one of its descriptors still leads to them."""
    mine = set()
    with open("/proc/locks", encoding="ascii") as file:
        for line in file:
            fields = line.split()  # 1: POSIX ADVISORY WRITE 4711 00:1a:5678 0 EOF; waiters have "->" in front
            if "->" not in fields and fields[4] == str(os.getpid()):
                mine.add(int(fields[5].rpartition(":")[2]))
    if not mine:
        return []
    return sorted({path for number, path in _descriptors() if path[:1] == "/" and os.fstat(number).st_ino in mine})


def _children() -> list[int]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += [int(pid) for pid in file.read().split()]
    return [pid for pid in found if not _is_finished(pid)]


def _is_finished(pid: int) -> bool:
    return _state(pid)[0] in ("Z", "X")


def _was_kept(pid: int, grace_s: float) -> bool:
    """Whether it would run, and has run for less than its grace."""
    state, used_s = _state(pid)
    return state in ("R", "D") and used_s < grace_s


def _state(pid: int) -> tuple[str, float]:
    """The letter of its state, "X" when it is gone, and the processor time that it used, in seconds."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "X", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) * _TICK_S
