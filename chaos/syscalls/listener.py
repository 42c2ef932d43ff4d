"""The notification listener: receive a trapped call, answer it, install a descriptor with the answer.

It is a thin shell around four ioctls (seccomp_unotify(2)); it decides nothing. Read `processes.py` next.
"""

import os
import struct
from contextlib import suppress
from errno import EINTR, ENOENT
from fcntl import ioctl
from typing import final

__all__ = ["ADDFD_CLOEXEC", "Listener", "Notification"]

_RECEIVE, _SEND, _VALID, _ADD_DESCRIPTOR, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103, 0x40082104
_CONTINUE = 1
_SYNC_WAKE_UP = 1
_ADD_AND_SEND = 2
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ZERO = bytes(_NOTIFICATION.size)
_answer = struct.Struct("=QqiI").pack
_valid = struct.Struct("=Q").pack
_add = struct.Struct("=QIIII").pack

ADDFD_CLOEXEC = os.O_CLOEXEC

Notification = tuple[int, int, int, int, int, int, int, int, int, int, int, int]


@final
class Listener:
    """One filter's listener; owns its descriptor."""

    __slots__ = ("_buffer", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._buffer = bytearray(_ZERO)
        with suppress(OSError):
            # The target wakes on this processor, where its memory is warm (Linux 6.6; refused by older ones).
            ioctl(descriptor, _SET_FLAGS, _SYNC_WAKE_UP)

    def receive(self) -> Notification | None:
        """The next call: id, thread, flags, number, architecture, instruction, six arguments; None if it was undone."""
        buffer = self._buffer
        buffer[:] = _ZERO
        try:
            ioctl(self.descriptor, _RECEIVE, buffer)
        except OSError as error:
            if error.errno in (ENOENT, EINTR):
                return None
            raise
        return _NOTIFICATION.unpack(buffer)

    def answer(self, id_: int, result: int) -> bool:
        """The call's result; negative is minus an error number. False when the caller is gone."""
        value, error = (result, 0) if result >= 0 else (0, result)
        return self._send(_answer(id_, value, error, 0))

    def let_through(self, id_: int) -> bool:
        """The kernel performs the call. False when the caller is gone."""
        return self._send(_answer(id_, 0, 0, _CONTINUE))

    def install(self, id_: int, descriptor: int, flags: int) -> int:
        """Give the caller a duplicate of `descriptor` as the call's result, in one step; returns its number there.

        Raises:
            OSError: ENOENT, the caller is gone; EMFILE, it may open no more.
        """
        message = bytearray(_add(id_, _ADD_AND_SEND, descriptor, 0, flags))  # mutable: ioctl then returns its result
        return int(ioctl(self.descriptor, _ADD_DESCRIPTOR, message))

    def is_valid(self, id_: int) -> bool:
        """Whether the caller still waits: what was read of it before this returned True was its own."""
        try:
            ioctl(self.descriptor, _VALID, _valid(id_))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the listener up; a call that is still trapped would fail with ENOSYS, so end the callers first."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _send(self, message: bytes) -> bool:
        try:
            ioctl(self.descriptor, _SEND, message)
        except OSError as error:
            if error.errno == ENOENT:
                return False
            raise
        return True
