"""`pytest-guardrails doctor`: what this machine offers to the stack, and what can't be guaranteed here.

Each finding is "ok", "note" (a limit to know of) or "problem" (mend it). Exit code 1 if there is a problem.
"""

import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from typing import final

from pytest_guardrails import __version__
from pytest_guardrails.cli.edge import print_json, print_table
from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.config import Config, load_config
from pytest_guardrails.reliability.breakers.hook_store import open_hooks
from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.durability.identity import boot_id

__all__ = ["examine"]

_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})
_VOLATILE = frozenset({"tmpfs", "ramfs"})


@final
class _Finding(Record):
    what: str
    verdict: str
    detail: str


def examine(config_file: str | None, *, as_json: bool) -> int:
    """Print what was found."""
    findings = [_python(), _sqlite(), _clock(), _pidfd(), *_of_configuration(config_file)]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("WHAT", "VERDICT", "DETAIL"), [(what, verdict, detail[:80]) for what, verdict, detail in findings])
        for finding in findings:
            if len(finding.detail) > 80:
                print(f"{finding.what}: {finding.detail}")  # noqa: T201 - what did not fit into its column
    return int(any(finding.verdict == "problem" for finding in findings))


def _python() -> _Finding:
    return _Finding("program", "ok", f"pytest-guardrails {__version__}, Python {sys.version.split()[0]}")


def _sqlite() -> _Finding:
    version = sqlite3.sqlite_version_info
    if (3, 7, 0) <= version <= (3, 51, 2):
        detail = f"{sqlite3.sqlite_version} can corrupt a database when its log is reset; the store's own lock keeps "
        return _Finding("SQLite", "note", detail + "that out of reach, another program that writes to it would not")
    return _Finding("SQLite", "ok", sqlite3.sqlite_version)


def _clock() -> _Finding:
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource", encoding="ascii") as file:
            source = file.read().strip()
    except OSError:
        source = "unknown"
    return _Finding(
        "clock", "ok", f"monotonic of boot {boot_id()}, source {source}; steps of the wall clock decide nothing"
    )


def _pidfd() -> _Finding:
    if not hasattr(os, "pidfd_open"):
        return _Finding("process handles", "note", "no pidfd here: a process is checked, then signalled by its number")
    os.close(os.pidfd_open(os.getpid()))
    return _Finding("process handles", "ok", "pidfd: a reused process number can't be hit")


def _of_configuration(config_file: str | None) -> list[_Finding]:
    try:
        config = load_config(config_file)
    except GuardrailsError as error:
        return [_Finding("configuration", "problem", str(error))]
    folder = _existing(os.path.dirname(config.state_file))
    exists = "" if os.path.exists(config.file) else " (not there: the defaults hold)"
    return [
        _Finding("configuration", "ok", config.file + exists),
        _file_system(folder),
        _checked("file lock", lambda: _lock(folder)),
        _checked("state of hooks", lambda: _hooks(config)),
    ]


def _file_system(folder: str) -> _Finding:
    kind = _kind_of(folder)
    if kind in _REMOTE:
        detail = f"{folder} is on {kind}: locks may not reach other hosts, and a synced write may not be on a disk"
        return _Finding("file system", "note", detail)
    if kind in _VOLATILE:
        return _Finding("file system", "note", f"{folder} is on {kind}: nothing there survives a power cut")
    return _Finding("file system", "ok", f"{folder} is on {kind}")


def _kind_of(folder: str) -> str:
    """The type of the file system that holds a folder, by the longest mount point above it."""
    best, kind = "", "unknown"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                point = left.split()[4].replace("\\040", " ")
                above = folder == point or folder.startswith(point.rstrip("/") + "/")
                if above and len(point) >= len(best):
                    best, kind = point, right.split()[0]
    except OSError:
        return "unknown"
    return kind


def _lock(folder: str) -> str:
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".guardrails-doctor-") as place,
        FileLock(os.path.join(place, "lock")).exclusive(deadline_s=1.0),
    ):
        return "flock(2), held by the kernel, gone with its holder"


def _hooks(config: Config) -> str:
    state = open_hooks(config)
    try:
        report = state.get_health_report()
    finally:
        state.store.close()
    return f"{report.total_hooks} hooks, {len(report.disabled)} disabled, {len(report.incidents)} times damaged"


def _checked(what: str, check: Callable[[], str]) -> _Finding:
    try:
        return _Finding(what, "ok", check())
    except (GuardrailsError, OSError) as error:
        return _Finding(what, "problem", str(error))


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.path.realpath(folder)
