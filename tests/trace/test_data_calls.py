import ctypes
import errno
import fcntl
import mmap
import os
import platform
import resource
import shutil
import signal
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.syscalls.tables import ARCHITECTURES
from chaos.trace.model import Kind, Sync
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import kinds, measured, only, proven, writes

libc = ctypes.CDLL(None, use_errno=True)


def test_offset_moved_by_reads_is_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR)
        os.read(fd, 4)
        os.write(fd, b"ab")
        os.lseek(fd, 1, os.SEEK_CUR)
        os.write(fd, b"c")

    trace = measured(program, tmp_path)
    assert writes(trace, "f") == [(4, b"ab"), (7, b"c")]


def test_append_offset_is_the_files_end_even_for_pwrite(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"a")
        os.pwrite(fd, b"b", 0)  # Linux appends whatever the offset

    assert writes(measured(program, tmp_path), "f") == [(4, b"a"), (5, b"b")]


def test_append_set_after_opening_is_seen(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        os.pwrite(fd, b"b", 0)

    assert writes(measured(program, tmp_path), "f") == [(4, b"b")]


def test_duplicated_descriptors_share_the_offset(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        other = os.dup(fd)
        os.write(fd, b"a")
        os.write(other, b"b")
        os.dup2(other, 200)
        os.write(200, b"c")

    assert writes(measured(program, tmp_path), "f") == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_inherited_descriptors_of_fork_children_share_the_offset(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"parent ")
        child = os.fork()
        if child == 0:
            os.write(fd, b"child ")
            os._exit(0)
        os.waitpid(child, 0)
        os.write(fd, b"end")

    trace = measured(program, tmp_path)
    assert writes(trace, "f") == [(0, b"parent "), (7, b"child "), (13, b"end")]
    assert [op.process for op in trace.ops if op.kind is Kind.WRITE] == [0, 1, 0]


def test_threads_are_told_apart_and_share_the_descriptor(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        for number in range(2):
            thread = threading.Thread(target=os.write, args=(fd, b"%d" % number))
            thread.start()
            thread.join()

    trace = measured(program, tmp_path)
    assert writes(trace, "f") == [(0, b"0"), (1, b"1")]
    found = [(op.process, op.thread) for op in trace.ops]
    assert found == [(0, 0), (0, 1), (0, 2)]


def test_vectors_are_gathered_into_one_write(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        assert os.writev(fd, [b"ab", b"", b"cd"]) == 4
        assert os.pwritev(fd, [b"x", b"y"], 10) == 2

    assert writes(measured(program, tmp_path)) == [(0, b"abcd"), (10, b"xy")]


def test_a_write_of_many_chunks_is_one_operation(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        assert os.write(fd, data) == len(data)
        assert os.pwrite(fd, data, 5) == len(data)

    assert writes(measured(program, tmp_path)) == [(0, data), (5, data)]


@pytest.mark.parametrize(
    ("flags", "sync"), [(0, Sync.NONE), (os.O_DSYNC, Sync.DATA), (os.O_SYNC, Sync.ALL)], ids=["none", "data", "all"]
)
def test_synchronous_opens_sync_each_write(tmp_path: Path, flags: int, sync: Sync) -> None:
    def program() -> None:
        os.write(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT | flags), b"x")

    assert only(measured(program, tmp_path), Kind.WRITE).sync is sync


@pytest.mark.parametrize(
    ("flags", "sync", "offset"),
    [(os.RWF_DSYNC, Sync.DATA, 1), (os.RWF_SYNC, Sync.ALL, 1), (os.RWF_APPEND, Sync.NONE, 4)],
    ids=["dsync", "sync", "append"],
)
def test_flags_of_one_write(tmp_path: Path, flags: int, sync: Sync, offset: int) -> None:
    (tmp_path / "f").write_bytes(b"0123")

    def program() -> None:
        os.pwritev(os.open(tmp_path / "f", os.O_WRONLY), [b"x"], 1, flags)

    op = only(measured(program, tmp_path), Kind.WRITE)
    assert (op.sync, op.offset) == (sync, offset)


def test_syncs_of_files_and_folders(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.fsync(fd)
        os.fdatasync(fd)
        os.fsync(os.open(tmp_path, os.O_RDONLY))
        libc.syncfs(fd)

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["create", "fsync", "fdatasync", "fsync", "sync"]
    assert [op.path for op in trace.ops] == ["f", "f", "f", ".", ""]


def test_sync_of_everything(tmp_path: Path) -> None:
    assert kinds(measured(os.sync, tmp_path)) == ["sync"]


def test_lengths_and_modes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY)
        os.ftruncate(fd, 4)
        os.ftruncate(fd, 4)  # no effect, hence no operation
        os.truncate(tmp_path / "f", 7)
        os.fchmod(fd, 0o640)
        os.chmod(tmp_path / "f", 0o600)
        os.chmod("f", 0o644, dir_fd=os.open(tmp_path, os.O_RDONLY))

    trace = measured(program, tmp_path)
    assert [(op.kind.value, op.size or op.mode) for op in trace.ops] == [
        ("truncate", 4),
        ("truncate", 7),
        ("chmod", 0o640),
        ("chmod", 0o600),
        ("chmod", 0o644),
    ]


@pytest.mark.parametrize("by", ["descriptor", "path", "link"])
def test_an_access_list_sets_the_mode_as_sed_does(tmp_path: Path, by: str) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0o600)
    (tmp_path / "l").symlink_to("f")
    entries = [(0x01, 0o6), (0x04, 0o4), (0x20, 0o4)]  # owner, group, others
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, 0xFFFFFFFF) for tag, bits in entries)

    def program() -> None:
        descriptor = os.open(tmp_path / "f", os.O_RDONLY)
        targets: dict[str, int | Path] = {"descriptor": descriptor, "path": tmp_path / "f", "link": tmp_path / "l"}
        target = targets[by]
        os.setxattr(target, "system.posix_acl_access", acl)
        os.setxattr(target, "system.posix_acl_access", acl)  # changes nothing any more
        with suppress(OSError):  # not every file system has them
            os.setxattr(target, "user.note", b"any other is none of ours")

    trace = measured(program, tmp_path)
    assert [(op.kind.value, op.path, op.mode) for op in trace.ops] == [("chmod", "f", 0o644)]


def test_allocated_punched_and_zeroed_ranges(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 10_000)
    long = ctypes.c_long

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR)
        os.posix_fallocate(fd, 0, 12_000)
        assert libc.fallocate(fd, 1, long(0), long(50_000)) == 0  # keeps the size
        assert libc.fallocate(fd, 3, long(4096), long(4096)) == 0  # punches a hole
        assert libc.fallocate(fd, 3, long(11_000), long(4096)) == 0  # one that reaches over the end

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["truncate", "write", "write"]
    assert writes(trace) == [(4096, bytes(4096)), (11_000, bytes(1000))]


def test_inserted_range_is_recorded_and_not_measured(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "f").write_bytes(b"a" * 4096 + b"b" * 4096)
    fd = os.open(folder / "f", os.O_RDWR)
    supported = libc.fallocate(fd, 0x20, ctypes.c_long(0), ctypes.c_long(4096)) == 0
    os.close(fd)
    if not supported:
        pytest.skip("this file system can't insert ranges")

    def program() -> None:
        fd = os.open(folder / "f", os.O_RDWR)
        assert libc.fallocate(fd, 0x20, ctypes.c_long(4096), ctypes.c_long(4096)) == 0

    trace = proven(program, folder)
    assert [entry.path for entry in trace.unmeasured] == ["f"]
    assert trace.ops[0].data[4096:] == (folder / "f").read_bytes()[8192:]


def test_copies_inside_the_kernel_carry_their_bytes(tmp_path: Path) -> None:
    folder, source = tmp_path / "d", tmp_path / "s"
    folder.mkdir()
    source.write_bytes(bytes(range(256)) * 100)

    def program() -> None:
        shutil.copyfile(source, folder / "copied")
        reading, target = os.open(source, os.O_RDONLY), os.open(folder / "f", os.O_RDWR | os.O_CREAT)
        assert os.sendfile(target, reading, 3, 10) == 10
        os.lseek(reading, 100, os.SEEK_SET)
        assert os.sendfile(target, reading, None, 10) == 10
        assert os.read(reading, 1) == bytes([110])  # the source's own offset moved
        assert os.copy_file_range(reading, target, 10, 5, 50) == 10
        assert os.copy_file_range(reading, target, 4) == 4
        assert os.read(reading, 1) == bytes([115])

    trace = measured(program, folder)
    content = source.read_bytes()
    assert b"".join(data for _, data in writes(trace, "copied")) == content
    assert writes(trace, "f") == [
        (0, content[3:13]),
        (10, content[100:110]),
        (50, content[5:15]),
        (20, content[111:115]),
    ]


def test_copies_move_the_callers_own_offsets(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(bytes(100))

    def program() -> None:
        source, target = os.open(tmp_path / "s", os.O_RDONLY), os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
        first, second = ctypes.c_int64(5), ctypes.c_int64(50)
        assert libc.sendfile(target, source, ctypes.byref(first), 10) == 10
        length, none = ctypes.c_size_t(7), ctypes.c_uint(0)
        assert libc.copy_file_range(source, ctypes.byref(first), target, ctypes.byref(second), length, none) == 7
        reader, writer = os.pipe()
        os.write(writer, b"abc")
        assert libc.splice(reader, None, target, ctypes.byref(second), length, none) == 3
        assert (first.value, second.value) == (22, 60)

    assert writes(measured(program, tmp_path), "f") == [(0, bytes(10)), (50, bytes(7)), (57, b"abc")]


def test_splice_waits_for_its_pipe_without_holding_others_up(tmp_path: Path) -> None:
    def program() -> None:
        reader, writer = os.pipe()
        target = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        child = os.fork()
        if child == 0:
            os.close(writer)
            while os.splice(reader, target, 100):
                pass
            os._exit(0)
        for number in range(3):
            (tmp_path / f"other{number}").write_bytes(b"x")  # served while the child waits
        os.write(writer, b"hello")
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0

    assert writes(measured(program, tmp_path), "f") == [(0, b"hello")]


def test_clone_of_extents_fails_or_is_recorded_as_the_file_system_does_it(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"s" * 5000)
    reply: list[int] = []
    reader, writer = os.pipe()

    def program() -> None:
        source, target = os.open(tmp_path / "s", os.O_RDONLY), os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.ioctl(target, 0x40049409, source)
            os.write(writer, b"0")
        except OSError as error:
            os.write(writer, b"%d" % (error.errno or 0))

    trace = measured(program, tmp_path)
    reply.append(int(os.read(reader, 10)))
    os.close(reader)
    os.close(writer)
    assert reply[0] in {0, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY}
    assert writes(trace, "f") == ([(0, b"s" * 5000)] if reply[0] == 0 else [])


def errors_of(calls: Callable[[], list[Callable[[], object]]], folder: Path) -> list[int]:
    """The error numbers that the calls give in a recorded child."""
    reader, writer = os.pipe()

    def program() -> None:
        found = []
        for call in calls():
            try:
                call()
                found.append(0)
            except OSError as error:  # noqa: PERF203 - one answer a call
                found.append(error.errno or -1)
        os.write(writer, bytes(found))

    measured(program, folder)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return list(file.read())


def raw(name: str, *arguments: int) -> None:
    """A bare system call."""
    libc.syscall.restype = ctypes.c_long
    number = ARCHITECTURES[platform.machine()].numbers[name]
    if libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "raw")


def test_errors_are_the_kernels_own(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")

    def calls() -> list[Callable[[], object]]:
        reading, writing = os.open(tmp_path / "f", os.O_RDONLY), os.open(tmp_path / "f", os.O_WRONLY)
        folder = os.open(tmp_path, os.O_RDONLY)
        return [
            lambda: os.write(999, b"x"),
            lambda: os.write(reading, b"x"),
            lambda: os.write(folder, b"x"),
            lambda: raw("write", writing, 1, 10),  # an address that nothing is at
            lambda: raw("writev", writing, 1, 1),
            lambda: raw("writev", writing, 0, 5000),
            lambda: os.pwrite(writing, b"x", -1),
            lambda: os.ftruncate(writing, -1),
            lambda: os.fsync(999),
            lambda: os.sendfile(writing, 999, 0, 1),
        ]

    expected = [errno.EBADF, errno.EBADF, errno.EBADF, errno.EFAULT, errno.EFAULT, errno.EINVAL]
    expected += [errno.EINVAL, errno.EINVAL, errno.EBADF, errno.EBADF]
    assert errors_of(calls, tmp_path) == expected


def test_memory_that_ends_in_the_middle_gives_a_short_write(tmp_path: Path) -> None:
    def program() -> None:
        memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        memory[:] = b"m" * len(memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert libc.mprotect(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        assert libc.munmap(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE) == 0
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        assert libc.write(fd, ctypes.c_void_p(address + mmap.PAGESIZE - 10), 100) == 10
        os._exit(0)

    assert writes(measured(program, tmp_path)) == [(0, b"m" * 10)]


def test_the_callers_file_size_limit_holds(tmp_path: Path) -> None:
    def calls() -> list[Callable[[], object]]:
        (tmp_path / "unlimited").write_bytes(bytes(100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        return [lambda: os.write(fd, b"0123456789abc"), lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 11)]

    assert errors_of(calls, tmp_path) == [0, errno.EFBIG, errno.EFBIG]
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_going_over_the_file_size_limit_raises_the_signal(tmp_path: Path) -> None:
    def program() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        try:
            os.pwrite(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT), b"x", 10)
        finally:
            os._exit(1)  # without a word: standard error may be a file, and as limited

    assert proven(program, tmp_path).exit_code == -signal.SIGXFSZ


def test_a_full_disk_is_told_to_the_caller(tmp_path: Path) -> None:
    """/dev/full is outside; the errno of a partial write is the short count, then ENOSPC: tmpfs shows it where root."""
    folder = tmp_path / "small"
    folder.mkdir()
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), b"size=64k") != 0:
        pytest.skip(f"mounting is forbidden here: {os.strerror(ctypes.get_errno())}")
    try:
        results: list[int] = []

        def calls() -> list[Callable[[], object]]:
            fd = os.open(folder / "f", os.O_WRONLY | os.O_CREAT)

            def first() -> None:
                assert os.write(fd, bytes(100_000)) == 65_536

            return [first, lambda: os.write(fd, b"x")]

        results = errors_of(calls, folder)
        assert results == [0, errno.ENOSPC]
    finally:
        libc.umount(os.fsencode(folder))


def test_direct_writes_keep_their_alignment_rules(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no O_DIRECT")

    def program() -> None:
        memory = mmap.mmap(-1, 8192)
        memory[:] = b"d" * 8192
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_DIRECT)
        assert os.write(fd, memoryview(memory)[:4096]) == 4096
        os._exit(0)

    assert writes(measured(program, tmp_path)) == [(0, b"d" * 4096)]


def test_excluded_files_are_left_out(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "a-shm").write_bytes(b"x")
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "deep").write_bytes(b"x")
        (tmp_path / "kept").write_bytes(b"y")

    options = RecordOptions(sources=False, exclude=("*-shm", "cache"))
    trace = measured(program, tmp_path, options=options)
    assert {op.path for op in trace.ops} == {"kept"}
    assert trace.excluded == ("*-shm", "cache")


def test_writes_outside_are_counted_and_not_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()

    def program() -> None:
        (tmp_path / "outside").write_bytes(b"x")
        os.write(os.pipe()[1], b"a pipe is no file")

    trace = measured(program, folder)
    assert trace.ops == ()
    assert trace.outside == 1


def test_a_file_made_behind_our_back_is_not_measured(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    back, forth = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.read(reader, 1)
        (tmp_path / "foreign").write_bytes(b"x")
        os.write(forth, b"x")
        os._exit(0)

    def program() -> None:
        os.write(writer, b"x")
        os.read(back, 1)
        os.write(os.open(tmp_path / "foreign", os.O_WRONLY | os.O_APPEND), b"y")

    trace = proven(program, tmp_path)
    os.waitpid(helper, 0)
    for descriptor in (reader, writer, back, forth):
        os.close(descriptor)
    assert [entry.path for entry in trace.unmeasured] == ["foreign"]
