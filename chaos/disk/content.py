"""A file's bytes as immutable blocks: one write to a large file copies what it touches, and re-hashes only that.

Blocks of 4 KiB stand in chunks of 64; every block is full but the file's last one. A hole is a run of one shared
block of zeroes, so sparse files cost little. The digest depends on the bytes alone, not on how they were written.
Read `tree.py` next.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import final

__all__ = ["BLOCK_BYTES", "DIGEST_BYTES", "PIECE_BYTES", "Content"]

BLOCK_BYTES = 4096
# 128 bits: with a million states the chance of one accidental equality is below 1e-26.
DIGEST_BYTES = 16
_SPAN = 64
PIECE_BYTES = BLOCK_BYTES * _SPAN
_ZERO_BLOCK = bytes(BLOCK_BYTES)


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


@final
class _Chunk:
    """Up to 64 blocks, each with its digest once that was asked for."""

    __slots__ = ("blocks", "digest", "hashes")

    def __init__(self, blocks: list[bytes], hashes: list[bytes | None]) -> None:
        self.blocks = blocks
        self.hashes = hashes
        self.digest: bytes | None = None

    def hashed(self) -> bytes:
        if self.digest is None:
            hashes = self.hashes
            for index, known in enumerate(hashes):
                if known is None:
                    hashes[index] = _hash(self.blocks[index])
            self.digest = hashes[0] if len(hashes) == 1 else _hash(b"".join(hashes))  # type: ignore[arg-type]
        assert self.digest is not None
        return self.digest


_ZERO_CHUNK = _Chunk([_ZERO_BLOCK] * _SPAN, [_hash(_ZERO_BLOCK)] * _SPAN)


@final
class Content:
    """The bytes of one file; never changes.

    Attributes:
        size: its length, in bytes.
    """

    __slots__ = ("_chunks", "_digest", "size")

    def __init__(self, size: int = 0, chunks: tuple[_Chunk, ...] = ()) -> None:
        self.size = size
        self._chunks = chunks
        self._digest: bytes | None = None

    @classmethod
    def of(cls, data: bytes) -> "Content":
        """The content that holds exactly `data`."""
        return _EMPTY.write(0, data)

    @property
    def digest(self) -> bytes:
        """16 bytes that are equal where, and only where, the bytes are equal."""
        if self._digest is None:
            joined = b"".join([chunk.hashed() for chunk in self._chunks])
            self._digest = _hash(self.size.to_bytes(8, "little") + joined)
        return self._digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and self.size == other.size and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __bytes__(self) -> bytes:
        return b"".join([block for chunk in self._chunks for block in chunk.blocks])

    def __repr__(self) -> str:
        return f"Content({self.size} bytes)"

    def pieces(self) -> Iterator[bytes | None]:
        """The bytes in pieces of `PIECE_BYTES`, the last one shorter; None stands for a whole piece of zeroes."""
        for chunk in self._chunks:
            if chunk is _ZERO_CHUNK:
                yield None
            else:
                yield chunk.blocks[0] if len(chunk.blocks) == 1 else b"".join(chunk.blocks)

    def block(self, index: int) -> bytes:
        """Block `index` as far as the file reaches; empty beyond it."""
        if index * BLOCK_BYTES >= self.size:
            return b""
        return self._chunks[index // _SPAN].blocks[index % _SPAN]

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; a whole block is not copied."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        start = offset - first * BLOCK_BYTES
        block = self.block(first) if first == last else b"".join([self.block(n) for n in range(first, last + 1)])
        return block if start == 0 and len(block) == end - offset else block[start : start + end - offset]

    def write(self, offset: int, data: bytes) -> "Content":
        """This content with `data` at `offset`; a gap before it reads as zeroes, and no data changes nothing."""
        if not data:
            return self
        base = self if offset <= self.size else self.resized(offset)
        end = offset + len(data)
        chunks = list(base._chunks)
        first, last = offset // PIECE_BYTES, (end - 1) // PIECE_BYTES
        for number in range(first, last + 1):
            start = number * PIECE_BYTES
            low, high = max(offset, start), min(end, start + PIECE_BYTES)
            piece = data if high - low == len(data) else data[low - offset : high - offset]
            if number < len(chunks):
                chunks[number] = _patched(chunks[number], low - start, piece)
            else:
                chunks.append(_patched(_Chunk([], []), low - start, piece))
        return Content(max(base.size, end), tuple(chunks))

    def resized(self, size: int) -> "Content":
        """This content cut, or lengthened with zeroes, to `size` bytes."""
        if size == self.size:
            return self
        return self._cut(size) if size < self.size else self._grown(size)

    def _cut(self, size: int) -> "Content":
        whole, rest = divmod(size, PIECE_BYTES)
        chunks = list(self._chunks[:whole])
        if rest:
            old = self._chunks[whole]
            full, tail = divmod(rest, BLOCK_BYTES)
            blocks, hashes = old.blocks[:full], old.hashes[:full]
            if tail:
                blocks.append(old.blocks[full][:tail])
                hashes.append(None)
            chunks.append(_Chunk(blocks, hashes))
        return Content(size, tuple(chunks))

    def _grown(self, size: int) -> "Content":
        chunks = list(self._chunks)
        # Fill the last chunk, then add shared chunks of zeroes, then what is left over.
        filled = min(size, len(chunks) * PIECE_BYTES)
        if filled > self.size:
            at = self.size - (len(chunks) - 1) * PIECE_BYTES
            chunks[-1] = _patched(chunks[-1], at, bytes(filled - self.size))
        more, rest = divmod(size - filled, PIECE_BYTES)
        chunks.extend([_ZERO_CHUNK] * more)
        if rest:
            chunks.append(_patched(_Chunk([], []), 0, bytes(rest)))
        return Content(size, tuple(chunks))


def _patched(chunk: _Chunk, at: int, data: bytes) -> _Chunk:
    """The chunk with `data` at `at`, which is at most its present length."""
    blocks, hashes = chunk.blocks.copy(), chunk.hashes.copy()
    end = at + len(data)
    for index in range(at // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
        start = index * BLOCK_BYTES
        low, high = max(at, start), min(end, start + BLOCK_BYTES)
        piece = data if high - low == len(data) else data[low - at : high - at]
        if index == len(blocks):
            blocks.append(piece)
            hashes.append(None)
            continue
        old = blocks[index]
        if high - low < BLOCK_BYTES:
            piece = old[: low - start] + piece + old[high - start :]
        blocks[index] = piece
        hashes[index] = None
    return _Chunk(blocks, hashes)


_EMPTY = Content()
