"""The trace file: what is written comes back, and what is not whole is refused."""

import dataclasses
import json
import os
import struct
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import UsageError
from chaos.trace.file import FORMAT_VERSION, load, save
from chaos.trace.model import Ack, Frame, InitialNode, Kind, Mark, NodeType, Op, Sync, Trace, Unmeasured

SMALL = Trace(
    engine="syscalls",
    command="python save.py",
    initial=(
        InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755),
        InitialNode(node=1, type=NodeType.FILE, mode=0o644, data=b"old", names=((0, "caf\udce9"), (0, "b"))),
    ),
    ops=(
        Op(
            seq=0,
            kind=Kind.WRITE,
            call="write",
            node=1,
            path="caf\udce9",
            data=b"new" * 40,
            sync=Sync.DATA,
            source=(Frame("store.py", 42, "save"), Frame("store.py", 7, "<module>")),
        ),
        Op(seq=1, kind=Kind.FSYNC, call="fsync", node=1, path="b", errno=5),
    ),
    acks=(Ack(after=1, process=0, value="1"),),
    exit_code=-9,
    calls=12,
    unmeasured=(Unmeasured(path="x", reason="mapped"),),
    notes=("killed",),
    excluded=("*-shm",),
    marks=(Mark(0, 17), Mark(1, 18, (("user.done", "31"),))),
    began_ns=16,
    ended_ns=19,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(SMALL, tmp_path / "t.trace")
    return tmp_path / "t.trace"


def record(kind: bytes, value: Any) -> bytes:
    """One record as the format's description has it, made by hand."""
    body = json.dumps(value).encode()
    length = struct.pack("<Q", len(body))
    return kind + length + struct.pack("<I", zlib.crc32(kind + length + body)) + body


# Any text at all, also what no encoding has, and file names that are not UTF-8 above all.
texts = st.text(st.characters(), max_size=8) | st.binary(max_size=6).map(os.fsdecode)
numbers = st.integers(0, 2**63 - 1)
stacks = st.lists(st.builds(Frame, texts, st.integers(1, 10**6), texts), max_size=3).map(tuple)
blobs = st.binary(max_size=200) | st.sampled_from([b"a" * 5000, bytes(4096)])
# Every field of the model, those added later too, gets its strategy from its type.
BY_TYPE = {
    "int": numbers,
    "bool": st.booleans(),
    "int | None": st.none() | numbers,
    "str": texts,
    "bytes": blobs,
    "Kind": st.sampled_from(Kind),
    "Sync": st.sampled_from(Sync),
    "NodeType": st.sampled_from(NodeType),
    "tuple[Frame, ...]": stacks,
    "tuple[tuple[int, str], ...]": st.lists(st.tuples(numbers, texts), max_size=3).map(tuple),
    "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
}


def anything(type_: Any, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = {
        field.name: BY_TYPE[
            str(field.type).replace("chaos.trace.model.", "")
            if get_origin(field.type)
            else getattr(field.type, "__name__", "")
        ]
        for field in dataclasses.fields(type_)
        if field.name not in fixed
    }
    return st.builds(type_, **fields, **fixed)


def numbered(ops: list[Op]) -> tuple[Op, ...]:
    return tuple(dataclasses.replace(op, seq=seq) for seq, op in enumerate(ops))


traces = anything(
    Trace,
    exit_code=st.integers(-64, 255),
    initial=st.lists(anything(InitialNode), max_size=4).map(tuple),
    ops=st.lists(anything(Op), max_size=6).map(numbered),
    acks=st.lists(anything(Ack), max_size=3).map(tuple),
    unmeasured=st.lists(anything(Unmeasured), max_size=2).map(tuple),
    marks=st.lists(
        st.builds(Mark, numbers, numbers, st.lists(st.tuples(texts, st.binary(max_size=4).map(bytes.hex))).map(tuple)),
        max_size=2,
    ).map(tuple),
)


@given(trace=traces)
def test_every_trace_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.getbasetemp() / "any.trace"
    save(trace, path)
    assert load(path) == trace


def test_a_file_name_that_is_not_utf8_comes_back_as_the_same_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff \xed\xa0\x80")
    op = Op(seq=0, kind=Kind.UNLINK, call="unlink", name=name, path=name)
    save(Trace(engine="e", command=name, initial=(), ops=(op,)), tmp_path / name)
    assert os.fsencode(load(tmp_path / name).ops[0].name) == b"caf\xe9 \xff \xed\xa0\x80"


def test_the_same_trace_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save(load(saved), tmp_path / "again.trace")
    assert (tmp_path / "again.trace").read_bytes() == saved.read_bytes()


def test_equal_payloads_and_equal_stacks_are_stored_once_and_shared_again(tmp_path: Path) -> None:
    payload, source = os.urandom(4096), (Frame("f.py", 1, "f"),)
    ops = tuple(
        Op(seq=seq, kind=Kind.WRITE, call="write", data=bytes(bytearray(payload)), source=source) for seq in range(100)
    )
    save(Trace(engine="e", command="c", initial=(), ops=ops), tmp_path / "t")
    loaded = load(tmp_path / "t").ops
    assert (tmp_path / "t").stat().st_size < 3 * 4096 + 100 * 100
    assert loaded[0].data is loaded[99].data
    assert loaded[0].source is loaded[99].source


def test_a_payload_that_repeats_itself_is_compressed_also_after_many_that_do_not(tmp_path: Path) -> None:
    data = [os.urandom(512) for _ in range(100)] + [bytes([n]) * 100_000 for n in range(100)]
    ops = tuple(Op(seq=seq, kind=Kind.WRITE, call="write", data=blob) for seq, blob in enumerate(data))
    trace = Trace(engine="e", command="c", initial=(), ops=ops)
    save(trace, tmp_path / "t")
    assert (tmp_path / "t").stat().st_size < 20 * 100_000
    assert load(tmp_path / "t") == trace


def test_a_file_cut_at_any_length_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(len(whole)):
        saved.write_bytes(whole[:length])
        with pytest.raises(
            UsageError, match="is empty" if length == 0 else rf"is cut off at byte {length}\n"
        ) as caught:
            load(saved)
        assert caught.value.hint
        assert str(saved) in caught.value.message


def test_a_file_with_any_byte_flipped_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            saved.write_bytes(whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :])
            with pytest.raises(UsageError) as caught:
                load(saved)
            assert caught.value.hint


def test_damage_is_placed_at_the_record_that_holds_it(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    position = whole.index(b'"call":"write"')
    whole[position + 9] ^= 1
    saved.write_bytes(whole)
    start = whole.rindex(b"O", 0, position)
    with pytest.raises(UsageError, match=f"damaged at byte {start}: its check sum is wrong"):
        load(saved)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08 gzip", b"{}", b"pytest-guardrails", b"\0" * 100, b"pytest-guardrails trace x\n"]
)
def test_a_file_that_is_something_else_is_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a trace|is cut off"):
        load(saved)


def test_a_newer_format_is_refused_by_its_number(saved: Path) -> None:
    newer = saved.read_bytes().replace(b"trace 3\n", b"trace 12\n", 1)
    saved.write_bytes(newer)
    with pytest.raises(UsageError, match="has format 12, and this program reads format 3") as caught:
        load(saved)
    assert "version" in caught.value.hint


def test_something_after_the_end_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"x")
    with pytest.raises(UsageError, match="something follows"):
        load(saved)


@pytest.mark.parametrize("lost", [b"O", b"A", b"I", b"B", b"S"])
def test_a_record_that_was_taken_out_is_missed(saved: Path, lost: bytes) -> None:
    whole = saved.read_bytes()
    position, kept = whole.index(b"\n") + 1, whole[: whole.index(b"\n") + 1]
    taken = False
    while position < len(whole):
        end = position + 13 + struct.unpack_from("<Q", whole, position + 1)[0]
        if whole[position : position + 1] != lost or taken:
            kept += whole[position:end]
        else:
            taken = True
        position = end
    assert taken
    saved.write_bytes(kept)
    with pytest.raises(UsageError):
        load(saved)


TRACE_FIELDS = {"engine": "e", "command": "c"}
START = [record(b"T", TRACE_FIELDS)]


def write_made_up(path: Path, records: list[bytes]) -> None:
    """A file of these records with a right end."""
    content = b"pytest-guardrails trace 3\n" + b"".join(records)
    path.write_bytes(content + record(b"E", {"records": len(records), "sha256": sha256(content).hexdigest()}))


def operation(**fields: object) -> list[bytes]:
    return [*START, record(b"O", {"kind": "write", "call": "c", **fields})]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record(b"T", {**TRACE_FIELDS, "colour": 1})], "the field 'colour' is unknown"),
        ([record(b"T", {"engine": "e"})], "command"),
        ([record(b"T", {**TRACE_FIELDS, "calls": "many"})], "the field calls can't be 'many'"),
        ([record(b"T", {**TRACE_FIELDS, "calls": True})], "the field calls can't be True"),
        ([record(b"T", {**TRACE_FIELDS, "notes": "text"})], "the field notes can't be 'text'"),
        ([record(b"T", [])], "a record that is no object"),
        ([record(b"A", {})], "not in their order"),
        ([*START, *START], "not in their order"),
        ([*START, record(b"X", {})], "records of kind b'X' are unknown"),
        (operation(kind="explode"), "the field kind can't be 'explode'"),
        (operation(data=0), "the field data can't be 0"),
        (operation(data=-1), "the field data can't be -1"),
        (operation(seq=0), "the field 'seq' is unknown"),
        ([*START, record(b"S", [["f", "one", "g"]])], "not a source line"),
        ([*START, record(b"Z", {})], "a compressed blob"),
        ([*START, record(b"E", {})], "the end record is not one"),
        ([*START, record(b"E", {"records": 1, "sha256": ""})], "not those that were written"),
    ],
)
def test_records_that_were_made_up_are_refused_with_what_is_wrong(
    tmp_path: Path, records: list[bytes], message: str
) -> None:
    write_made_up(tmp_path / "t", records)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "t")


def test_a_file_made_by_hand_after_the_description_is_read(tmp_path: Path) -> None:
    write_made_up(tmp_path / "t", operation(offset=3))
    op = Op(seq=0, kind=Kind.WRITE, call="c", offset=3)
    assert load(tmp_path / "t") == Trace(engine="e", command="c", initial=(), ops=(op,))


def test_a_compressed_blob_that_swells_beyond_its_length_is_refused(tmp_path: Path) -> None:
    body = struct.pack("<Q", 10) + zlib.compress(bytes(10_000_000))
    length = struct.pack("<Q", len(body))
    blob = b"Z" + length + struct.pack("<I", zlib.crc32(b"Z" + length + body)) + body
    write_made_up(tmp_path / "t", [*START, blob])
    with pytest.raises(UsageError, match="another length"):
        load(tmp_path / "t")


def test_missing_files_and_folders_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "none")
    with pytest.raises(UsageError, match="directory"):
        load(tmp_path)
    with pytest.raises(UsageError, match=r"can't be written.*No such file"):
        save(SMALL, tmp_path / "none" / "t")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved: Path) -> None:
    before = saved.read_bytes()
    broken = dataclasses.replace(SMALL, command=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        save(broken, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_what_is_no_file_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        save(SMALL, pipe)
        (tmp_path / "copy").write_bytes(os.read(reader, 1 << 16))
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert load(tmp_path / "copy") == SMALL


def test_saving_through_a_symbolic_link_keeps_the_link(saved: Path) -> None:
    link = saved.with_name("link")
    link.symlink_to(saved.name)
    save(dataclasses.replace(SMALL, command="other"), link)
    assert link.is_symlink()
    assert load(saved).command == "other"


def test_any_change_of_the_models_fields_needs_a_new_format_version() -> None:
    # When this fails: raise FORMAT_VERSION, teach `file.py` the fields, and put the new lists here.
    fields = {
        type_.__name__: " ".join(field.name for field in dataclasses.fields(type_))
        for type_ in (Trace, InitialNode, Op, Ack, Frame, Mark, Unmeasured)
    }
    assert FORMAT_VERSION == 3
    assert fields == {
        "Trace": (
            "engine command initial ops acks exit_code calls outside unmeasured notes excluded marks began_ns ended_ns "
            "exact_times"
        ),
        "InitialNode": "node type mode data target names",
        "Op": (
            "seq kind call process thread node path parent name to_parent to_name to_path victim offset data size "
            "mode target sync errno source"
        ),
        "Ack": "after process value thread source",
        "Frame": "file line function",
        "Mark": "node changed_ns attributes",
        "Unmeasured": "path reason",
    }
