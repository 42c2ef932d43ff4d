import mmap
import os
from pathlib import Path

import numpy

from chaos.child.ack import ack
from chaos.report.places import operation_words
from chaos.trace.model import Kind
from chaos.trace.recorder import RecordOptions, record
from tests.trace.replaying import kinds, measured, proven, writes


def test_stores_are_seen_at_the_next_call_at_acks_and_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(3 * 4096))

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR)
        memory = mmap.mmap(fd, 0)
        memory[10:13] = b"abc"
        (tmp_path / "g").write_bytes(b"x")
        memory[5000:5001] = b"d"
        memory[9000:9001] = b"e"
        ack(1)
        memory[0:1] = b"f"

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["write", "create", "write", "write", "write"]
    assert {op.call for op in trace.ops if op.path == "f"} == {"mmap"}
    stores = writes(trace, "f")
    assert stores[0] == (10, b"abc")
    assert stores[1] == (5000, b"d" + bytes(3999) + b"e")  # neighbouring pages are one change
    assert stores[2] == (0, b"f")
    assert trace.acks[0].after == 4


def test_a_store_has_the_line_of_the_call_at_which_it_is_seen(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(4096))

    def seen_here() -> None:
        ack(1)

    def program() -> None:
        memory = mmap.mmap(os.open(tmp_path / "f", os.O_RDWR), 0)
        memory[10:13] = b"abc"
        seen_here()

    (store,) = record(program, tmp_path).ops
    assert "seen_here" in [frame.function for frame in store.source]
    assert operation_words(store) == "a store of 3 bytes into the mapping of f, seen at this call,"


def test_ordinary_writes_to_a_mapped_file_are_not_recorded_twice(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 4096)
        memory = mmap.mmap(fd, 0)
        os.pwrite(fd, b"call", 8)
        memory[8:9] = b"C"
        os.ftruncate(fd, 100)
        os.pwrite(fd, b"end", 200)
        os.posix_fallocate(fd, 0, 300)

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["create", "truncate", "write", "write", "truncate", "write", "truncate"]
    assert writes(trace) == [(8, b"call"), (8, b"C"), (200, b"end")]


def test_stores_of_a_fork_child_are_seen(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(4096))

    def program() -> None:
        memory = mmap.mmap(os.open(tmp_path / "f", os.O_RDWR), 0)
        child = os.fork()
        if child == 0:
            memory[0:2] = b"hi"
            os._exit(0)
        os.waitpid(child, 0)

    assert writes(measured(program, tmp_path)) == [(0, b"hi")]


def test_a_synchronous_msync_is_a_data_sync(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))

    def program() -> None:
        memory = mmap.mmap(os.open(tmp_path / "f", os.O_RDWR), 0)
        memory[0:1] = b"x"
        memory.flush()

    trace = measured(program, tmp_path)
    assert [(op.kind, op.call) for op in trace.ops] == [(Kind.WRITE, "mmap"), (Kind.FDATASYNC, "msync")]


def test_private_anonymous_and_read_only_mappings_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))

    def program() -> None:
        private = mmap.mmap(os.open(tmp_path / "f", os.O_RDWR), 0, flags=mmap.MAP_PRIVATE)
        private[0:1] = b"x"
        mmap.mmap(os.open(tmp_path / "f", os.O_RDONLY), 0, access=mmap.ACCESS_READ)
        mmap.mmap(-1, 4096)

    assert measured(program, tmp_path).ops == ()


def test_mapped_files_above_the_limit_are_not_measured(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    (tmp_path / "g").write_bytes(bytes(8192))

    def program() -> None:
        for name in "fg":
            memory = mmap.mmap(os.open(tmp_path / name, os.O_RDWR), 0)
            memory[0:1] = b"x"

    trace = proven(program, tmp_path, options=RecordOptions(sources=False, mapped_bytes=10_000))
    assert [entry.path for entry in trace.unmeasured] == ["g"]
    assert writes(trace) == [(0, b"x")]


def test_a_mapped_file_that_grows_above_the_limit_is_not_measured(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 4096)
        memory = mmap.mmap(fd, 4096)
        os.ftruncate(fd, 1 << 20)
        memory[0:1] = b"x"

    trace = proven(program, tmp_path, options=RecordOptions(sources=False, mapped_bytes=10_000))
    assert [entry.path for entry in trace.unmeasured] == ["f"]


def test_numpy_memmap_is_seen(tmp_path: Path) -> None:
    def program() -> None:
        array = numpy.memmap(tmp_path / "a", dtype="float64", mode="w+", shape=(100,))
        array[:] = 1.5
        array.flush()
        array[7] = 2.0

    trace = measured(program, tmp_path)
    assert [op.kind for op in trace.ops if op.call in {"mmap", "msync"}] == [Kind.WRITE, Kind.FDATASYNC, Kind.WRITE]
