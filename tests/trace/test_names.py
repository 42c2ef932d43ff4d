import ctypes
import errno
import os
import resource
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chaos.trace.model import Kind
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import kinds, measured, only, proven, writes
from tests.trace.test_data_calls import errors_of, libc

AT_FDCWD = -100
EXCHANGE, NOREPLACE = 2, 1


def renameat2(old: Path | str, new: Path | str, flags: int) -> None:
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def linkat(directory: int, old: str, new: Path, flags: int) -> None:
    if libc.linkat(directory, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def test_names_are_made_and_removed(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "d").mkdir(0o750)
        (tmp_path / "d" / "f").touch()
        os.link(tmp_path / "d" / "f", tmp_path / "hard")
        os.symlink("d/f", tmp_path / "soft")
        os.mknod(tmp_path / "n", stat.S_IFREG | 0o600)
        os.unlink(tmp_path / "d" / "f")
        os.rmdir(tmp_path / "d")

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["mkdir", "create", "link", "symlink", "create", "unlink", "rmdir"]
    assert [op.path for op in trace.ops] == ["d", "d/f", "hard", "soft", "n", "d/f", "d"]
    assert trace.ops[0].mode == 0o750
    assert trace.ops[2].node == trace.ops[1].node
    assert trace.ops[3].target == "d/f"


def test_creations_honour_the_callers_umask(tmp_path: Path) -> None:
    def program() -> None:
        os.umask(0o077)
        (tmp_path / "f").write_bytes(b"")
        (tmp_path / "d").mkdir()
        os.umask(0)
        os.close(os.open(tmp_path / "g", os.O_CREAT | os.O_WRONLY, 0o666))

    before = os.umask(0o022)
    try:
        trace = measured(program, tmp_path)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert [op.mode for op in trace.ops] == [0o600, 0o700, 0o666]


def test_names_relative_to_descriptors_and_working_folders(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()

    def program() -> None:
        folder = os.open(tmp_path / "d", os.O_RDONLY)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        os.rename("f", "g", src_dir_fd=folder, dst_dir_fd=folder)
        os.chdir(tmp_path / "d")
        os.mkdir("e")
        os.chdir("e")
        os.rename("../g", "h")
        os.unlink("../../d/e/h")
        os.rmdir("../e/")

    trace = measured(program, tmp_path)
    assert [op.path for op in trace.ops] == ["d/f", "d/f", "d/e", "d/g", "d/e/h", "d/e"]
    assert [op.to_path for op in trace.ops if op.kind is Kind.RENAME] == ["d/g", "d/e/h"]


def test_a_folder_reached_through_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "alias").symlink_to("real")

    def program() -> None:
        (tmp_path / "alias" / "f").write_bytes(b"x")
        os.rename(tmp_path / "alias" / ".." / "real" / "f", tmp_path / "alias" / "g")

    assert [op.path for op in measured(program, folder).ops] == ["f", "f", "f"]
    assert [op.path for op in measured(program, tmp_path / "alias").ops][:1] == ["f"]


def test_symbolic_links_are_followed_to_the_file_they_mean(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "f").write_bytes(b"old")
    (folder / "soft").symlink_to("f")
    (folder / "dangling").symlink_to("new")
    (tmp_path / "from_outside").symlink_to(folder / "f")

    def program() -> None:
        (folder / "soft").write_bytes(b"1")
        (folder / "dangling").write_bytes(b"2")
        (tmp_path / "from_outside").write_bytes(b"3")
        os.truncate(tmp_path / "from_outside", 0)
        os.chmod(folder / "soft", 0o600)

    trace = measured(program, folder)
    assert [(op.kind.value, op.path) for op in trace.ops] == [
        ("truncate", "f"),
        ("write", "f"),
        ("create", "new"),
        ("write", "new"),
        ("truncate", "f"),
        ("write", "f"),
        ("truncate", "f"),
        ("chmod", "f"),
    ]


def test_a_hard_link_outside_leads_to_the_node_inside(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "f").write_bytes(b"old")
    os.link(folder / "f", tmp_path / "outside")

    def program() -> None:
        (tmp_path / "outside").write_bytes(b"x")

    assert [(op.kind.value, op.path) for op in measured(program, folder).ops] == [("truncate", "f"), ("write", "f")]


def test_rename_over_a_victim(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "a").write_bytes(b"a")
        (tmp_path / "b").write_bytes(b"b")
        os.replace(tmp_path / "a", tmp_path / "b")

    trace = measured(program, tmp_path)
    op = only(trace, Kind.RENAME)
    assert (op.node, op.victim, op.path, op.to_path) == (1, 2, "a", "b")


def test_rename_of_two_names_of_one_file_does_nothing(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "a").write_bytes(b"a")
        os.link(tmp_path / "a", tmp_path / "b")
        os.rename(tmp_path / "a", tmp_path / "b")
        (tmp_path / "a").write_bytes(b"c")

    trace = measured(program, tmp_path)
    assert "rename" not in kinds(trace)
    assert (tmp_path / "a").exists()


def test_a_victim_that_is_still_open_has_no_name(tmp_path: Path) -> None:
    def program() -> None:
        victim = os.open(tmp_path / "b", os.O_WRONLY | os.O_CREAT)
        (tmp_path / "a").write_bytes(b"a")
        os.replace(tmp_path / "a", tmp_path / "b")
        os.write(victim, b"gone")
        (tmp_path / "c").write_bytes(b"c")
        renameat2(tmp_path / "c", tmp_path / "b", 0)

    assert [op.path for op in measured(program, tmp_path).ops if op.kind is Kind.WRITE] == ["a", "", "c"]


def remove_folder(folder: Path) -> None:
    os.unlink(folder / "a" / "f")
    os.rmdir(folder / "a")


def exchange_folder(folder: Path) -> None:
    (folder / "b").mkdir()
    renameat2(folder / "a", folder / "b", EXCHANGE)
    os.rmdir(folder / "a")


@pytest.mark.parametrize(
    "change",
    [remove_folder, exchange_folder, lambda folder: os.rename(folder / "a", folder / "c")],
    ids=["removed", "exchanged", "renamed"],
)
@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link"])
def test_the_same_path_may_mean_another_folder_later(
    tmp_path: Path, change: Callable[[Path], None], linked: bool
) -> None:
    def program() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "f").write_bytes(b"1")
        change(tmp_path)
        if linked:
            (tmp_path / "real").mkdir()
            os.symlink("real", tmp_path / "a")
        else:
            (tmp_path / "a").mkdir()
        (tmp_path / "a" / "f").write_bytes(b"2")

    trace = measured(program, tmp_path)
    written = [op.path for op in trace.ops if op.kind is Kind.WRITE]
    assert written == ["a/f", "real/f" if linked else "a/f"]


def test_a_path_may_mean_another_folder_after_a_change_above_it(tmp_path: Path) -> None:
    (tmp_path / "above" / "d").mkdir(parents=True)
    (tmp_path / "other" / "d").mkdir(parents=True)

    def program() -> None:
        (tmp_path / "above" / "d" / "f").write_bytes(b"x")
        os.rename(tmp_path / "above", tmp_path / "moved")
        os.rename(tmp_path / "other", tmp_path / "above")
        (tmp_path / "above" / "d" / "f").write_bytes(b"not ours")
        os.rename(tmp_path / "above", tmp_path / "other")
        os.rename(tmp_path / "moved", tmp_path / "above")

    trace = proven(program, tmp_path / "above" / "d")  # and not measured: the other folder had our name for a while
    assert (writes(trace), trace.outside) == ([(0, b"x")], 1)


def test_cutting_an_empty_file_is_no_operation(tmp_path: Path) -> None:
    def program() -> None:
        for _ in range(2):
            (tmp_path / "f").write_bytes(b"")

    assert kinds(measured(program, tmp_path)) == ["create"]


def test_exchange_and_noreplace(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"f")

    def program() -> None:
        renameat2(tmp_path / "a", tmp_path / "d", EXCHANGE)
        (tmp_path / "a" / "f").write_bytes(b"g")
        with pytest.raises(FileExistsError):
            renameat2(tmp_path / "a", tmp_path / "d", NOREPLACE)
        renameat2(tmp_path / "a", tmp_path / "b", NOREPLACE)
        (tmp_path / "d").write_bytes(b"now the file")

    trace = measured(program, tmp_path)
    op = only(trace, Kind.EXCHANGE)
    assert (op.path, op.to_path, op.node, op.victim) == ("a", "d", 1, 2)
    assert writes(trace, "a/f") == [(0, b"g")]
    assert writes(trace, "d") == [(0, b"now the file")]


def test_renamed_folders_take_their_paths_along(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "f").write_bytes(b"1")
        fd = os.open(tmp_path / "a" / "b" / "f", os.O_WRONLY | os.O_APPEND)
        (tmp_path / "empty").mkdir()
        os.replace(tmp_path / "a", tmp_path / "empty")
        os.write(fd, b"2")
        (tmp_path / "empty" / "b" / "g").write_bytes(b"3")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "f").write_bytes(b"4")

    trace = measured(program, tmp_path)
    assert [op.path for op in trace.ops if op.kind is Kind.WRITE] == ["a/b/f", "empty/b/f", "empty/b/g", "a/f"]


def test_a_file_renamed_or_unlinked_while_open_keeps_its_node(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"1")
        os.rename(tmp_path / "f", tmp_path / "g")
        os.write(fd, b"2")
        os.unlink(tmp_path / "g")
        os.write(fd, b"3")
        os.fsync(fd)

    trace = measured(program, tmp_path)
    assert [(op.path, op.node) for op in trace.ops if op.kind is Kind.WRITE] == [("f", 1), ("g", 1), ("", 1)]
    assert trace.ops[-1].kind is Kind.FSYNC


def test_a_reused_inode_number_is_another_node(tmp_path: Path) -> None:
    def program() -> None:
        for number in range(20):
            (tmp_path / "f").write_bytes(b"%d" % number)
            os.unlink(tmp_path / "f")

    trace = measured(program, tmp_path)
    created = [op.node for op in trace.ops if op.kind is Kind.CREATE]
    assert created == list(range(1, 21))
    assert [op.node for op in trace.ops if op.kind is Kind.WRITE] == created


def test_a_number_reused_outside_is_not_taken_for_the_old_node(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()

    def program() -> None:
        for _ in range(20):
            (folder / "f").write_bytes(b"in")
            os.unlink(folder / "f")
            (tmp_path / "g").write_bytes(b"out")
            os.unlink(tmp_path / "g")

    trace = measured(program, folder)
    assert {op.data for op in trace.ops if op.kind is Kind.WRITE} == {b"in"}
    assert trace.outside == 20


def test_nameless_files_and_their_first_name(tmp_path: Path) -> None:
    def program() -> None:
        for name, flags in (("a", 0x400), ("b", 0x1000)):
            fd = os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY, 0o640)
            os.write(fd, name.encode())
            if flags == 0x1000:
                linkat(fd, "", tmp_path / name, flags)
            else:
                linkat(AT_FDCWD, f"/proc/self/fd/{fd}", tmp_path / name, flags)
            os.write(fd, b"more")

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["create", "write", "link", "write"] * 2
    first = trace.ops[0]
    assert (first.parent, first.name, first.path, first.mode) == (None, "", "", 0o640)
    assert [op.path for op in trace.ops[:4]] == ["", "", "a", "a"]


def test_a_file_moved_in_from_outside_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")

    def program() -> None:
        (tmp_path / "t").write_bytes(b"new")
        os.replace(tmp_path / "t", folder / "old")
        with open(tmp_path / "u", "wb") as file:
            file.write(b"synced")
            file.flush()
            os.fsync(file.fileno())
        os.rename(tmp_path / "u", folder / "new")
        (folder / "new").write_bytes(b"changed")

    trace = measured(program, folder)
    assert kinds(trace) == ["create", "write", "link", "create", "write", "fsync", "link", "truncate", "write"]
    assert (trace.ops[2].path, trace.ops[2].victim) == ("old", 1)
    assert (trace.ops[0].path, trace.ops[0].parent) == ("", None)


def test_a_file_moved_out_is_unlinked(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "f").write_bytes(b"x")

    def program() -> None:
        os.rename(folder / "f", tmp_path / "f")
        (tmp_path / "f").write_bytes(b"no longer ours")
        os.rename(tmp_path / "f", folder / "back")

    trace = measured(program, folder)
    assert kinds(trace) == ["unlink", "create", "write", "link"]
    assert trace.outside == 1


def test_a_folder_that_crosses_the_border_is_not_measured(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "leaves" / "deep").mkdir(parents=True)
    (folder / "leaves" / "deep" / "f").write_bytes(b"x")
    (tmp_path / "comes" / "deep").mkdir(parents=True)
    (tmp_path / "comes" / "deep" / "f").write_bytes(b"y")

    def program() -> None:
        os.rename(folder / "leaves", tmp_path / "left")
        os.rename(tmp_path / "comes", folder / "came")
        (folder / "came" / "deep" / "f").write_bytes(b"z")

    trace = proven(program, folder)
    assert {entry.path for entry in trace.unmeasured} == {"leaves", "came"}
    assert writes(trace, "came/deep/f")[-1] == (0, b"z")


def test_an_exchange_over_the_border(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "f").write_bytes(b"ours")
    (tmp_path / "g").write_bytes(b"theirs")

    def program() -> None:
        renameat2(tmp_path / "g", folder / "f", EXCHANGE)

    trace = measured(program, folder)
    assert kinds(trace) == ["create", "write", "fsync", "link"]
    assert trace.ops[-1].victim == 1


def test_excluded_names_are_a_border_too(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "f.tmp").write_bytes(b"x")
        os.replace(tmp_path / "f.tmp", tmp_path / "f")
        os.rename(tmp_path / "f", tmp_path / "g.tmp")

    trace = measured(program, tmp_path, options=RecordOptions(sources=False, exclude=("*.tmp",)))
    assert kinds(trace) == ["create", "write", "link", "unlink"]


def test_renaming_the_watched_folder_is_not_measured(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()

    def program() -> None:
        os.rename(folder, tmp_path / "e")
        os.rename(tmp_path / "e", folder)

    assert [entry.path for entry in proven(program, folder).unmeasured] == ["."]


def test_removing_the_watched_folder_is_not_measured(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()

    def program() -> None:
        os.rmdir(folder)
        os.mkdir(folder)

    assert [entry.path for entry in proven(program, folder).unmeasured] == ["."]


def test_pipes_and_sockets_in_the_folder_hold_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    def program() -> None:
        child = os.fork()
        if child == 0:
            os.write(os.open(tmp_path / "fifo", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), b"through")
            os._exit(0)
        (tmp_path / "f").write_bytes(b"x")  # served while the child waits for its reader
        assert os.read(os.open(tmp_path / "fifo", os.O_RDONLY), 10) == b"through"
        os.waitpid(child, 0)
        os.mkfifo(tmp_path / "other")
        os.rename(tmp_path / "other", tmp_path / "f")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.relpath(tmp_path / "sock"))
        os.unlink(tmp_path / "sock")

    assert kinds(measured(program, tmp_path)) == ["create", "write", "unlink"]


def creation(folder: Path, path: str, flags: int = 0) -> Callable[[], object]:
    return lambda: os.open(folder / path, os.O_CREAT | os.O_WRONLY | flags)


def test_errors_of_paths_are_the_kernels_own(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "g").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    create = partial(creation, tmp_path)

    def calls() -> list[Callable[[], object]]:
        return [
            create("f", os.O_EXCL),
            create("no/f"),
            create("f/g"),
            create("d"),
            lambda: os.open(f"{tmp_path}/new/", os.O_CREAT | os.O_WRONLY),
            create("loop"),
            create("loop", os.O_NOFOLLOW),
            create("n" * 300),
            lambda: os.open("", os.O_CREAT | os.O_WRONLY),
            lambda: os.mkdir(tmp_path / "d"),
            lambda: os.rmdir(tmp_path / "d"),
            lambda: os.rmdir(tmp_path / "f"),
            lambda: os.unlink(tmp_path / "d"),
            lambda: os.unlink(tmp_path / "no"),
            lambda: os.rename(tmp_path / "no", tmp_path / "f"),
            lambda: os.rename(tmp_path / "f", tmp_path / "d"),
            lambda: os.rename(tmp_path / "d", tmp_path / "f"),
            lambda: os.rename(tmp_path / "d", tmp_path / "d" / "inside"),
            lambda: os.link(tmp_path / "f", tmp_path / "d"),
            lambda: os.symlink("x", tmp_path / "f"),
            lambda: os.mkdir(f"{tmp_path}/" + "a/" * 2100),
            lambda: os.unlink("f", dir_fd=999),
            lambda: os.rmdir(f"{tmp_path}/d/."),
        ]

    assert errors_of(calls, tmp_path) == [
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOENT,
        errno.ENOENT,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EINVAL,
        errno.EEXIST,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.EBADF,
        errno.EINVAL,
    ]


def test_installed_descriptors_have_the_flags_that_were_asked_for(tmp_path: Path) -> None:
    def program() -> None:
        kept = os.open(tmp_path / "a", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.set_inheritable(kept, True)
        libc.open.restype = ctypes.c_int
        free = lowest_free()
        inherited = libc.open(os.fsencode(tmp_path / "b"), os.O_CREAT | os.O_RDWR, 0o600)
        assert inherited == free  # as ever
        free = lowest_free()
        closing = libc.open(os.fsencode(tmp_path / "c"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        assert os.get_inheritable(inherited)
        assert not os.get_inheritable(closing)
        assert closing == free

    def lowest_free() -> int:
        number = os.dup(0)
        os.close(number)
        return number

    measured(program, tmp_path)


def test_a_caller_that_may_open_no_more_creates_nothing(tmp_path: Path) -> None:
    def calls() -> list[Callable[[], object]]:
        held = [os.open("/dev/null", os.O_RDONLY)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 1, held[0] + 1))
        return [lambda: os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY)]

    assert errors_of(calls, tmp_path) == [errno.EMFILE]
    assert not (tmp_path / "f").exists()


def test_descriptor_paths_mean_the_callers_descriptors(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")
    (tmp_path / "link").symlink_to("/dev/stdout")

    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_RDWR)
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC))
        os.write(fd, b"xy")
        os.dup2(fd, 1)
        os.close(os.open("/dev/stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        os.unlink(tmp_path / "f")
        os.chmod(f"/dev/fd/{fd}", 0o600)

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["truncate", "write", "truncate", "unlink", "chmod"]


def test_opens_within_borders_are_refused_as_the_kernel_refuses_them(tmp_path: Path) -> None:
    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    folder = tmp_path / "d"
    (folder / "in").mkdir(parents=True)
    (folder / "out").symlink_to("..")
    (folder / "loop").symlink_to("in")

    def openat2(path: str, resolve: int) -> int:
        how = How(os.O_CREAT | os.O_WRONLY, 0o600, resolve)
        directory = os.open(folder, os.O_RDONLY)
        libc.syscall.restype = ctypes.c_long
        result = libc.syscall(437, directory, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(24))
        if result < 0:
            raise OSError(ctypes.get_errno(), path)
        return int(result)

    def calls() -> list[Callable[[], object]]:
        return [
            lambda: openat2("in/f", 0),
            lambda: openat2("in/g", 0x08),
            lambda: openat2("out/h", 0x08),
            lambda: openat2("out/h", 0x04),
            lambda: openat2("loop/h", 0x04),
        ]

    assert errors_of(calls, folder) == [0, 0, errno.EXDEV, errno.ELOOP, errno.ELOOP]
    assert sorted(path.name for path in (folder / "in").iterdir()) == ["f", "g"]


def test_a_caller_with_fewer_rights_is_refused_what_it_may_not(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    folder = tmp_path / "d"
    folder.mkdir(0o755)
    (folder / "private").write_bytes(b"x")
    (folder / "private").chmod(0o600)
    (folder / "shared").mkdir()
    (folder / "shared").chmod(0o777)
    for parent in folder.parents:  # pytest's own folders let nobody else in
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o755)

    def calls() -> list[Callable[[], object]]:
        os.setgroups([])
        os.setgid(12345)
        os.setuid(12345)
        return [
            lambda: (folder / "new").write_bytes(b""),
            lambda: os.unlink(folder / "private"),
            lambda: os.truncate(folder / "private", 0),
            lambda: os.chmod(folder / "private", 0o666),
            lambda: (folder / "shared" / "f").write_bytes(b"mine"),
        ]

    assert errors_of(calls, folder) == [errno.EACCES, errno.EACCES, errno.EACCES, errno.EPERM, 0]
    assert (folder / "shared" / "f").stat().st_uid == 12345
    assert os.stat(folder).st_uid == 0
