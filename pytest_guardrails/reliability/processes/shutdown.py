"""`GracefulShutdown`: SIGTERM, SIGINT or the end of standard input start an orderly end; a second signal forces it.

    with GracefulShutdown() as shutdown:
        shutdown.register("drain the queue", queue.stop, stage=Stage.DRAIN, deadline_s=10.0)
        while not shutdown.wait_requested(1.0):
            work()

When the block ends, for whatever reason, the callbacks run, stage by stage, those of one stage in the order in which
they were registered. **Guarantees.** A callback that fails or hangs past its deadline is told in the report and keeps
none of the others from running. The handlers that were there before are put back.
**Does not** end a callback that hangs: its thread is left behind, and ends with the process.
**Threads and processes.** For the main thread, since signal handlers are; `request` may be called from any. A forked
child has nothing of it: the handlers that were there before, and no callbacks. If it wants one, it makes its own.

Read `registry.py` for what becomes of processes that did not end so well.
"""

import os
import select
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Any, Literal, final

from pytest_guardrails.callables import finished, plain
from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.records import Record

__all__ = ["GracefulShutdown", "Stage", "StepReport"]

_open: "weakref.WeakSet[GracefulShutdown]" = weakref.WeakSet()


@final
class Stage(IntEnum):
    """What is done in which order."""

    STOP_INTAKE = 10  # take nothing new on
    DRAIN = 20  # finish what was taken on
    CHECKPOINT = 30  # keep where we stand
    RELEASE = 40  # leases, locks, registrations


@final
class StepReport(Record):
    """How a callback ended.

    Attributes:
        name: of the callback.
        outcome: how.
        took_s: for how long it ran, in seconds.
        error: what it raised, in words.
    """

    name: str
    outcome: Literal["done", "failed", "timed out"]
    took_s: float
    error: str


class _Step(Record):
    stage: Stage
    name: str
    callback: Callable[[], object]
    deadline_s: float


@final
class GracefulShutdown:
    """See the module.

    Args:
        watch_stdin: also end when the other side of standard input is closed; nothing is read from it.
        clock: see `Clock`.

    Attributes:
        reason: what asked for the end; "" while nothing has.
        report: how the callbacks ended, once they have.
    """

    def __init__(self, *, watch_stdin: bool = False, clock: Clock | None = None) -> None:
        self.reason = ""
        self.report: tuple[StepReport, ...] = ()
        self._watch_stdin = watch_stdin
        self._clock = clock or SystemClock()
        self._signalled = False
        self._steps: list[_Step] = []
        self._handlers: dict[int, Any] = {}
        # A pipe, since a signal handler may take no lock: what is written wakes every waiter, and is never read.
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        _open.add(self)

    def register(
        self,
        name: str,
        callback: Callable[[], object],
        *,
        stage: Stage = Stage.DRAIN,
        deadline_s: float = 10.0,
    ) -> None:
        """Let `callback` run at the end.

        Args:
            name: for the report.
            callback: takes nothing; what it returns is not looked at.
            stage: when.
            deadline_s: how long it is waited for, in seconds.

        Raises:
            ConfigurationError: the callback is a coroutine function, or the deadline is no number of seconds.
        """
        if not 0.0 < deadline_s < 1e6:
            raise ConfigurationError(f"deadline_s must be above 0 and finite, not {deadline_s}")
        self._steps.append(_Step(stage, name, plain(callback, f"the callback {name!r}"), deadline_s))

    @property
    def requested(self) -> bool:
        """Whether the end was asked for."""
        return bool(self.reason)

    def request(self, reason: str) -> None:
        """Ask for the end."""
        self.reason = self.reason or reason
        with suppress(BlockingIOError):
            os.write(self._writer, b"x")

    def wait_requested(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is asked for, at most `timeout_s` seconds; whether it was."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000.0)
        return self.requested

    def run(self) -> tuple[StepReport, ...]:
        """Run the callbacks now, once; done by the end of the block."""
        steps, self._steps = sorted(self._steps, key=lambda step: step.stage), []
        for step in steps:
            self.report += (self._run(step),)
        return self.report

    def __enter__(self) -> "GracefulShutdown":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._handle)
        if self._watch_stdin:
            threading.Thread(target=self._wait_stdin, name="shutdown-stdin", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.reason = self.reason or ("the block ended" if error is None else f"{type(error).__name__}: {error}")
        try:
            self.run()
        finally:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _forsake(self) -> None:
        """In a forked child: leave all of it, the pipe as well, to the parent."""
        self._restore()
        self._steps = []
        os.close(self._reader)
        os.close(self._writer)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            # Whoever asks twice wants it now. Nothing is flushed: what must last is on the disk already.
            os._exit(128 + number)
        self._signalled = True
        self.request(signal.Signals(number).name)

    def _wait_stdin(self) -> None:
        poll = select.poll()
        try:
            poll.register(sys.stdin.fileno(), 0)  # no event is asked for: what remains is that the other side hung up
        except (OSError, ValueError):
            return
        poll.poll()
        self.request("standard input was closed")

    def _run(self, step: _Step) -> StepReport:
        started_s = self._clock.monotonic()
        raised: list[BaseException] = []

        def call() -> None:
            try:
                finished(step.callback(), f"the callback {step.name!r}")
            except BaseException as error:  # noqa: BLE001 - told in the report; the other callbacks must run
                raised.append(error)

        worker = threading.Thread(target=call, name=f"shutdown-{step.name}", daemon=True)
        worker.start()
        worker.join(step.deadline_s)
        took_s = self._clock.monotonic() - started_s
        if worker.is_alive():
            return StepReport(step.name, "timed out", took_s, f"it was still running after {step.deadline_s:g} s")
        if raised:
            return StepReport(step.name, "failed", took_s, f"{type(raised[0]).__name__}: {raised[0]}")
        return StepReport(step.name, "done", took_s, "")

    def __del__(self) -> None:
        for descriptor in (self._reader, self._writer):
            with suppress(OSError):
                os.close(descriptor)


def _in_child() -> None:
    for shutdown in list(_open):
        shutdown._forsake()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
