"""`write_atomic`: content, mode, links, orphans, refusals. What survives a crash is explored in `scenarios/atomic`."""

import errno
import os
import stat
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.reliability.durability import (
    DurabilityUnknownError,
    atomic,
    remove_orphans,
    write_atomic,
)
from tests.reliability.processes import Child


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_data_is_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"a long first content")
    write_atomic(path, b"short", durability="process")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == {"state"}


def test_missing_directories_are_made(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "state", b"x")
    assert (tmp_path / "a" / "b" / "state").read_bytes() == b"x"


def test_the_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomic(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/state")
    write_atomic(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "state").read_bytes() == b"x"


def test_a_link_is_refused_when_told_so(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        write_atomic(tmp_path / "link", b"x", symlinks="refuse")
    assert names(tmp_path) == {"link"}


def test_a_directory_in_the_way_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(StorageError, match="as before"):
        write_atomic(tmp_path / "state", b"x")
    assert names(tmp_path) == {"state"}


def test_a_level_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="power"):
        write_atomic(tmp_path / "state", b"x", durability="eventually")  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"state"}


def test_an_unconfirmed_replacement_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic, "sync_file", fail)
    with pytest.raises(DurabilityUnknownError, match="write it again"):
        write_atomic(tmp_path / "state", b"new")


def test_a_dead_writers_orphan_is_removed_and_a_living_ones_file_stays(tmp_path: Path) -> None:
    def write_half(say: object) -> None:
        path, _ = atomic._open_temporary(str(tmp_path), "state", 0o666)
        say(os.path.basename(path))  # type: ignore[operator]
        os.read(os.pipe()[0], 1)

    living, dead = Child(write_half), Child(write_half)
    kept, orphan = living.line(), dead.line()
    dead.kill()
    try:
        assert names(tmp_path) == {kept, orphan}
        assert remove_orphans(tmp_path) == (orphan,)
        assert names(tmp_path) == {kept}
    finally:
        living.kill()


def test_the_first_write_in_a_directory_removes_orphans(tmp_path: Path) -> None:
    (tmp_path / ".state.1-0.writing~").write_bytes(b"half")
    write_atomic(tmp_path / "state", b"x")
    assert names(tmp_path) == {"state"}


def test_writers_at_once_leave_one_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "state"

    def write(say: object) -> None:
        for number in range(30):
            write_atomic(path, bytes([65 + number]) * 5000, durability="process")

    children = [Child(write) for _ in range(3)]
    for child in children:
        child.result()
    assert path.read_bytes() == b"^" * 5000
    assert names(tmp_path) == {"state"}
