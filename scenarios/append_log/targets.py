"""A log of checksummed records, appended; start-up keeps the whole records and drops a torn tail."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

LOG = "log"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / LOG).write_bytes(b"")


def with_sync(disk: Path, ack: Ack) -> None:
    _append(disk, ack, sync=True)


def without_sync(disk: Path, ack: Ack) -> None:
    _append(disk, ack, sync=False)


def with_cut_tail(disk: Path, ack: Ack) -> None:
    """A torn tail is cut off before anything is appended to it."""
    whole = sum(len(_line(text.encode())) for text in recover(disk))
    with (disk / LOG).open("r+b", buffering=0) as file:
        file.truncate(whole)
        os.fsync(file.fileno())
    _append(disk, ack, sync=True)


def recover(disk: Path) -> list[str]:
    records = []
    for line in (disk / LOG).read_bytes().split(b"\n")[:-1]:
        text = line.partition(b" ")[2]
        if line + b"\n" != _line(text):
            break
        records.append(text.decode())
    return records


def _append(disk: Path, ack: Ack, *, sync: bool) -> None:
    with (disk / LOG).open("ab", buffering=0) as file:
        for number in range(4):
            text = f"record {number} {'x' * 50}"
            file.write(_line(text.encode()))
            if sync:
                os.fsync(file.fileno())
            ack(text)


def _line(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text), text)
