"""Running a step so that it can be interrupted while it hangs, not merely be noticed afterwards.

The step runs in a thread of its own. To interrupt it, `StepInterrupted` is raised inside it; that ends Python code at
the next instruction, and code that waits in C (a `sleep`, a socket, a numerical library) when it comes back. A step
that does not come back within the grace time is left alone and reported as *hung*: nothing more may run beside it. What
must end for sure belongs into a child process: see `child_step.py`.
"""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, final

from pytest_guardrails.clock import Clock
from pytest_guardrails.errors import DeadlineError

__all__ = ["Interruptible", "StepHungError", "StepInterrupted", "StepTimeoutError"]

_LOOK_S = 0.1  # a thread's end is noticed at once; this bounds the wait should its last words have been cut off


@final
class StepInterrupted(BaseException):
    """Raised inside a step that is to end now; clean up and let it through."""


@final
class StepTimeoutError(DeadlineError):
    """The step was interrupted at its deadline, or because it was told to stop; it has ended."""


@final
class StepHungError(DeadlineError):
    """The step was interrupted and did not end: its thread still runs. Run such a step in a child process."""


@final
class Interruptible:
    """Runs one function at a time, in a thread.

    Args:
        clock: for deadlines.
        grace_s: how long an interrupted function may take to end, in seconds.
    """

    def __init__(self, clock: Clock, grace_s: float) -> None:
        self._clock = clock
        self._grace_s = grace_s
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None  # while the function runs
        self._stop_reason = ""

    def interrupt(self, reason: str) -> None:
        """End the function that runs now, if any; from any thread."""
        self._stop_reason = reason
        self._wake.set()

    def run(self, function: Callable[[], Any], deadline_s: float | None) -> Any:
        """What the function returns or raises.

        Args:
            function: what to run.
            deadline_s: how long it may take, in seconds; None for any time.

        Raises:
            StepTimeoutError: it was interrupted, and ended.
            StepHungError: it was interrupted, and did not end.
        """
        self._stop_reason = ""
        self._wake.clear()
        found: list[tuple[bool, Any]] = []
        thread = threading.Thread(target=self._execute, args=(function, found), daemon=True)
        self._thread = thread
        end_s = None if deadline_s is None else self._clock.monotonic() + deadline_s
        try:
            thread.start()
            interrupted = not self._wait(thread, end_s)
        except BaseException:  # such as Ctrl-C: the function must not go on behind the back of whoever ends here
            found.append((False, None))  # a thread that has not begun won't
            self._raise_inside(thread)
            with suppress(RuntimeError):  # it was not started
                thread.join(self._grace_s)
            raise
        if interrupted:
            self._raise_inside(thread)
            thread.join(self._grace_s)
        why = self._stop_reason or f"its deadline of {deadline_s or 0:.3g} s"
        if thread.is_alive():
            raise StepHungError(
                f"the step was interrupted ({why}) and still runs after {self._grace_s:g} s of grace; what may hang in "
                "C code belongs into a child process"
            )
        if not found or isinstance(found[0][1], StepInterrupted):
            raise StepTimeoutError(f"the step was interrupted: {why}")
        good, value = found[0]
        if not good:
            raise value
        return value

    def _execute(self, function: Callable[[], Any], found: list[tuple[bool, Any]]) -> None:
        try:
            try:
                if not found:
                    found.append((True, function()))
            except BaseException as error:  # noqa: BLE001 - the edge of a thread: `run` raises it again
                found.append((False, error))
            with self._mutex:
                self._thread = None
        except StepInterrupted:
            pass  # it came when the function had ended: what was found stands
        finally:
            self._wake.set()

    def _wait(self, thread: threading.Thread, end_s: float | None) -> bool:
        """Whether the function ended by itself."""
        while self._thread is thread and thread.is_alive():
            left_s = _LOOK_S if end_s is None else min(_LOOK_S, end_s - self._clock.monotonic())
            if left_s <= 0 or self._stop_reason:
                return False
            self._wake.wait(left_s)
            if not self._stop_reason and self._thread is thread:
                self._wake.clear()
        thread.join()
        return True

    def _raise_inside(self, thread: threading.Thread) -> None:
        with self._mutex:
            if self._thread is thread and thread.ident is not None:
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(StepInterrupted))
