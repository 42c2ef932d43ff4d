"""`chaos doctor`: what works on this machine, and why not."""

import os
import platform
import sys

from chaos.child.pinning import can_pin
from chaos.cli.edge import say
from chaos.disk.real import FILESYSTEMS
from chaos.disk.real import probe as probe_filesystem
from chaos.explore.places import base_folder
from chaos.syscalls.report import EngineReport
from chaos.trace.engines import engine_reports
from pytest_guardrails import __version__

__all__ = ["examine"]

_NOT_MEASURED = 3
_PINS = "works"
_PINS_NOT = "does not work, as io_uring may not be used here: states take up to a fifth longer"


def examine() -> int:
    """Print what works; exit code 3 when no engine does."""
    reports = engine_reports()
    folder = base_folder()
    space = os.statvfs(folder)
    lines = [
        f"pytest-guardrails {__version__}, Python {platform.python_version()} ({sys.executable})",
        *(line for name, report in reports for line in _engine_lines(name, report)),
        f"crash states are laid out in {folder} ({_kind(folder)}, {space.f_bavail * space.f_frsize >> 20} MiB free)",
        f"processors: {len(os.sched_getaffinity(0))}",
        f"memory that recoveries write is copied when they are forked: {_PINS if can_pin() else _PINS_NOT}",
        *(f"real {name} images: {_or_works(probe_filesystem(name))}" for name in FILESYSTEMS),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if any(report.works for _, report in reports):
        return 0
    say("no engine works here: nothing could be measured")
    return _NOT_MEASURED


def _or_works(refusal: str) -> str:
    return f"do not work: {refusal}" if refusal else "work"


def _engine_lines(name: str, report: EngineReport) -> list[str]:
    came = "works" if report.works else f"does not work: {report.why}"
    return [f"engine {name}: {came}", *(f"  {detail}" for detail in report.details)]


def _kind(folder: str) -> str:
    """The file system's type, from the longest mount point above the folder."""
    try:
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown file system"
    above = [(point, kind) for point, kind in mounts if f"{folder}/".startswith(f"{point.rstrip('/')}/")]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"
