"""NaN and infinities inside files."""

import io
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy_format

from chaos.oracles.contents import non_finite_places


def scan(name: str, content: bytes) -> tuple[str, ...]:
    return non_finite_places(name, {name: content})


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    stream = io.BytesIO()
    npy_format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_numbers_that_are_not_finite_are_found_with_their_place(token: str) -> None:
    (place,) = scan("a.json", f'{{"runs": [1.0, {{"loss": {token}}}]}}'.encode())
    assert place.startswith("$.runs[1].loss = ")


def test_words_inside_json_strings_are_not_numbers() -> None:
    assert not scan("a.json", b'{"NaN": "Infinity"}')


def test_torn_json_holds_no_number() -> None:
    assert not scan("a.json", b'{"loss": NaN')


def test_json_lines_are_told_by_line_and_torn_lines_passed() -> None:
    assert scan("log.jsonl", b'{"a": 1}\n{"a": NaN}\n{"a": Na') == ("line 2: $.a = nan",)


def test_json_is_told_by_its_content_too() -> None:
    assert scan("state", b"[NaN]")
    assert not scan("notes.txt", b"NaN")


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", ">f2", "<c16", ">c8"])
def test_numpy_arrays_of_every_float_kind(dtype: str) -> None:
    array = np.zeros(1000, dtype=dtype)
    assert not scan("a.npy", npy(array))
    array[700] = np.inf
    assert len(scan("a.npy", npy(array))) == 1


def test_large_finite_numbers_whose_sum_overflows_are_finite() -> None:
    assert not scan("a.npy", npy(np.full(10, 1.7e308)))


def test_numpy_structured_arrays_name_the_field() -> None:
    array = np.zeros(3, dtype=[("step", "<i4"), ("name", "<U3"), ("loss", "<f8", (2,)), ("tail", "<f4")])
    array["loss"][1, 1] = math.nan
    assert scan("a.npy", npy(array)) == ("loss[3] = nan",)


def test_numpy_integers_hold_no_nan() -> None:
    assert not scan("a.npy", npy(np.arange(5)))


def test_numpy_archives_name_the_member() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, weights=np.array([1.0, np.nan]))
    assert scan("a.npz", stream.getvalue()) == ("weights: array[1] = nan",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_cut_at_any_byte_never_fail(name: str) -> None:
    stream = io.BytesIO()
    (np.savez if name.endswith("z") else np.save)(stream, np.array([1.0, 2.0]))
    content = stream.getvalue()
    for length in range(len(content)):
        scan(name, content[:length])


def database(path: Path, value: float, mode: str = "DELETE") -> dict[str, bytes]:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute('CREATE TABLE "odd ""name" (id INTEGER, "the loss" REAL)')
    connection.execute('INSERT INTO "odd ""name" VALUES (1, 0.5), (2, ?)', (value,))
    connection.commit()
    tree = {f.name: f.read_bytes() for f in path.parent.iterdir()}
    connection.close()
    return tree


def test_sqlite_columns_are_searched(tmp_path: Path) -> None:
    tree = database(tmp_path / "a.db", math.inf)
    assert non_finite_places("a.db", tree) == ('odd "name.the loss: inf in 1 row',)


def test_sqlite_is_read_together_with_its_log(tmp_path: Path) -> None:
    tree = database(tmp_path / "a.db", -math.inf, "WAL")
    assert "a.db-wal" in tree
    assert non_finite_places("a.db", tree)


def test_sqlite_with_finite_numbers_passes(tmp_path: Path) -> None:
    assert not non_finite_places("a.db", database(tmp_path / "a.db", 1.7e308))


def test_a_damaged_database_is_not_this_oracles_matter(tmp_path: Path) -> None:
    content = database(tmp_path / "a.db", math.inf)["a.db"]
    assert not scan("a.db", content[:100] + b"\xff" * 400)


def test_compressed_arrays_with_any_byte_flipped_never_fail() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, weights=np.arange(20.0))
    content = stream.getvalue()
    for position in range(len(content)):
        scan("a.npz", content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])


@pytest.mark.parametrize("depth", [960, 990, 100_000])
def test_json_nested_as_deep_as_the_stack_never_fails(depth: int) -> None:
    scan("a.json", b"[" * depth + b"NaN" + b"]" * depth)
