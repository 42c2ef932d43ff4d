"""The trace file: a recorded run on disk, to be explored later under any model without running the workload again.

It is data, never code: nothing in it is executed, no path in it is opened. Format 3, in words:

- It starts with the line `pytest-guardrails trace 3` and a line feed; the number is the format's version.
- Records follow, each a head of 13 bytes (kind, 1; length of the body, 8; CRC-32 of kind, length and body, 4;
  little-endian) and its body. Kinds:

  ====  ====================================================================================================
  `T`   the trace's own fields, JSON object; always first, and once
  `B`   a blob, the bytes of a write or of an initial file; blobs are numbered from 0, and equal ones share one
  `Z`   a blob compressed with zlib: its length in full (8 bytes, little-endian), then the stream
  `S`   a stack of source lines, JSON array of [file, line, function], innermost first; numbered likewise
  `I`   one initial node, JSON object
  `O`   one operation, JSON object
  `A`   one acknowledgement, JSON object
  `E`   the end, JSON object: `records`, how many came before it, and `sha256` of all bytes before it
  ====  ====================================================================================================

- Blobs and stacks come before what refers to them by number (fields `data` and `source`). Objects have the fields
  of the dataclasses in `model.py`; a field that has its default value is left out. Operations come in their order,
  `seq` is implied. Nothing follows the end record.
- JSON is UTF-8 with surrogates encoded like other characters: Linux file names are bytes, Python shows what is not
  UTF-8 in them as lone surrogates, and these come back exactly.

The same trace gives the same bytes. A file is refused as a whole when any of it is missing, damaged or unknown,
also a field that this version does not know: a newer program's file must not be half understood. Any change of the
format, or of the fields in `model.py`, makes a new version.
"""

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar, final

from chaos.errors import UsageError
from chaos.trace.model import Ack, Frame, InitialNode, Kind, Mark, NodeType, Op, Sync, Trace, Unmeasured

__all__ = ["FORMAT_VERSION", "load", "save"]

FORMAT_VERSION = 3
_MAGIC = b"pytest-guardrails trace "
_HEADER = _MAGIC + b"%d\n" % FORMAT_VERSION
_HEADER_LIMIT = len(_MAGIC) + 20
_HEAD = struct.Struct("<cQI")
_LENGTH = struct.Struct("<Q")
_COMPRESS_FROM = 64  # bytes; below, a zlib stream saves nothing worth its head
_LEVEL = 1  # of zlib: a trace is written once and often, so speed counts
_PROBE_EVERY = 16  # when blobs stop shrinking (random or compressed payloads), one in so many is still tried
_AGAIN = "record the workload again"

_Stack = tuple[Frame, ...]
_T = TypeVar("_T")


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace; a file of that name is replaced in one step, or stays as it was.

    Raises:
        UsageError: the file can't be written there.
    """
    try:
        with _replacing(Path(path)) as file:
            writer = _Writer(file)
            writer.write(trace)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"the trace can't be written to {os.fspath(path)}: {reason}", "choose another place"
        ) from error


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace.

    Raises:
        UsageError: there is no such file, it is no trace, it is damaged, or a newer program wrote it. The message
            says where in the file, in bytes from its start.
    """
    try:
        with open(path, "rb") as file:
            return _Reader(file, os.fspath(path)).read()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the trace {os.fspath(path)} can't be read: {reason}", "check its path") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends well, durably; what is no file keeps its place."""
    if path.exists() and not path.is_file():  # a pipe or a device, which a file in its place would do away with
        with open(path, "wb") as stream:
            yield stream
        return
    folder = path.resolve().parent
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
    try:
        with open(descriptor, "wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path.resolve())
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder can't be opened, and a rename is as durable as it gets
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@final
class _Writer:
    """Turns a trace into records, one at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._records = 0
        self._blobs: dict[bytes, int] = {}
        self._stacks: dict[_Stack, int] = {}
        self._stubborn = 0  # blobs in a row that did not shrink

    def write(self, trace: Trace) -> None:
        self._put(_HEADER)
        self._json(b"T", _plain(trace, skip={"initial", "ops", "acks"}))
        for node in trace.initial:
            self._json(b"I", self._refer(_plain(node), node.data, ()))
        for op in trace.ops:
            self._json(b"O", self._refer(_plain(op, skip={"seq"}), op.data, op.source))
        for ack in trace.acks:
            self._json(b"A", self._refer(_plain(ack), b"", ack.source))
        end = {"records": self._records, "sha256": self._digest.hexdigest()}
        self._json(b"E", end)

    def _refer(self, fields: dict[str, Any], data: bytes, source: _Stack) -> dict[str, Any]:
        """Put numbers for the bytes and the source lines, which are written first if they are new."""
        if data:
            number = self._blobs.get(data)
            if number is None:
                number = self._blobs[data] = len(self._blobs)
                self._blob(data)
            fields["data"] = number
        if source:
            number = self._stacks.get(source)
            if number is None:
                number = self._stacks[source] = len(self._stacks)
                self._json(b"S", [[frame.file, frame.line, frame.function] for frame in source])
            fields["source"] = number
        return fields

    def _blob(self, data: bytes) -> None:
        if len(data) >= _COMPRESS_FROM and (self._stubborn < _PROBE_EVERY or len(self._blobs) % _PROBE_EVERY == 0):
            packed = zlib.compress(data, _LEVEL)
            if len(packed) < len(data) * 7 // 8:
                self._stubborn = 0
                self._record(b"Z", _LENGTH.pack(len(data)) + packed)
                return
            self._stubborn += 1
        self._record(b"B", data)

    def _json(self, kind: bytes, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self._record(kind, text.encode("utf-8", "surrogatepass"))

    def _record(self, kind: bytes, body: bytes) -> None:
        self._put(_HEAD.pack(kind, len(body), _check(kind, body)))
        self._put(body)
        self._records += 1

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


@final
class _Reader:
    """Reads records one at a time, and is as strict as the module's docstring says."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()
        self._position = 0  # of the record that is being read
        self._next = 0
        self._records = 0
        self._blobs: list[bytes] = []
        self._stacks: list[_Stack] = []
        self._frames: dict[Frame, Frame] = {}

    def read(self) -> Trace:
        self._header()
        found: dict[bytes, list[Any]] = {b"I": [], b"O": [], b"A": []}
        trace: dict[str, Any] | None = None
        while True:
            kind, body = self._record()
            if (kind == b"T") == (trace is not None):
                self._damaged("the records are not in their order")
            if kind == b"T":
                trace = self._fields(_TRACE, self._json(body))
            elif kind == b"E":
                break
            else:
                self._take(kind, body, found)
            self._records += 1
        self._finish(self._json(body))
        assert trace is not None
        return self._build(Trace, **trace, initial=tuple(found[b"I"]), ops=tuple(found[b"O"]), acks=tuple(found[b"A"]))

    def _take(self, kind: bytes, body: bytes, found: dict[bytes, list[Any]]) -> None:
        if kind == b"B":
            self._blobs.append(body)
        elif kind == b"Z":
            self._blobs.append(self._unpack(body))
        elif kind == b"S":
            self._stacks.append(self._stack(self._json(body)))
        elif kind == b"I":
            found[kind].append(self._build(InitialNode, **self._fields(_INITIAL, self._json(body))))
        elif kind == b"O":
            fields = self._fields(_OP, self._json(body))
            found[kind].append(self._build(Op, seq=len(found[kind]), **fields))
        elif kind == b"A":
            found[kind].append(self._build(Ack, **self._fields(_ACK, self._json(body))))
        else:
            self._damaged(f"records of kind {kind!r} are unknown")

    def _header(self) -> None:
        line = self._file.readline(_HEADER_LIMIT)
        if not line:
            raise UsageError(f"the trace {self._name} is empty", _AGAIN)
        version = line.removeprefix(_MAGIC).removesuffix(b"\n") if line.startswith(_MAGIC) else b""
        if _MAGIC.startswith(line) or (version.isdigit() and not line.endswith(b"\n")):
            self._truncated(len(line))
        if not version.isdigit():
            raise UsageError(
                f"{self._name} is not a trace: it starts with {line[:40]!r}", "give a file made by recording"
            )
        if line != _HEADER:
            raise UsageError(
                f"the trace {self._name} has format {int(version)}, and this program reads format {FORMAT_VERSION}",
                "use the program version that wrote it, or record the workload again",
            )
        self._digest.update(line)
        self._position = self._next = len(line)

    def _record(self) -> tuple[bytes, bytes]:
        self._position = self._next
        head = self._bytes(_HEAD.size)
        kind, length, check = _HEAD.unpack(head)
        body = self._bytes(length)
        if _check(kind, body) != check:
            self._damaged("its check sum is wrong")
        if kind != b"E":  # whose digest is of what comes before it
            self._digest.update(head)
            self._digest.update(body)
        return kind, body

    def _bytes(self, count: int) -> bytes:
        left = os.fstat(self._file.fileno()).st_size - self._next if count > 1 << 20 else count
        data = self._file.read(count) if left >= count else b""  # a damaged length must not take all memory
        if len(data) < count:
            self._truncated(self._next + len(data))
        self._next += count
        return data

    def _finish(self, end: Any) -> None:
        if not isinstance(end, dict) or end.keys() != {"records", "sha256"}:
            self._damaged("the end record is not one")
        if end["records"] != self._records or end["sha256"] != self._digest.hexdigest():
            self._damaged("the records before it are not those that were written")
        self._position = self._next
        if self._file.read(1):
            self._damaged("something follows the end of the trace")

    def _json(self, body: bytes) -> Any:
        try:
            return json.loads(body.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            self._damaged(f"not JSON: {error}")

    def _unpack(self, body: bytes) -> bytes:
        if len(body) < _LENGTH.size:
            self._damaged("a compressed blob without its length")
        (length,) = _LENGTH.unpack_from(body)
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(body[_LENGTH.size :], length + 1)
        except (zlib.error, OverflowError, MemoryError) as error:
            self._damaged(f"a compressed blob: {error}")
        if len(data) != length or not stream.eof or stream.unused_data:
            self._damaged("a compressed blob of another length")
        return data

    def _stack(self, value: Any) -> _Stack:
        if not isinstance(value, list):
            self._damaged("source lines that are no list")
        frames = []
        for entry in value:
            match entry:
                case [str() as file, int() as line, str() as function]:
                    frame = Frame(file, line, function)
                    frames.append(self._frames.setdefault(frame, frame))
                case _:
                    self._damaged(f"not a source line: {entry!r:.80}")
        return tuple(frames)

    def _fields(self, known: "_Fields", value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._damaged("a record that is no object")
        decoded = {}
        for name, given in value.items():
            decode = known.get(name)
            if decode is None:
                self._damaged(f"the field {name!r:.80} is unknown")
            try:
                decoded[name] = decode(given, self._blobs, self._stacks)
            except (ValueError, TypeError, IndexError):
                self._damaged(f"the field {name} can't be {given!r:.80}")
        return decoded

    def _build(self, type_: Callable[..., _T], **fields: Any) -> _T:
        try:
            return type_(**fields)
        except TypeError as error:
            self._damaged(str(error))

    def _damaged(self, what: str) -> NoReturn:
        raise UsageError(f"the trace {self._name} is damaged at byte {self._position}: {what}", _AGAIN)

    def _truncated(self, position: int) -> NoReturn:
        raise UsageError(f"the trace {self._name} is cut off at byte {position}", _AGAIN)


def _check(kind: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(kind + len(body).to_bytes(8, "little")))


def _plain(value: Any, skip: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """The fields that differ from their defaults, ready for JSON; bytes and frames are for the caller to replace."""
    found: dict[str, Any] = {}
    for name, default in _DEFAULTS[type(value)]:
        given = getattr(value, name)
        if name in skip or given == default or name in {"data", "source"}:
            continue
        if isinstance(given, (Kind, NodeType, Sync)):
            given = given.value
        elif name == "unmeasured":
            given = [[entry.path, entry.reason] for entry in given]
        elif name == "marks":
            given = [[mark.node, mark.changed_ns, mark.attributes] for mark in given]
        found[name] = given
    return found


_DEFAULTS = {
    type_: tuple((field.name, field.default) for field in dataclasses.fields(type_))
    for type_ in (Trace, InitialNode, Op, Ack)
}
_Decode = Callable[[Any, list[bytes], list[_Stack]], Any]
_Fields = dict[str, _Decode]


def _int(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _str(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _blob(value: Any, blobs: list[bytes], _stacks: list[_Stack]) -> bytes:
    return blobs[_number(value)]


def _source(value: Any, _blobs: list[bytes], stacks: list[_Stack]) -> _Stack:
    return stacks[_number(value)]


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def _kind(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> Kind:
    return Kind(value)


def _sync(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> Sync:
    return Sync(value)


def _type(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> NodeType:
    return NodeType(value)


def _names(value: Any, blobs: list[bytes], stacks: list[_Stack]) -> tuple[tuple[int, str], ...]:
    return tuple((_int(parent, blobs, stacks), _str(name, blobs, stacks)) for parent, name in value)


def _texts(value: Any, blobs: list[bytes], stacks: list[_Stack]) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError
    return tuple(_str(text, blobs, stacks) for text in value)


def _unmeasured(value: Any, blobs: list[bytes], stacks: list[_Stack]) -> tuple[Unmeasured, ...]:
    return tuple(
        Unmeasured(path=_str(path, blobs, stacks), reason=_str(reason, blobs, stacks)) for path, reason in value
    )


def _marks(value: Any, blobs: list[bytes], stacks: list[_Stack]) -> tuple[Mark, ...]:
    return tuple(
        Mark(
            node=_number(node),
            changed_ns=_int(changed_ns, blobs, stacks),
            attributes=tuple((_str(name, blobs, stacks), bytes.fromhex(held).hex()) for name, held in attributes),
        )
        for node, changed_ns, attributes in value
    )


def _bool(value: Any, _blobs: list[bytes], _stacks: list[_Stack]) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


_TRACE: _Fields = {
    "engine": _str,
    "command": _str,
    "exit_code": _int,
    "calls": _int,
    "outside": _int,
    "unmeasured": _unmeasured,
    "notes": _texts,
    "excluded": _texts,
    "marks": _marks,
    "began_ns": _int,
    "ended_ns": _int,
    "exact_times": _bool,
}
_INITIAL: _Fields = {"node": _int, "type": _type, "mode": _int, "data": _blob, "target": _str, "names": _names}
_OP: _Fields = {
    "kind": _kind,
    "call": _str,
    "process": _int,
    "thread": _int,
    "node": _int,
    "path": _str,
    "parent": _int,
    "name": _str,
    "to_parent": _int,
    "to_name": _str,
    "to_path": _str,
    "victim": _int,
    "offset": _int,
    "data": _blob,
    "size": _int,
    "mode": _int,
    "target": _str,
    "sync": _sync,
    "errno": _int,
    "source": _source,
}
_ACK: _Fields = {"after": _int, "process": _int, "value": _str, "thread": _int, "source": _source}
