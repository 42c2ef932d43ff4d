"""Where events go: the sinks' one method, and the two that need nothing but the standard library's lightest parts.

A sink may block and may raise; whoever feeds it (`channel.py`, `relay.py`) does so from a thread of its own, tries
again, and counts. A batch may come twice, so receivers know events by their id. Others: `webhook.py`, `otel.py`.
"""

import errno
import json
import logging
import os
from collections.abc import Sequence
from typing import Protocol, final

from pytest_guardrails.errors import StorageError, check_whole
from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.telemetry.events import Event

__all__ = ["JsonLinesSink", "LoggingSink", "Sink"]

_LOCK_DEADLINE_S = 10.0


class Sink(Protocol):
    """Takes events."""

    def write(self, events: Sequence[Event]) -> None:
        """Take them all, or raise; then they come again.

        Args:
            events: in order, at least one.
        """
        ...


@final
class LoggingSink:
    """Hands events to `logging`, at their severity; the whole event is the record's attribute `event`.

    Args:
        logger: to whom.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("pytest_guardrails")

    def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`."""
        for event in events:
            extra = {"event": event.plain()}
            self._logger.log(event.severity, "%s %s: %s", event.source, event.kind, event.message, extra=extra)


@final
class JsonLinesSink:
    """Appends each event as a line of JSON to a file, and starts a new file when it is full.

    Whole lines only: a full disk takes back what it took of a batch, and after a crash in the middle of a line the next
    batch starts on a new one. Several processes may write to one path.

    Args:
        path: the file; older ones are `path.1` (the newest) to `path.KEEP`.
        max_bytes: a batch that would make it larger goes to a new file.
        keep: how many older files are kept.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 10_000_000, keep: int = 3) -> None:
        check_whole("max_bytes", max_bytes, 1)
        check_whole("keep", keep, 0)
        self.path = os.path.realpath(path)
        self._max_bytes = max_bytes
        self._keep = keep
        self._lock = FileLock.beside(self.path, deadline_s=_LOCK_DEADLINE_S)

    def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`.

        Raises:
            StorageError: the disk refused; the file is as it was.
        """
        data = "".join(json.dumps(event.plain(), ensure_ascii=False) + "\n" for event in events).encode()
        try:
            with self._lock.exclusive():
                self._rotate(len(data))
                self._append(data)
        except OSError as error:
            raise StorageError(f"{self.path} can't be written: {error}") from error

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError(errno.ENOSPC, "only a part was taken")
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _rotate(self, more: int) -> None:
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return
        if not size or size + more <= self._max_bytes:
            return
        if not self._keep:
            os.unlink(self.path)
            return
        for number in range(self._keep, 0, -1):
            older = self.path if number == 1 else f"{self.path}.{number - 1}"
            if os.path.exists(older):
                os.replace(older, f"{self.path}.{number}")
