"""A hold on exactly one process: signals and waiting that can't hit another one which got its number.

On Linux this is a pidfd, opened first and compared with the wanted identity afterwards: from then on the kernel
itself says which process is meant. Elsewhere the identity is checked right before each signal, which leaves a gap of
microseconds. Read `registry.py` for the user.
"""

import os
import select
import signal
from contextlib import suppress
from types import TracebackType
from typing import final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.reliability.durability import ProcessIdentity, is_alive

__all__ = ["ProcessHandle", "owner_of", "stop_process"]

_LOOK_AGAIN_S = 0.02  # where there is no pidfd to wait on


@final
class ProcessHandle:
    """See the module.

    Args:
        identity: the process that is meant.

    Raises:
        ProcessLookupError: it does not run (any more).
    """

    def __init__(self, identity: ProcessIdentity) -> None:
        self._identity = identity
        self._descriptor = os.pidfd_open(identity.pid) if hasattr(os, "pidfd_open") else -1
        if is_alive(identity) is not True:
            self.close()
            raise ProcessLookupError(f"process {identity.pid} is not the one that is meant")

    def signal(self, number: int) -> None:
        """Send a signal.

        Raises:
            ProcessLookupError: it has ended.
            PermissionError: it is another user's.
        """
        if self._descriptor >= 0:
            signal.pidfd_send_signal(self._descriptor, number)
        elif is_alive(self._identity):
            os.kill(self._identity.pid, number)
        else:
            raise ProcessLookupError(f"process {self._identity.pid} has ended")

    def wait_end(self, timeout_s: float, clock: Clock | None = None) -> bool:
        """Wait until it has ended, at most `timeout_s` seconds; whether it has."""
        if self._descriptor >= 0:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000.0))
        clock = clock or SystemClock()
        end_s = clock.monotonic() + timeout_s
        while is_alive(self._identity):
            if clock.monotonic() >= end_s:
                return False
            clock.sleep(_LOOK_AGAIN_S)
        return True

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "ProcessHandle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def stop_process(handle: ProcessHandle, grace_s: float) -> bool:
    """SIGTERM, then after `grace_s` seconds SIGKILL.

    Returns:
        Whether it ended by itself, at the latest when it was asked to.

    Raises:
        PermissionError: it is another user's; it was not touched.
    """
    with suppress(ProcessLookupError):
        handle.signal(signal.SIGTERM)
        if handle.wait_end(grace_s):
            return True
        handle.signal(signal.SIGKILL)
        handle.wait_end(grace_s)
        return False
    return True


def owner_of(pid: int) -> int | None:
    """The user number of a process; None if there is none, or it can't be seen."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
