"""What a finished run still holds: open descriptors, locks, child processes. Standard library, Linux.

Asked of the process itself, right after the target's function returned; what outlives the process is seen by
whoever forked it. Lines name things, never numbers that differ from run to run. Read `isolated.py` next.
"""

import os
from collections.abc import Iterator

__all__ = ["held_by_this_process", "process_name"]


def held_by_this_process(folder: str) -> list[str]:
    """One line for each descriptor open under `folder`, each lock held, and each child process; sorted."""
    found = [f"descriptor open on {path}" for path in _open_under(folder)]
    found += [f"lock held on {path}" for path in _locked()]
    found += [f"process still running: {process_name(pid)}" for pid in _children()]
    return sorted(found)


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
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True
