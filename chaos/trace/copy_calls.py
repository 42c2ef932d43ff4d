"""Handlers for calls that move bytes inside the kernel, and for those that change a file's extents.

They carry no bytes themselves. The supervisor performs them on duplicated descriptors, then reads what was written
back: from the destination, which it opens for reading under its own name in /proc. Read `name_calls.py` next.
"""

import fcntl
import os
import select
import stat
import struct
from collections.abc import Callable, Mapping
from typing import final

from chaos.syscalls import kernel
from chaos.syscalls.calls import CONTINUE, Handler, Reply, Steps, Trap, Wait
from chaos.trace.model import Kind, NodeType
from chaos.trace.recording import Recording
from chaos.trace.writing import MOST_BYTES, check_limit, sync_of, within_limit

__all__ = ["CopyCalls"]

_SPLICE_F_NONBLOCK = 2
_FICLONE = 0x40049409
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE, _ZERO, _INSERT = 0x01, 0x02, 0x08, 0x10, 0x20
_IOCB = struct.Struct("=QIIHhIQQqQII")  # struct iocb of the asynchronous I/O interface
_IOCB_WRITES = {1, 2, 3, 8}  # PWRITE, FSYNC, FDSYNC, PWRITEV
_MOST_IOCBS = 4096
_RANGE = struct.Struct("=qQQQ")  # struct file_clone_range


@final
class CopyCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._journal = recording.journal

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "sendfile": self.sendfile,
            "copy_file_range": self.copy_file_range,
            "splice": self.splice,
            "ioctl": self.clone,
            "fallocate": self.fallocate,
            "io_submit": self.io_submit,
        }

    def sendfile(self, trap: Trap) -> Steps:
        """The system call `sendfile`."""

        def perform(source: int, target: int, count: int) -> int:
            address = trap.arguments[2]
            offset = _read_offset(trap, address)
            # Without an offset of the caller's the source's own moves.
            moved = os.sendfile(target, source, offset, count)
            _write_offset(trap, address, offset, moved)
            return moved

        return self._copy(trap, trap.signed(1), trap.signed(0), perform, size=trap.arguments[3])

    def copy_file_range(self, trap: Trap) -> Steps:
        """The system call `copy_file_range`."""

        def perform(source: int, target: int, count: int) -> int:
            offsets = [(trap.arguments[index], _read_offset(trap, trap.arguments[index])) for index in (1, 3)]
            moved = os.copy_file_range(source, target, count, offsets[0][1], offsets[1][1])
            for address, offset in offsets:
                _write_offset(trap, address, offset, moved)
            return moved

        return self._copy(
            trap, trap.signed(0), trap.signed(2), perform, size=trap.arguments[4], offset_address=trap.arguments[3]
        )

    def splice(self, trap: Trap) -> Steps:
        """The system call `splice` into a file; from an empty pipe it waits without holding the supervisor up."""

        def perform(source: int, target: int, count: int) -> int:
            offset = _read_offset(trap, trap.arguments[3])
            flags = trap.signed(5) | _SPLICE_F_NONBLOCK
            moved = os.splice(source, target, count, None, offset, flags)
            _write_offset(trap, trap.arguments[3], offset, moved)
            return moved

        waits = not trap.arguments[5] & _SPLICE_F_NONBLOCK
        return self._copy(
            trap,
            trap.signed(0),
            trap.signed(2),
            perform,
            size=trap.arguments[4],
            offset_address=trap.arguments[3],
            waits=waits,
        )

    def clone(self, trap: Trap) -> Steps:
        """The system call `ioctl` with FICLONE or FICLONERANGE: shares extents, which reads as a copy."""
        request = trap.arguments[1] & 0xFFFFFFFF
        if request == _FICLONE:
            source, start, argument = trap.signed(2), 0, b""
        else:
            argument = trap.process.read_exactly(trap.arguments[2], _RANGE.size)
            source, _, _, start = _RANGE.unpack(argument)

        def perform(duplicate: int, target: int, _: int) -> int:
            length = os.fstat(duplicate).st_size
            if argument:
                _, offset, wanted, _ = _RANGE.unpack(argument)
                fcntl.ioctl(target, request, _RANGE.pack(duplicate, offset, wanted, start))
                length = wanted or max(0, length - offset)
            else:
                fcntl.ioctl(target, request, duplicate)
            self._put_back(trap, target, start, length)
            return 0

        return self._copy(trap, source, trap.signed(0), perform, size=0, records=False)

    def fallocate(self, trap: Trap) -> Steps:
        """The system call `fallocate`: lengths, holes, zeroed and moved ranges."""
        mode, offset, length = trap.signed(1), trap.signed_long(2), trap.signed_long(3)
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._recording.written_file(duplicate)
            if node is None or node.type is not NodeType.FILE:
                return CONTINUE
            yield self._recording.call(trap, node.path)
            before = os.fstat(duplicate).st_size
            if not mode & _KEEP_SIZE:
                check_limit(trap, offset + length)
            kernel.fallocate(duplicate, mode, offset, length)
            after = os.fstat(duplicate).st_size
            if mode & (_COLLAPSE | _INSERT):
                self._put_back(trap, duplicate, offset, max(before, after) - offset)
                self._journal.miss(node.path, "a range was cut out or put in by fallocate, which is one step on a disk")
            if after != before:
                self._journal.add(trap, Kind.TRUNCATE, node, size=after)
                self._recording.mapped.truncated(node, after)
            if mode & (_PUNCH_HOLE | _ZERO) and offset < after:
                zeros = bytes(min(offset + length, after) - offset)
                self._journal.add(trap, Kind.WRITE, node, offset=offset, data=zeros)
                self._recording.mapped.wrote(node, offset, zeros)
            return 0
        finally:
            os.close(duplicate)

    def io_submit(self, trap: Trap) -> Reply:
        """The system call `io_submit`: it ends some time later, so it can't be ordered; it is reported."""
        count = min(trap.signed_long(1), _MOST_IOCBS)
        if count <= 0:
            return CONTINUE
        pointers = trap.process.read_exactly(trap.arguments[2], 8 * count)
        for (address,) in struct.iter_unpack("=Q", pointers):
            fields = _IOCB.unpack(trap.process.read_exactly(address, _IOCB.size))
            operation, descriptor = fields[3], fields[5]
            duplicate = trap.process.duplicate(descriptor) if operation in _IOCB_WRITES else -1
            if duplicate >= 0:
                node = self._recording.written_file(duplicate)
                os.close(duplicate)
                if node is not None:
                    self._journal.miss(node.path, "written or synced by asynchronous I/O (io_submit)")
        return CONTINUE

    def _copy(
        self,
        trap: Trap,
        source: int,
        target: int,
        perform: Callable[[int, int, int], int],
        *,
        size: int,
        offset_address: int = 0,
        waits: bool = False,
        records: bool = True,
    ) -> Steps:
        """Duplicate both ends, perform, and record what stands in the target afterwards."""
        to = trap.process.duplicate(target)
        if to < 0:
            return CONTINUE
        from_ = -1
        try:
            node = self._recording.written_file(to)
            from_ = trap.process.duplicate(source) if node is not None else -1
            if node is None or node.type is not NodeType.FILE or from_ < 0:
                return CONTINUE
            while waits and _is_empty_pipe(from_):
                yield Wait(from_)
            limit = yield self._recording.call(trap, node.path, size)
            count = min(size, MOST_BYTES if limit is None else limit)
            given = _read_offset(trap, offset_address)
            start = os.lseek(to, 0, os.SEEK_CUR) if given is None else given
            allowed = trap.process.file_limit
            if allowed is not None:
                count = within_limit(trap, start, count, allowed)
            moved = perform(from_, to, count)
            if records and moved:
                self._put_back(trap, to, start, moved)
            return moved
        finally:
            os.close(to)
            if from_ >= 0:
                os.close(from_)

    def _put_back(self, trap: Trap, descriptor: int, start: int, length: int) -> None:
        """Record what a file holds now in a range that a call has just written."""
        node = self._recording.nodes.find(os.fstat(descriptor))
        if node is None or length <= 0:
            return
        try:
            reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._journal.miss(node.path, f"what {trap.name} wrote can't be read back: {error.strerror}")
            return
        try:
            data = _read_all(reading, start, length)
        finally:
            os.close(reading)
        sync = sync_of(fcntl.fcntl(descriptor, fcntl.F_GETFL))
        self._journal.add(trap, Kind.WRITE, node, offset=start, data=data, sync=sync)
        self._recording.mapped.wrote(node, start, data)


def _read_all(descriptor: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0 and (part := os.pread(descriptor, length, start)):
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)


def _is_empty_pipe(descriptor: int) -> bool:
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode) or fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def _read_offset(trap: Trap, address: int) -> int | None:
    """The caller's offset variable; None when it gave none."""
    return int.from_bytes(trap.process.read_exactly(address, 8), "little", signed=True) if address else None


def _write_offset(trap: Trap, address: int, offset: int | None, moved: int) -> None:
    if offset is not None and moved:
        trap.process.write(address, (offset + moved).to_bytes(8, "little", signed=True))
