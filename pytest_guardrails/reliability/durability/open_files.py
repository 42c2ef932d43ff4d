"""Whether a descriptor still is the file that it was opened for, and that file still has its path.

A program may close what it did not open, as those do that become daemons, and the next file that it opens gets the
number. Who goes on by the number alone writes into that file, and closes it. Read `seats.py` for a user.
"""

import os
from contextlib import suppress

__all__ = ["close_own", "link_of", "open_identity", "read_link"]

_GONE = " (deleted)"  # what Linux adds to the name of an open file that has none any more


def link_of(descriptor: int, path: str) -> str:
    """Where the kernel tells an open file's path of now; "" where it doesn't.

    Args:
        descriptor: of the file.
        path: the file's resolved path of this moment.
    """
    link = f"/proc/self/fd/{descriptor}"
    return link if read_link(link) == path and not path.endswith(_GONE) else ""


def read_link(link: str) -> str:
    """What stands at such a place; "" if there is no such descriptor."""
    try:
        return os.readlink(link)
    except OSError:  # not Linux, or no /proc here
        return ""


def open_identity(descriptor: int) -> "tuple[int, int] | None":
    """Which file it is, whatever name that has by now; None if no file is open under the number."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def close_own(descriptor: int, identity: "tuple[int, int] | None") -> None:
    """Close it, unless it is closed already or its number another file's by now."""
    if open_identity(descriptor) == identity:
        with suppress(OSError):
            os.close(descriptor)
