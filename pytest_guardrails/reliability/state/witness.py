"""A second, tiny memory of how far a store had come, by which a silent loss is noticed.

A database that lost its tail (a damaged log is cut off) or was swapped for an older copy looks healthy. The witness
holds the store's last version, written after each commit, so it is never ahead of an undamaged store: a store behind
its witness has lost commits, and a missing store with a witness was not new.

It also names the transaction that is under way: the next writer, who has the store's lock, thereby knows that one died.

One line in a file of its own, written in place and never truncated:

    guardrails-witness 1 VERSION STATE TRANSACTION CHECKSUM

VERSION is decimal, 20 digits; STATE "p" while the transaction is pending, "e" when it ended; TRANSACTION its id, in 32
characters; CHECKSUM the CRC-32 of all before it. It is not synced: it need not survive what the store itself would
not; a torn or damaged one counts as absent.
"""

import os
import zlib
from contextlib import suppress
from typing import NamedTuple, final

from pytest_guardrails.errors import StorageError

__all__ = ["Testimony", "Witness"]

_HEAD = b"guardrails-witness 1 "
_BYTES = 86


@final
class Testimony(NamedTuple):
    """What the witness remembers."""

    version: int
    transaction: str
    pending: bool


@final
class Witness:
    """The witness of one store; used under the store's lock only.

    Args:
        path: its file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> Testimony | None:
        """What it remembers; None when it is missing or damaged."""
        try:
            content = os.pread(self._open(os.O_RDWR), _BYTES, 0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error
        if len(content) != _BYTES or not content.startswith(_HEAD) or _line(content[:76]) != content:
            return None
        return Testimony(int(content[21:41]), content[44:76].decode("ascii").strip(), content[42:43] == b"p")

    def write(self, version: int, transaction: str, *, pending: bool) -> None:
        """Remember; quietly nothing on a full disk, since the old memory stays true."""
        head = b"%b%020d %b %-32b" % (_HEAD, version, b"p" if pending else b"e", transaction.encode("ascii")[:32])
        with suppress(OSError):
            os.pwrite(self._open(os.O_RDWR | os.O_CREAT), _line(head), 0)

    def _open(self, flags: int) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, flags | os.O_CLOEXEC, 0o666)
        return self._descriptor

    def close(self) -> None:
        """Close its file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def _line(head: bytes) -> bytes:
    return b"%b %08x\n" % (head, zlib.crc32(head))
