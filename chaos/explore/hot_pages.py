"""Which pages of memory the forks of a process write, so that it can have them copied at once.

The kernel says of each page whether a process has it alone (`/proc/PID/pagemap`). A fork has alone what it wrote
itself, and the originals of what its parent wrote since: both are worth copying at once, as both are going to be
copied. The fork must stand still meanwhile. Linux. Read `stages.py` next.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

__all__ = ["ranges", "written"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_WORD_BYTES = 8
_MOST_PAGES = 1 << 18  # 1 GB: a look at more takes longer than it can save, however little of that is there
_IS_THERE, _IS_SHARED, _IS_ALONE = 1 << 63, 1 << 61, 1 << 56


def written(child: int, parent: int) -> frozenset[int]:
    """Addresses of the pages that either wrote since the fork, so far as the parent has them; none if it can't be told.

    Args:
        child: a process that stands still.
        parent: the process that it is a fork of, which has not forked since.
    """
    with suppress(OSError):
        before = {page for page, _ in _pages(parent)}
        return frozenset(page for page, word in _pages(child) if word & _IS_ALONE and page in before)
    return frozenset()


def ranges(pages: Iterable[int]) -> list[tuple[int, int]]:
    """The same memory as addresses and lengths in bytes, neighbours put together."""
    found: list[tuple[int, int]] = []
    for page in sorted(pages):
        if found and sum(found[-1]) == page:
            found[-1] = (found[-1][0], found[-1][1] + _PAGE_BYTES)
        else:
            found.append((page, _PAGE_BYTES))
    return found


def _pages(pid: int) -> Iterator[tuple[int, int]]:
    """The pages that a process may write and shares with no file: the address, and what the kernel says."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as table:
        for begin, end in _spans(pid):
            content = os.pread(table.fileno(), (end - begin) * _WORD_BYTES, begin * _WORD_BYTES)
            for page, (word,) in enumerate(struct.iter_unpack("Q", content), begin):
                if word & _IS_THERE and not word & _IS_SHARED:
                    yield page * _PAGE_BYTES, word


def _spans(pid: int) -> list[tuple[int, int]]:
    """Where such memory may be, as the numbers of its first page and of the one after it; none if that is too much."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        found = [line.split(maxsplit=2)[:2] for line in file]
    own = (span.split(b"-") for span, rights in found if rights.startswith(b"rw") and rights.endswith(b"p"))
    spans = [(int(begin, 16) // _PAGE_BYTES, int(end, 16) // _PAGE_BYTES) for begin, end in own]
    return spans if sum(end - begin for begin, end in spans) <= _MOST_PAGES else []
