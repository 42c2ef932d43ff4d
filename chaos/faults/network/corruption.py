"""Seeded changes of bytes in a stream, the same however the stream is cut into pieces. Pure; read `proxy.py` next."""

from collections.abc import Iterator
from math import log, log1p
from random import Random
from typing import final

__all__ = ["Corrupter"]


@final
class Corrupter:
    """Changes bytes of one stream.

    Attributes:
        flipped: how many bytes it has changed.
    """

    def __init__(self, rate: float, seed: str) -> None:
        """Change each byte with the probability `rate`, above 0 and at most 1."""
        self.flipped = 0
        self._offset = 0
        self._flips = _flips(rate, Random(seed))  # noqa: S311 - reproducible on purpose
        self._next = next(self._flips)

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the stream, changed."""
        changed = bytearray(data)
        end = self._offset + len(data)
        while self._next[0] < end:
            offset, mask = self._next
            changed[offset - self._offset] ^= mask
            self.flipped += 1
            self._next = next(self._flips)
        self._offset = end
        return bytes(changed)


def _flips(rate: float, random: Random) -> Iterator[tuple[int, int]]:
    """Offsets that grow, and the bits to turn there: never none of them."""
    offset = -1
    while True:
        # The gap between two hits of independent draws is geometric: one draw a hit instead of one a byte.
        offset += 1 if rate == 1 else 1 + int(log(1.0 - random.random()) / log1p(-rate))
        yield offset, random.randrange(1, 256)
