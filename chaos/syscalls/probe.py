"""Whether the syscall engine works here, and why not: by using all that it needs once, on a process of our own.

Versions and settings are only read to explain a failure; what counts is the trial. Read `launch.py` for what is
started.
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import final

from chaos.errors import ChaosError
from chaos.syscalls.calls import CONTINUE, Call, Reply, Trap
from chaos.syscalls.launch import launch
from chaos.syscalls.processes import Process
from chaos.syscalls.report import EngineReport as EngineReport  # noqa: PLC0414 - for callers: `probe` returns it
from chaos.syscalls.supervisor import Supervisor, Timing

__all__ = ["probe"]

_WORD = b"chaos-probe"
_LEAST_KERNEL = (5, 14)  # installs a descriptor and answers in one step
_TRIAL = Timing(deadline_s=20.0, grace_s=1.0)
_REFUSED = 99  # the trial target's exit code when its write did not come back as the supervisor answered it


def probe() -> EngineReport:
    """Try the engine; takes about as long as two forks. Never raises for what the machine lacks."""
    details = [f"{platform.system()} {platform.release()} on {platform.machine()}"]
    scope = _read("/proc/sys/kernel/yama/ptrace_scope")
    if scope:
        details.append(f"yama ptrace_scope {scope}")
    actions = _read("/proc/sys/kernel/seccomp/actions_avail")
    details.append("seccomp notifications offered" if "user_notif" in actions else "no seccomp notifications offered")
    try:
        why, killable = _try_out()
    except ChaosError as error:
        why, killable = error.message, True
    if why:
        why = f"{why}{_hint(scope)}"
    elif not killable:
        details.append("signals can undo calls in progress (before Linux 5.19): such calls are reported")
    return EngineReport(works=not why, why=why, details=tuple(details))


@final
class _Trial:
    """Observes the trial, and handles its one call."""

    def __init__(self) -> None:
        self.problem = "the supervisor was not asked about a trapped call"

    def write(self, trap: Trap) -> Reply:
        """Look at the call as a recording does, and answer it without performing it."""
        if trap.process.read(trap.arguments[1], trap.arguments[2]) != _WORD:
            return CONTINUE
        os.close(trap.process.duplicate(trap.signed(0)))
        self.problem = ""
        return len(_WORD) - 1

    def before(self, trap: Trap) -> None:
        """Nothing takes effect in the trial."""

    def after(self, trap: Trap) -> None:
        """Nothing takes effect in the trial."""

    def intervened(self, trap: Trap, call: Call) -> None:
        """No policy judges the trial."""

    def foreign(self, process: Process) -> None:
        """The target is our own fork."""

    def unreadable(self, process: Process, reason: str) -> None:
        """Its memory or descriptors can't be had."""
        self.problem = f"process {process.number}, a child, can't be looked into: {reason}"


def _try_out() -> tuple[str, bool]:
    reader, writer = os.pipe()
    try:
        guarded = launch(_target(writer))
        trial = _Trial()
        ending = Supervisor(guarded, {"write": trial.write}, trial).run(_TRIAL)
    finally:
        os.close(reader)
        os.close(writer)
    if not trial.problem and ending.exit_code != 0:
        return f"a trapped call did not return what the supervisor answered (exit code {ending.exit_code})", True
    return trial.problem, guarded.killable


def _target(descriptor: int) -> Callable[[], None]:
    def target() -> None:
        os._exit(0 if os.write(descriptor, _WORD) == len(_WORD) - 1 else _REFUSED)

    return target


def _hint(scope: str) -> str:
    release = platform.release().split(".")
    known = tuple(int(part) for part in release[:2] if part.isdigit())
    if platform.system() == "Linux" and len(known) == 2 and known < _LEAST_KERNEL:
        return f"; it needs Linux {_LEAST_KERNEL[0]}.{_LEAST_KERNEL[1]}"
    if scope not in {"", "0", "1"}:
        return f"; yama's ptrace_scope {scope} forbids it, at most 1 will do"
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
