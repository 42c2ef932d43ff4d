"""Perform one write for the caller: from its memory, through a duplicate of its descriptor, and say what was written.

Errors and short counts are the kernel's own; the caller's limit on file sizes, which the supervisor does not share,
is kept here. Read `data_calls.py` next.
"""

import mmap
import os
import signal
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from errno import EFAULT, EFBIG, EINVAL
from fcntl import F_GETFL, fcntl
from typing import NamedTuple, final

from chaos.syscalls.calls import Trap
from chaos.syscalls.kernel import signal_thread
from chaos.syscalls.processes import Process
from chaos.trace.model import Sync

__all__ = ["MOST_BYTES", "Written", "check_limit", "perform_write", "read_vectors", "sync_of", "within_limit"]

MOST_BYTES = 0x7FFFF000  # the kernel's own bound for one call

_CHUNK_BYTES = 8 << 20  # a larger write is done in pieces, so that it is never twice in memory
_MOST_VECTORS = 1024
_RWF_DSYNC, _RWF_SYNC, _RWF_APPEND, _RWF_NOAPPEND = 2, 4, 16, 32
_ALIGN_BYTES = 4096
_VECTOR = struct.Struct("=QQ")

_Span = tuple[int, int]  # address, length


@final
class Written(NamedTuple):
    """What a write did: where, which bytes, and what it made durable by itself."""

    offset: int
    data: bytes
    sync: Sync


def sync_of(flags: int) -> Sync:
    """What an open file's status flags make of each write."""
    if not flags & os.O_DSYNC:
        return Sync.NONE
    return Sync.ALL if flags & os.O_SYNC == os.O_SYNC else Sync.DATA


def read_vectors(process: Process, address: int, count: int) -> list[_Span]:
    """The caller's `struct iovec` array.

    Raises:
        OSError: EINVAL, more than 1024 of them or a negative sum; EFAULT.
    """
    if count > _MOST_VECTORS:
        raise OSError(EINVAL, os.strerror(EINVAL))
    spans = [*_VECTOR.iter_unpack(process.read_exactly(address, count * _VECTOR.size))]
    if any(length >> 63 for _, length in spans):
        raise OSError(EINVAL, os.strerror(EINVAL))
    return spans


def perform_write(
    trap: Trap, descriptor: int, spans: list[_Span], size: int, offset: int | None = None, flags: int = 0
) -> Written:
    """Write up to `size` bytes.

    Args:
        trap: the call.
        descriptor: a duplicate of the caller's.
        spans: where the bytes are in the caller's memory.
        size: how many to write; the spans hold at least as many.
        offset: where to write; None for the file's own offset.
        flags: RWF_ flags.

    Raises:
        OSError: nothing was written.
    """
    status_flags = fcntl(descriptor, F_GETFL)
    appends = flags & _RWF_APPEND or (status_flags & os.O_APPEND and not flags & _RWF_NOAPPEND)
    # Linux appends even where an offset was given, and where RWF_APPEND says so it leaves the file's own offset.
    start = os.fstat(descriptor).st_size if appends and (offset is not None or flags) else offset
    limit = trap.process.file_limit
    if limit is not None:
        size = within_limit(trap, _position(descriptor, start, bool(appends)), size, limit)
    done: list[bytes] = []
    for data in _chunks(trap.process, spans, size):
        try:
            written = _write_once(descriptor, data, offset, flags, spans[0][0] if status_flags & os.O_DIRECT else None)
        except OSError:
            if not done:
                raise
            break
        done.append(data if written == len(data) else data[:written])
        if written < len(data):
            break
        if offset is not None:
            offset += written
    data = done[0] if len(done) == 1 else b"".join(done)
    if start is None:
        start = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
    return Written(start, data, _sync(status_flags, flags))


def check_limit(trap: Trap, size: int) -> None:
    """A file is to become `size` bytes long.

    Raises:
        OSError: EFBIG, and the caller gets its SIGXFSZ: it may not write files of that size.
    """
    limit = trap.process.file_limit
    if limit is not None and size > limit:
        _refuse(trap)


def within_limit(trap: Trap, start: int, size: int, limit: int) -> int:
    """How many of `size` bytes the caller may write from `start` on.

    Raises:
        OSError: EFBIG, and the caller gets its SIGXFSZ: none.
    """
    if start >= limit and size:
        _refuse(trap)
    return min(size, limit - start)


def _refuse(trap: Trap) -> None:
    with suppress(OSError):
        signal_thread(trap.process.id, trap.thread, signal.SIGXFSZ)
    raise OSError(EFBIG, os.strerror(EFBIG))


def _position(descriptor: int, start: int | None, appends: bool) -> int:
    if start is not None:
        return start
    return os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)


def _sync(status_flags: int, flags: int) -> Sync:
    sync = sync_of(status_flags)
    if flags & _RWF_SYNC:
        return Sync.ALL
    return Sync.DATA if flags & _RWF_DSYNC and sync is Sync.NONE else sync


def _chunks(process: Process, spans: list[_Span], size: int) -> Iterable[bytes]:
    """The first `size` bytes of the spans, up to where the caller's memory ends."""
    if size > _CHUNK_BYTES:
        return _many_chunks(process, spans, size)
    if len(spans) == 1:
        return (process.read(spans[0][0], size),)
    return (_gather(process, spans, size),) if spans else ()


def _many_chunks(process: Process, spans: list[_Span], size: int) -> Iterator[bytes]:
    something = size == 0
    for address, length in spans:
        wanted, done = min(length, size), 0
        size -= wanted
        while done < wanted:
            piece = min(wanted - done, _CHUNK_BYTES)
            try:
                data = process.read(address + done, piece)
            except OSError:
                if not something:
                    raise
                return
            something = True
            yield data
            if len(data) < piece:
                return
            done += piece


def _gather(process: Process, spans: list[_Span], size: int) -> bytes:
    """Several short spans as one piece: appended by one write, as the kernel does."""
    parts: list[bytes] = []
    for address, length in spans:
        wanted = min(length, size)
        try:
            part = process.read(address, wanted)
        except OSError:
            if not parts:
                raise
            break
        parts.append(part)
        size -= len(part)
        if len(part) < wanted:
            break
    data = b"".join(parts)
    if not data and size:
        raise OSError(EFAULT, os.strerror(EFAULT))
    return data


def _write_once(descriptor: int, data: bytes, offset: int | None, flags: int, address: int | None) -> int:
    """One write; for O_DIRECT `address` is the caller's, whose alignment decides whether the kernel takes it."""
    if address is not None:
        return _write_direct(descriptor, data, offset, flags, address)
    if flags:
        return os.pwritev(descriptor, [data], -1 if offset is None else offset, flags)
    return os.write(descriptor, data) if offset is None else os.pwrite(descriptor, data, offset)


def _write_direct(descriptor: int, data: bytes, offset: int | None, flags: int, address: int) -> int:
    shift = address % _ALIGN_BYTES
    with mmap.mmap(-1, shift + len(data) + 1) as memory:
        memory[shift : shift + len(data)] = data
        with memoryview(memory) as whole, whole[shift : shift + len(data)] as view:
            if flags:
                return os.pwritev(descriptor, [view], -1 if offset is None else offset, flags)
            return os.write(descriptor, view) if offset is None else os.pwrite(descriptor, view, offset)
