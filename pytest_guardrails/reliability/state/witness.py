"""A second, tiny memory of how far a store had come, by which a silent loss is noticed.

A database that lost its tail (a damaged log is cut off) or was swapped for an older copy looks healthy. The witness
holds the store's last version, written after each commit, so it is never ahead of an undamaged store: a store behind
its witness has lost commits, and a missing store with a witness was not new.

It also names the last transaction that ended. A writer writes its transaction's name into the lock file when it begins;
where the two differ, one is under way or died, which is for the log alone.

One line in a file of its own, written in place and never truncated:

    guardrails-witness 1 VERSION TRANSACTION CHECKSUM

VERSION is decimal, 20 digits; TRANSACTION an id, in 32 characters; CHECKSUM the CRC-32 of all before it. It is not
synced: it need not survive what the store itself would not; a torn or damaged one counts as absent.
"""

import os
import zlib
from contextlib import suppress

from pytest_guardrails.errors import StorageError
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import sync_file
from pytest_guardrails.reliability.durability.open_files import close_own, open_identity
from pytest_guardrails.reliability.state.model import TransactionRecord, TransactionStatus

__all__ = ["Testimony", "Witness", "note_for", "transaction_under_way", "with_what_is_under_way"]

_HEAD = b"guardrails-witness 1 "
_BYTES = 84


@final
class Testimony(Record):
    """What the witness remembers."""

    version: int
    transaction: str


@final
class _Open:
    """An open file; closed when nobody has it any more, so never in the middle of somebody's call."""

    __slots__ = ("_identity", "number")

    def __init__(self, path: str, flags: int) -> None:
        self.number = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self._identity = open_identity(self.number)

    def __del__(self) -> None:
        if hasattr(self, "_identity"):  # it was opened
            close_own(self.number, self._identity)


@final
class Witness:
    """The witness of one store; written under the store's lock only.

    What this object itself has written or read counts as well: a store that was taken away, or swapped for an older
    copy together with its witness, is noticed by whoever had it open.

    Args:
        path: its file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: _Open | None = None
        self._known: tuple[int, str] | None = None

    def read(self) -> Testimony | None:
        """What it remembers; None when it is missing or damaged."""
        found = self._read_file()
        if self._known is None or (found is not None and found.version >= self._known[0]):
            self._known = found and (found.version, found.transaction)
        return self._known and Testimony(*self._known)

    def write(self, version: int, transaction: str) -> None:
        """Remember; quietly nothing on a full disk, since the old memory stays true."""
        self._known = (version, transaction)
        head = b"%b%020d %-32b" % (_HEAD, version, transaction.encode("ascii")[:32])
        line = _line(head)
        try:
            file = self._open(os.O_RDWR | os.O_CREAT)
            os.pwrite(file.number, line, 0)
        except OSError:
            return

    def sync(self) -> None:
        """Bring what it remembers to the disk, where a store needs that to be so before its next step.

        Raises:
            OSError: it may not be there.
        """
        with suppress(FileNotFoundError):
            file = self._open(os.O_RDWR)
            sync_file(file.number)

    def close(self) -> None:
        """Close its file, and forget what this object has seen."""
        self.look_again()
        self._known = None

    def _read_file(self) -> Testimony | None:
        try:
            file = self._open(os.O_RDWR)
            content = os.pread(file.number, _BYTES, 0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error
        if len(content) != _BYTES or not content.startswith(_HEAD) or _line(content[:74]) != content:
            return None
        return Testimony(int(content[21:41]), content[42:74].decode("ascii").strip())

    def _open(self, flags: int) -> _Open:
        file = self._file
        if file is None:
            file = self._file = _Open(self.path, flags)
        return file

    def look_again(self) -> None:
        """Go by the file's name the next time: the open one may have been moved away, with the store it belongs to."""
        self._file = None


def _line(head: bytes) -> bytes:
    return b"%b %08x\n" % (head, zlib.crc32(head))


_NOTE = "transaction "


def note_for(transaction: str) -> str:
    """What a writer puts into the lock file when its transaction begins."""
    return _NOTE + transaction


def transaction_under_way(note: str, ended: Testimony | None) -> str | None:
    """The id of a transaction that began and did not end, so far as anybody wrote down.

    Args:
        note: what stands in the lock file.
        ended: what the witness remembers.
    """
    if not note.startswith(_NOTE):
        return None
    began = note[len(_NOTE) :]
    return None if ended is not None and ended.transaction == began else began


def with_what_is_under_way(
    lines: list[TransactionRecord], note: str, ended: Testimony | None, wall: float
) -> list[TransactionRecord]:
    """The log, newest first, with the transaction that is under way in front, if there is one.

    Args:
        lines: of the log.
        note: what stands in the lock file.
        ended: what the witness remembers.
        wall: now, in seconds since 1970-01-01 UTC.
    """
    began = transaction_under_way(note, ended)
    if began is None or any(line.id == began for line in lines):
        return lines
    return [TransactionRecord(id=began, status=TransactionStatus.PENDING, version=None, at=wall), *lines]
