"""Child processes for tests of locks and stores: forked, watched through a pipe, killed and collected by the test."""

import ctypes
import os
import pickle
import select
import signal
import struct
import traceback
from collections.abc import Callable
from typing import Any

_living: "list[Child]" = []


def kill_leftovers() -> None:
    """SIGKILL to every child of this process that was not collected yet."""
    while _living:
        _living[-1].kill()


def obey_permissions() -> None:
    """From now on this process is refused what the mode of a file refuses, even if it is root's; for a child only."""
    libc, version = ctypes.CDLL(None, use_errno=True), struct.pack("=Ii", 0x20080522, 0)
    sets = ctypes.create_string_buffer(24)
    assert libc.capget(version, sets) == 0
    effective, permitted, *rest = struct.unpack("=6I", sets.raw)
    kept = ~0b110  # without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(version, struct.pack("=6I", effective & kept, permitted & kept, *rest)) == 0


class Child:
    """A forked process that runs a function; `line()` is what it says next, `result()` what it returned."""

    def __init__(self, function: Callable[[Callable[[str], None]], Any]) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reader)
            _living.clear()
            status = 1
            try:
                value = function(lambda text: _say(writer, text.encode() + b"\n"))
                _say(writer, b"\0" + pickle.dumps(value))
                status = 0
            except BaseException:  # noqa: BLE001 - the edge of a process: it is printed, and the status tells
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writer)
        _living.append(self)
        self._reader = reader
        self._buffer = b""
        self.status: int | None = None

    def line(self, deadline_s: float = 20.0) -> str:
        """The next line that the child said."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._reader], [], [], deadline_s)
            assert ready, "the child said nothing in time"
            data = os.read(self._reader, 65536)
            assert data, "the child ended without saying more"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def kill(self) -> None:
        """SIGKILL, and collect it."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Collect it."""
        if self.status is None:
            _, self.status = os.waitpid(self.pid, 0)
            _living.remove(self)
        return self.status

    def rest(self) -> bytes:
        """Everything that it said and was not read yet; comes to an end when the child does."""
        while data := os.read(self._reader, 65536):
            self._buffer += data
        os.close(self._reader)
        self.wait()
        return self._buffer

    def result(self) -> Any:
        """What the function returned."""
        rest = self.rest()
        assert self.status == 0, f"the child failed with {self.status}"
        return pickle.loads(rest[rest.index(b"\0") + 1 :])


def _say(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
