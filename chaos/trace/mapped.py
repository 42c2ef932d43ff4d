"""Files with a writable shared mapping: stores make no system call, so each file is compared with a copy.

The comparison happens before each trapped call that concerns the folder, at each acknowledgement and at the end, so
a store stands in the trace before the first call that could depend on it. What two comparisons don't separate is
recorded as one change per run of changed pages. Files above the size limit are *not measured*. Read `recorder.py`
next.
"""

import os
from typing import final

from chaos.trace.journal import Journal
from chaos.trace.nodes import Node

__all__ = ["MappedFiles"]

_PAGE_BYTES = 4096


@final
class _Shadow:
    """A mapped file's bytes as they were when last looked at."""

    __slots__ = ("data", "descriptor", "process")

    def __init__(self, descriptor: int, process: int) -> None:
        self.descriptor = descriptor
        self.process = process
        self.data = bytearray(_read(descriptor))


@final
class MappedFiles:
    """The mapped files of one recording.

    Args:
        journal: where stores are recorded.
        limit_bytes: the sum of the sizes of all mapped files up to which they are compared.
    """

    def __init__(self, journal: Journal, limit_bytes: int) -> None:
        self._journal = journal
        self._limit_bytes = limit_bytes
        self._shadows: dict[Node, _Shadow] = {}

    def add(self, node: Node, descriptor: int, process: int) -> None:
        """A file was mapped; `descriptor` is a readable duplicate, kept from here on."""
        shadow = self._shadows.get(node)
        size = os.fstat(descriptor).st_size
        total = size + sum(len(other.data) for other in self._shadows.values())
        if shadow is not None or total > self._limit_bytes:
            os.close(descriptor)
            if shadow is None:
                self.miss(node)
            return
        self._shadows[node] = _Shadow(descriptor, process)

    def miss(self, node: Node) -> None:
        """Say that a mapped file can't be compared."""
        limit = f"{self._limit_bytes >> 20} MiB"
        self._journal.miss(node.path, f"written through a shared mapping; mapped files of more than {limit} in all")

    def compare(self) -> None:
        """Record every store since the last comparison."""
        if not self._shadows:  # this runs before every call
            return
        for node, shadow in list(self._shadows.items()):
            now = _read(shadow.descriptor)
            if now != shadow.data:
                self._record(node, shadow, now)

    def wrote(self, node: Node, offset: int, data: bytes) -> None:
        """A call wrote to a file: that is no store."""
        shadow = self._shadows.get(node)
        if shadow is not None and data:
            if len(shadow.data) < offset:
                shadow.data.extend(bytes(offset - len(shadow.data)))
            shadow.data[offset : offset + len(data)] = data

    def truncated(self, node: Node, size: int) -> None:
        """A call set a file's length."""
        shadow = self._shadows.get(node)
        if shadow is None:
            return
        if size > self._limit_bytes:
            self.miss(node)
            os.close(self._shadows.pop(node).descriptor)
        elif size < len(shadow.data):
            del shadow.data[size:]
        else:
            shadow.data.extend(bytes(size - len(shadow.data)))

    def between(self, process: int, start: int, end: int) -> list[Node]:
        """The compared files that a process has mapped, shared, in a range of its addresses."""
        inodes = set()
        with open(f"/proc/{process}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                addresses, permissions, _, _, inode, *_ = line.split(None, 5)
                first, last = (int(text, 16) for text in addresses.split("-"))
                if permissions.endswith("s") and first < end and last > start:
                    inodes.add(int(inode))
        return [node for node in self._shadows if node.key[1] in inodes]

    def sync(self, node: Node) -> None:
        """Make what was stored to a file durable."""
        os.fdatasync(self._shadows[node].descriptor)

    def close(self) -> None:
        """Give the descriptors up."""
        for shadow in self._shadows.values():
            os.close(shadow.descriptor)
        self._shadows.clear()

    def _record(self, node: Node, shadow: _Shadow, now: bytes) -> None:
        old = shadow.data
        start = 0
        while start < len(now):
            end = start
            while end < len(now) and now[end : end + _PAGE_BYTES] != old[end : end + _PAGE_BYTES]:
                end += _PAGE_BYTES
            if end > start:
                first, last = _changed(bytes(old[start:end]), now[start:end])
                self._journal.add_store(shadow.process, node, start + first, now[start + first : start + last])
            start = end + _PAGE_BYTES
        shadow.data = bytearray(now)


def _changed(old: bytes, new: bytes) -> tuple[int, int]:
    """The first and one behind the last byte that differ; `old` may be shorter."""
    first = 0
    last = len(new)
    while first < min(len(old), last) and old[first] == new[first]:
        first += 1
    while last > first and last <= len(old) and old[last - 1] == new[last - 1]:
        last -= 1
    return first, last


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    parts = []
    offset = 0
    while offset < size:
        part = os.pread(descriptor, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
