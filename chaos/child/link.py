"""Messages between two processes over a stream socket: each behind its length (8 bytes, little endian), or as a line.

Lines are for a strict to and fro of small messages without line breaks: nothing is read ahead, so nothing is lost.

Standard library only, and little of it: this is loaded where forks must stay cheap. Read `forker.py` next.
"""

import os

__all__ = ["read_line", "read_message", "send_all", "send_message"]

_LENGTH_BYTES = 8
_CHUNK_BYTES = 1 << 18
_LINE_BYTES = 256  # a buffer for more would be mapped, grown and unmapped again with every line


def send_all(link: int, content: bytes) -> None:
    """Send bytes, waiting as long as it takes.

    Raises:
        OSError: the other end is gone.
    """
    sent = os.write(link, content)
    while sent < len(content):
        sent += os.write(link, memoryview(content)[sent:])


def read_line(link: int, begun: bytes = b"") -> bytes:
    """The line under way, its end included, `begun` being what was read of it; b"" when the other end is gone."""
    line = begun
    while line[-1:] != b"\n":
        try:
            more = os.read(link, _LINE_BYTES)
        except ConnectionResetError:
            return b""
        if not more:
            return b""
        line += more
    return line


def send_message(link: int, content: bytes) -> None:
    """Send a message, waiting as long as it takes.

    Raises:
        OSError: the other end is gone.
    """
    send_all(link, len(content).to_bytes(_LENGTH_BYTES, "little") + content)


def read_message(link: int) -> bytes | None:
    """The next message, waited for; None when the other end is gone."""
    head = _exactly(link, _LENGTH_BYTES)
    return None if head is None else _exactly(link, int.from_bytes(head, "little"))


def _exactly(link: int, size: int) -> bytes | None:
    try:
        first = os.read(link, min(_CHUNK_BYTES, size))
        if len(first) == size:
            return first
        buffer = bytearray(first)
        while first and len(buffer) < size:
            first = os.read(link, min(_CHUNK_BYTES, size - len(buffer)))
            buffer += first
    except ConnectionResetError:
        return None
    return bytes(buffer) if len(buffer) == size else None
