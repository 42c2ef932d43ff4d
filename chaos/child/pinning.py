"""Has the kernel copy, as it forks, the pages of memory that the child is going to write anyway.

Memory shared by a fork is copied a page at a time when one of the two first writes there, and the other one is
interrupted as well when its turn comes: about 1 us each, beside the copying. But a page that hardware may write to at
any moment, such as a registered buffer of io_uring, can't be shared, so `fork` copies it at once. Registering the
pages that nearly every child writes saves all of those interruptions (measured: a fifth of the time of a small
child). Nothing is ever read or written by way of the ring.

Linux, where io_uring may be used; elsewhere forks go on as they did. Standard library only, and loaded when asked for,
as forks must stay cheap. Read `chaos/explore/hot_pages.py` next, which finds the pages.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from chaos.child.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["pin"]

_SETUP, _REGISTER = 425, 427  # system calls that have the same number on each kind of machine that we know
_BUFFERS = 0  # what is registered
_ENTRIES = 1
_PARAMETERS_BYTES = 120
_WORD_BYTES = 8
_MOST_RANGES = 1024  # the most buffers that older kernels take


def pin(ranges: Sequence[tuple[int, int]]) -> bool:
    """Have each fork of this process copy some memory at once, from now on.

    Args:
        ranges: addresses and lengths in bytes; given once. With none, this gets ready: what has to be loaded changes
            which pages are written.

    Returns:
        Whether that is so; if not, everything is as it was.
    """
    if len(ranges) > _MOST_RANGES:
        return False
    try:
        ctypes: Any = import_module("ctypes")
        call = ctypes.CDLL(None).syscall
    except Exception:  # noqa: BLE001 - the target may have put anything in their place
        return False
    gc.freeze()  # else each child's collector would look through what was just loaded
    ring = call(_SETUP, _ENTRIES, ctypes.create_string_buffer(_PARAMETERS_BYTES))
    if ring < 0:
        return False
    buffers = b"".join(number.to_bytes(_WORD_BYTES, sys.byteorder) for one in ranges for number in one)
    if ranges and call(_REGISTER, ring, _BUFFERS, buffers, len(ranges)) == 0:
        return True  # for as long as the ring is open, which nobody closes
    os.close(ring)
    return not ranges
