"""Finds NaN and infinities inside files: JSON and JSON lines, NumPy arrays (.npy, .npz), SQLite databases.

Pure functions of a name and bytes; SQLite is opened on a private copy. Content that can't be read as its kind has no
number in it and yields nothing: whether a torn file matters is for recovery to say. Limits: SQLite stores NaN as
NULL, so only infinities can be seen there; pickled object arrays are never loaded. What reads a kind is imported with
the first file of it. Read `finite.py` next.
"""

# ruff: noqa: PLC0415 - see above

import array
import ast
import io
import json
import math
import re
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

__all__ = ["non_finite_places"]

_JSON_NAMES = (".json",)
_JSON_LINES_NAMES = (".jsonl", ".ndjson")
_SQLITE_MAGIC = b"SQLite format 3\x00"
_SQLITE_COMPANIONS = ("-wal", "-journal")
_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGIC = b"PK\x03\x04"
_LIMIT_BYTES = 1 << 28  # an array member above 256 MiB is more likely a zip bomb than a state
_PLACES = 5  # per file: enough to see the pattern
_LARGEST = sys.float_info.max
_FLOATS = {"f8": ("d", 8), "f4": ("f", 4), "c16": ("d", 8), "c8": ("f", 4)}


def non_finite_places(name: str, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Where the file `name` of the tree `files` holds NaN or an infinity, at most a handful of places.

    Args:
        name: which file.
        files: the tree, path -> content; a database is read together with its journal files.
    """
    content = files[name]
    if content.startswith(_SQLITE_MAGIC):
        found = _in_sqlite(name, files)
    elif content.startswith(_NPY_MAGIC):
        found = _in_npy(content)
    elif content.startswith(_ZIP_MAGIC) and name.endswith(".npz"):
        found = _in_npz(content)
    elif name.endswith(_JSON_LINES_NAMES):
        found = _in_json_lines(content)
    elif name.endswith(_JSON_NAMES) or content[:1] in (b"{", b"["):
        found = _in_json(content)
    else:
        return ()
    return tuple(place for _, place in zip(range(_PLACES), found, strict=False))


def _in_json(content: bytes) -> Iterator[str]:
    try:
        yield from list(_in_document(json.loads(content), "$"))
    except (ValueError, RecursionError):
        return


def _in_json_lines(content: bytes) -> Iterator[str]:
    for number, line in enumerate(content.splitlines(), start=1):
        for place in _in_json(line):
            yield f"line {number}: {place}"


def _in_document(document: Any, place: str) -> Iterator[str]:
    if isinstance(document, float):
        if not math.isfinite(document):
            yield f"{place} = {document}"
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from _in_document(value, f"{place}.{key}")
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _in_document(value, f"{place}[{index}]")


def _in_npz(content: bytes) -> Iterator[str]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy") and member.file_size <= _LIMIT_BYTES:
                    for place in _in_npy(archive.read(member)):
                        yield f"{member.filename.removesuffix('.npy')}: {place}"
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError):
        return


def _in_npy(content: bytes) -> Iterator[str]:
    """Format: magic (6), version (2), header length (2 or 4, little endian), a dict literal, raw items."""
    try:
        width = 2 if content[6] == 1 else 4
        length = int.from_bytes(content[8 : 8 + width], "little")
        header = ast.literal_eval(content[8 + width : 8 + width + length].decode("latin-1"))
        data = content[8 + width + length :]
        fields = _fields(header["descr"])
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError, RecursionError, MemoryError):
        return
    item_size = sum(size for _, _, size, _ in fields)
    start = 0
    for label, code, size, swap in fields:
        if code:
            yield from _in_column(data, label, code, (start, size, item_size), swap)
        start += size


def _fields(description: Any) -> list[tuple[str, str, int, bool]]:
    """(label, array type code or "" when not a float, size in bytes, byte order is foreign) of each field."""
    if isinstance(description, list):
        found = []
        for entry in description:
            (one,) = _fields(entry[1]) if isinstance(entry[1], str) else [_opaque()]
            count = math.prod(entry[2]) if len(entry) > 2 else 1
            found.append((f"{entry[0]}", one[1], one[2] * count, one[3]))
        return found
    match = re.fullmatch(r"([<>|=])?([a-zA-Z])(\d+)", description)
    if match is None:
        return [_opaque()]
    order, kind, size = match.group(1), match.group(2), int(match.group(3))
    size *= 4 if kind == "U" else 1
    code, _ = _FLOATS.get(f"{kind}{size}", ("e" if kind == "f" and size == 2 else "", 0))
    return [("", code, size, order in "<>" and (order == "<") != (sys.byteorder == "little"))]


def _opaque() -> tuple[str, str, int, bool]:
    raise ValueError("a nested field: its layout is not followed")


def _in_column(data: bytes, label: str, code: str, span: tuple[int, int, int], swap: bool) -> Iterator[str]:
    start, size, item_size = span
    items = len(data) // item_size if item_size else 0
    whole = data[: items * item_size]
    column = (
        whole
        if size == item_size
        else b"".join(whole[i + start : i + start + size] for i in range(0, len(whole), item_size))
    )
    for index, number in enumerate(_numbers(column, code, swap)):
        if not math.isfinite(number):
            yield f"{label or 'array'}[{index}] = {number}"


def _numbers(column: bytes, code: str, swap: bool) -> Sequence[float]:
    if code == "e":
        order = "<" if (sys.byteorder == "little") != swap else ">"
        numbers: tuple[float, ...] = struct.unpack(f"{order}{len(column) // 2}e", column[: len(column) // 2 * 2])
        return () if math.isfinite(sum(numbers)) else numbers
    packed: array.array[float] = array.array(code)
    packed.frombytes(column[: len(column) // packed.itemsize * packed.itemsize])
    if swap:
        packed.byteswap()
    # One pass in C settles the usual case: a sum is finite only when each of its terms is.
    return () if math.isfinite(sum(packed)) else packed


def _in_sqlite(name: str, files: Mapping[str, bytes]) -> Iterator[str]:
    import sqlite3

    with tempfile.TemporaryDirectory(prefix="chaos-finite-") as folder:
        copy = Path(folder) / "copy"
        for suffix in ("", *_SQLITE_COMPANIONS):
            if name + suffix in files:
                Path(f"{copy}{suffix}").write_bytes(files[name + suffix])
        try:
            with closing(sqlite3.connect(copy)) as database:
                yield from _in_database(database)
        except sqlite3.Error:
            return


def _in_database(database: "sqlite3.Connection") -> Iterator[str]:
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for column in [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]:
            cell = _quoted(column)
            query = (
                f"SELECT count(*), max({cell}) FROM {_quoted(table)} "  # noqa: S608 - both names are quoted
                f"WHERE typeof({cell}) = 'real' AND abs({cell}) > ?"
            )
            count, example = database.execute(query, (_LARGEST,)).fetchone()
            if count:
                yield f"{table}.{column}: {example} in {count} row{'s' if count > 1 else ''}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
