"""Runs a hook's command: no shell, its own process group, its output straight to ours, a time-out that ends them all.

Standard input and output are simply inherited. Standard error passes through us byte for byte, for its end is kept for
the record. Everything that can happen (output, the end, a signal to us, the time-out) is waited for in one place.

**Guarantees.** After a time-out, or a signal to us, nothing of the command's process group is left: SIGTERM, two
seconds, SIGKILL. A command that leaves a background process behind on purpose is not waited for.
**Does not** reach processes that left the group.
**Threads and processes.** For the main thread of a program of its own, such as `hook run`: it sets signal handlers.
"""

import errno
import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pytest_guardrails.clock import Clock
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record

__all__ = ["Ending", "run_command"]

_GRACE_S = 2.0  # between asking a command to end and ending it
_TAIL_BYTES = 4096
_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Python ignores these for itself; a command must find them as it would in a shell.
_DEFAULT_IN_CHILD = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]


@final
class Ending(Record):
    """How a command ended.

    Attributes:
        code: its exit code; 128 + N if signal N ended it, 124 after a time-out, 126 and 127 if it could not begin.
        error: in words, with the end of its standard error; "" if it ended with 0.
        interrupted: it was stopped from outside, which says nothing about it.
        duration_s: how long it ran, in seconds.
    """

    code: int
    error: str
    interrupted: bool
    duration_s: float


def run_command(arguments: Sequence[str], *, timeout_s: float, clock: Clock) -> Ending:
    """Run a command to its end.

    Args:
        arguments: the program, looked up on PATH, and its arguments.
        timeout_s: for how long it may run, in seconds.
        clock: monotonic.
    """
    started_s = clock.monotonic()
    reader, writer = os.pipe()
    try:
        with _signals() as signals:
            try:
                pid = os.posix_spawnp(
                    arguments[0],
                    list(arguments),
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)],
                    setpgroup=0,
                    setsigdef=_DEFAULT_IN_CHILD,
                )
            except OSError as error:
                code = 127 if error.errno == errno.ENOENT else 126
                _forward(f"{arguments[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
                return Ending(code, f"it could not be started: {error.strerror}", False, 0.0)
            finally:
                os.close(writer)
            run = _Run(pid, reader, signals, clock)
            with _foreground(pid):
                run.to_the_end(started_s + timeout_s)
            return run.ending(clock.monotonic() - started_s, timeout_s)
    finally:
        os.close(reader)


@final
class _Run:
    """One command under way."""

    def __init__(self, pid: int, reader: int, signals: int, clock: Clock) -> None:
        self._pid = pid
        self._reader = reader
        self._signals = signals
        self._clock = clock
        self._tail = b""
        self._asked = False
        self._timed_out = False
        self._stopped_by = 0
        self._status = 0

    def to_the_end(self, deadline_s: float) -> None:
        os.set_blocking(self._reader, False)
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._reader, select.POLLIN)
        while not self._has_ended():
            left_s = max(0.0, deadline_s - self._clock.monotonic())
            for descriptor, _ in poll.poll(left_s * 1000.0 + 1.0):
                if descriptor == self._reader:
                    if not self._pass_on():
                        poll.unregister(self._reader)
                elif self._heard():
                    deadline_s = self._stop()
            if self._clock.monotonic() >= deadline_s:
                self._timed_out = self._timed_out or not self._stopped_by
                deadline_s = self._stop()
        while self._pass_on():
            continue
        if self._timed_out or self._stopped_by:
            self._signal_group(signal.SIGKILL)  # the first process ended: what it left behind ends as well
        _, self._status = os.waitpid(self._pid, 0)

    def ending(self, duration_s: float, timeout_s: float) -> Ending:
        said = self._tail.decode("utf-8", "replace").strip()
        if self._timed_out:
            return Ending(124, _joined(f"it was stopped after {timeout_s:g} s", said), False, duration_s)
        if self._stopped_by:
            return Ending(128 + self._stopped_by, "", True, duration_s)
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            interrupted = -code == signal.SIGINT
            return Ending(128 - code, _joined(f"signal {-code} ended it", said), interrupted, duration_s)
        return Ending(code, "" if code == 0 else _joined(f"exit code {code}", said), False, duration_s)

    def _has_ended(self) -> bool:
        # It stays a zombie until its group has been dealt with, so that its number can't become another's.
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _pass_on(self) -> bool:
        """Some of its standard error; whether there may be more now."""
        try:
            data = os.read(self._reader, 65536)
        except BlockingIOError:
            return False
        _forward(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        return bool(data)

    def _heard(self) -> bool:
        """Whether a signal came that asks us to end."""
        asked = [number for number in os.read(self._signals, 512) if number in _OURS]
        if asked:
            self._stopped_by = asked[0]
        return bool(asked)

    def _stop(self) -> float:
        """Ask the group to end, the second time end it; until when to wait then."""
        self._signal_group(signal.SIGKILL if self._asked else self._stopped_by or signal.SIGTERM)
        self._asked = True
        return self._clock.monotonic() + _GRACE_S

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


def _joined(what: str, said: str) -> str:
    return f"{what}: {said}" if said else what


def _forward(data: bytes) -> None:
    with suppress(OSError):  # nobody listens any more: no reason to stop the hook
        while data:
            data = data[os.write(2, data) :]


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor on which the number of each signal that comes is read; those that are ignored stay so."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    numbers = [number for number in _OURS if signal.getsignal(number) is not signal.SIG_IGN]
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _note) for number in (*numbers, signal.SIGCHLD)}
    try:
        yield reader
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def _note(_number: int, _frame: object) -> None:
    """The number is on the descriptor already; this is here so that the signal has no other effect."""


@contextmanager
def _foreground(group: int) -> Iterator[None]:
    """Where our standard input is a terminal, let the command's group read from it, and take it back afterwards."""
    try:
        ours = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        ours = False
    if not ours:
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else taking it back would stop us
    try:
        with suppress(OSError):
            os.tcsetpgrp(0, group)
            os.killpg(group, signal.SIGCONT)  # it may have been stopped for reading too early
        yield
    finally:
        with suppress(OSError):
            os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
