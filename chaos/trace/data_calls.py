"""Handlers for calls on open descriptors: writes of every kind, lengths, syncs, mappings, acknowledgements.

Each performs the call on a duplicate of the caller's descriptor. The duplicate shares the open file description, so
the offset, O_APPEND and the result are the caller's own, whoever else moved them. Read `copy_calls.py` next.
"""

import os
from collections.abc import Mapping
from fcntl import F_GETFL, fcntl
from typing import final

from chaos.child.ack import ACK_DESCRIPTOR
from chaos.syscalls import kernel
from chaos.syscalls.calls import CONTINUE, Handler, Reply, Steps, Trap
from chaos.trace.model import Kind, NodeType
from chaos.trace.nodes import key_of
from chaos.trace.recording import Recording
from chaos.trace.writing import MOST_BYTES, check_limit, perform_write, read_vectors

__all__ = ["DataCalls"]

_MS_SYNC = 4
_FILE = NodeType.FILE  # looked up once, as these calls are the most frequent


@final
class DataCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes = recording.nodes
        self._journal = recording.journal

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "write": self.write,
            "pwrite64": self.pwrite,
            "writev": self.writev,
            "pwritev": self.pwritev,
            "pwritev2": self.pwritev2,
            "ftruncate": self.ftruncate,
            "fchmod": self.fchmod,
            "fsync": self.fsync,
            "fdatasync": self.fdatasync,
            "sync": self.sync,
            "syncfs": self.syncfs,
            "msync": self.msync,
            "mmap": self.mmap,
        }

    def write(self, trap: Trap) -> Steps:
        """The system call `write`, and acknowledgements."""
        arguments = trap.arguments
        if arguments[0] & 0xFFFFFFFF == ACK_DESCRIPTOR:
            return self._acknowledge(trap)
        return self._write(trap, None, 0)

    def pwrite(self, trap: Trap) -> Steps:
        """The system call `pwrite64`."""
        return self._write(trap, trap.signed_long(3), 0)

    def writev(self, trap: Trap) -> Steps:
        """The system call `writev`."""
        return self._write(trap, None, 0, vectors=True)

    def pwritev(self, trap: Trap) -> Steps:
        """The system call `pwritev`."""
        return self._write(trap, trap.signed_long(3), 0, vectors=True)

    def pwritev2(self, trap: Trap) -> Steps:
        """The system call `pwritev2`; the offset -1 means the file's own."""
        offset = trap.signed_long(3)
        return self._write(trap, None if offset == -1 else offset, trap.signed(5), vectors=True)

    def ftruncate(self, trap: Trap) -> Steps:
        """The system call `ftruncate`."""
        length = trap.signed_long(1)
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._recording.written_file(duplicate)
            if node is None or node.type is not _FILE:
                return CONTINUE
            yield self._recording.call(trap, node.path)
            check_limit(trap, length)
            before = os.fstat(duplicate).st_size
            os.ftruncate(duplicate, length)
            if length != before:
                self._journal.add(trap, Kind.TRUNCATE, node, size=length)
                self._recording.mapped.truncated(node, length)
            return 0
        finally:
            os.close(duplicate)

    def fchmod(self, trap: Trap) -> Steps:
        """The system call `fchmod`."""
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._nodes.find(os.fstat(duplicate))
            if node is None:
                return CONTINUE
            yield self._recording.call(trap, node.path)
            os.fchmod(duplicate, trap.arguments[1] & 0o7777)
            if node.type is NodeType.DIRECTORY:
                self._recording.places.forget()
            self._journal.add(trap, Kind.CHMOD, node, mode=os.fstat(duplicate).st_mode & 0o7777)
            return 0
        finally:
            os.close(duplicate)

    def fsync(self, trap: Trap) -> Steps:
        """The system call `fsync`, of files and directories."""
        return self._sync(trap, Kind.FSYNC)

    def fdatasync(self, trap: Trap) -> Steps:
        """The system call `fdatasync`."""
        return self._sync(trap, Kind.FDATASYNC)

    def sync(self, trap: Trap) -> Steps:
        """The system call `sync`."""
        yield self._recording.call(trap, "")
        os.sync()
        self._recording.unsynced.clear()
        self._journal.add(trap, Kind.SYNC, None)
        return 0

    def syncfs(self, trap: Trap) -> Steps:
        """The system call `syncfs`; of another file system than the folder's it does not matter."""
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            if os.fstat(duplicate).st_dev not in self._nodes.devices:
                return CONTINUE
            yield self._recording.call(trap, "")
            kernel.syncfs(duplicate)
            self._recording.unsynced.clear()
            self._journal.add(trap, Kind.SYNC, None)
            return 0
        finally:
            os.close(duplicate)

    def msync(self, trap: Trap) -> Steps:
        """The system call `msync` with MS_SYNC: the mapped file's data is durable; other flags promise nothing."""
        if not trap.arguments[2] & _MS_SYNC:
            return CONTINUE
        start = trap.arguments[0]
        for node in self._recording.mapped.between(trap.process.id, start, start + trap.arguments[1]):
            yield self._recording.call(trap, node.path)
            self._recording.mapped.sync(node)
            self._journal.add(trap, Kind.FDATASYNC, node)
        return CONTINUE

    def mmap(self, trap: Trap) -> Reply:
        """A shared mapping of a file: if it may be stored to, the file is compared from here on."""
        duplicate = trap.process.duplicate(trap.signed(4))
        if duplicate < 0:
            return CONTINUE
        node = self._nodes.find(os.fstat(duplicate))
        writable = fcntl(duplicate, F_GETFL) & os.O_ACCMODE == os.O_RDWR
        if node is None or node.type is not _FILE or not writable:
            os.close(duplicate)
        else:
            self._recording.mapped.add(node, duplicate, trap.process.number)
        return CONTINUE

    def _acknowledge(self, trap: Trap) -> Steps:
        size = trap.arguments[2]
        text = trap.process.read_exactly(trap.arguments[1], size).decode("utf-8", "replace")
        yield self._recording.call(trap, "", name="ack")
        self._journal.acknowledge(trap, text)
        return size

    def _sync(self, trap: Trap, kind: Kind) -> Steps:
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            status = os.fstat(duplicate)
            node = self._nodes.find(status)
            if node is None and key_of(status) not in self._recording.unsynced:
                return CONTINUE
            perform = os.fsync if kind is Kind.FSYNC else os.fdatasync
            if node is None:
                perform(duplicate)
                self._recording.unsynced.discard(key_of(status))
                return 0
            try:
                yield self._recording.call(trap, node.path)
                perform(duplicate)
            except OSError as error:
                self._journal.add(trap, kind, node, errno=error.errno)
                raise
            self._journal.add(trap, kind, node)
            return 0
        finally:
            os.close(duplicate)

    def _write(self, trap: Trap, offset: int | None, flags: int, vectors: bool = False) -> Steps:
        process = trap.process
        duplicate = process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._recording.written_file(duplicate)
            if node is None or node.type is not _FILE:
                return CONTINUE
            if vectors:
                spans = read_vectors(process, trap.arguments[1], trap.arguments[2])
                size = min(sum(length for _, length in spans), MOST_BYTES)
            else:
                size = min(trap.arguments[2], MOST_BYTES)
                spans = [(trap.arguments[1], size)]
            limit = yield self._recording.call(trap, node.path, size)
            if limit is not None and limit < size:
                size = limit
            written = perform_write(trap, duplicate, spans, size, offset, flags)
            if written.data:
                self._journal.add(trap, Kind.WRITE, node, offset=written.offset, data=written.data, sync=written.sync)
                self._recording.mapped.wrote(node, written.offset, written.data)
            return len(written.data)
        finally:
            os.close(duplicate)
