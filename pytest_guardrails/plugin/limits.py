"""The marker `guardrails` at work: its arguments as settings, and a test's call within its limits. `guards.py` next."""

import asyncio
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, final

import pytest

from chaos.errors import UsageError
from chaos.scenario.quantities import duration_s, size_bytes
from pytest_guardrails.plugin.arguments import Settings, known_names, parsed

__all__ = ["Limits", "limited", "limits_of"]

_RESET_PEAK = "5"  # what /proc/PID/clear_refs takes to forget the peak: proc(5)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a marked test must keep to.

    Attributes:
        timeout_s: how long its call may take.
        growth_bytes: by how much the process's resident memory may grow at its peak, from where it was at the call.
        finite: NumPy raises where a NaN or an infinity is made.
        no_leaks: nothing is left behind.
    """

    timeout_s: float | None = None
    growth_bytes: int | None = None
    finite: bool = False
    no_leaks: bool = False


def limits_of(arguments: tuple[Any, ...], given: Mapping[str, Any]) -> Limits:
    """The marker's arguments as settings.

    Raises:
        UsageError: which one is wrong, and what was expected.
    """
    if arguments or not given:
        raise UsageError(
            "guardrails() takes arguments by name, at least one", f"known are: {', '.join(list(_SETTINGS))}"
        )
    known_names("guardrails", given, list(_SETTINGS))
    return Limits(**parsed("guardrails", given, _SETTINGS))


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Fail the test when what is done here goes over its limits of time and memory."""
    __tracebackhide__ = True
    with _time(limits.timeout_s), _memory(limits.growth_bytes):
        yield


@contextmanager
def _time(timeout_s: float | None) -> Iterator[None]:
    if timeout_s is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        pytest.fail("guardrails: timeout needs the main thread, and this test runs in another one", pytrace=False)
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        pytest.fail("guardrails: another timer is under way (pytest-timeout?); use one of the two", pytrace=False)

    def expire(_: int, __: FrameType | None) -> None:
        __tracebackhide__ = True
        tasks = _awaiting()  # the stack of an event loop that waits says nothing of what it waits for
        pytest.fail(f"guardrails: still running after {timeout_s:g} s{tasks}{_other_threads()}", pytrace=not tasks)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _other_threads() -> str:
    """Where the others are: the main one may just wait for them."""
    frames = sys._current_frames()
    told = ""
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is not threading.current_thread() and frame is not None:
            told += f"\n  thread {thread.name!r} is in\n" + "".join(traceback.format_stack(frame)[-2:]).rstrip()
    return told


def _awaiting() -> str:
    """Where the tasks are of the event loop that runs in this thread, if one does."""
    try:
        tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    except RuntimeError:
        return ""
    told = ""
    for task in tasks:
        frames = []
        coroutine: Any = task.get_coro()
        while (frame := getattr(coroutine, "cr_frame", None)) is not None:
            frames.append(traceback.extract_stack(frame, limit=1)[0])
            coroutine = coroutine.cr_await
        told += f"\n  task {task.get_name()!r} is in\n" + "".join(traceback.format_list(frames[-2:])).rstrip()
    return told


@contextmanager
def _memory(growth_bytes: int | None) -> Iterator[None]:
    if growth_bytes is None:
        yield
        return
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError as error:
        raise pytest.fail.Exception(f"guardrails: max_rss can't be measured here: {error}", pytrace=False) from None
    before = _peak_bytes()
    yield
    grown = _peak_bytes() - before
    if grown > growth_bytes:
        pytest.fail(
            f"guardrails: resident memory grew by {grown / 1e6:.1f} MB at its peak, and {growth_bytes / 1e6:g} MB "
            "are allowed",
            pytrace=False,
        )


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # given in kB, which are KiB
    pytest.fail("guardrails: max_rss can't be measured here: /proc/self/status has no VmHWM", pytrace=False)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


_SETTINGS: Settings = {
    "timeout": ("timeout_s", duration_s),
    "max_rss": ("growth_bytes", size_bytes),
    "finite": ("finite", _flag),
    "no_leaks": ("no_leaks", _flag),
}
