"""Messages between two processes over a stream socket: each behind its length (8 bytes, little endian).

Standard library only, and little of it: this is loaded where forks must stay cheap. Read `forker.py` next.
"""

import os

__all__ = ["read_message", "send_message"]

_LENGTH_BYTES = 8
_CHUNK_BYTES = 1 << 18


def send_message(link: int, content: bytes) -> None:
    """Send a message, waiting as long as it takes.

    Raises:
        OSError: the other end is gone.
    """
    message = len(content).to_bytes(_LENGTH_BYTES, "little") + content
    sent = os.write(link, message)
    while sent < len(message):
        sent += os.write(link, memoryview(message)[sent:])


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
