"""Files with holes: what is not on the disk is not read, nor held in memory."""

import os
from pathlib import Path

from chaos.disk import Content, read_tree
from chaos.disk.content import PIECE_BYTES


def sparse(path: Path, size: int, *extents: tuple[int, bytes]) -> None:
    with path.open("wb") as file:
        for offset, data in extents:
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def test_a_hole_is_not_read_and_shares_one_piece_of_zeroes(tmp_path: Path) -> None:
    size = 40 * PIECE_BYTES
    sparse(tmp_path / "s", size, (0, b"first"), (20 * PIECE_BYTES, b"middle"), (30 * PIECE_BYTES - 3, b"across"))
    content = read_tree(os.fspath(tmp_path)).node("s").content
    assert bytes(content) == (tmp_path / "s").read_bytes()
    assert content == Content.of((tmp_path / "s").read_bytes())
    written = [index for index, piece in enumerate(content.pieces()) if piece is not None]
    assert written == [0, 20, 29, 30]


def test_many_gigabytes_of_nothing_are_read_at_once(tmp_path: Path) -> None:
    sparse(tmp_path / "s", 1 << 36, ((1 << 35) + 1, b"x"))
    content = read_tree(os.fspath(tmp_path)).node("s").content
    assert content.size == 1 << 36
    assert content.read((1 << 35), 3) == b"\0x\0"
    assert sum(piece is not None for piece in content.pieces()) == 1
