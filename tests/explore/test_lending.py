"""The path of a recording's folder leads to one borrower's folder at a time, and to nothing afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.explore.lending import Lent, is_lendable
from chaos.explore.places import base_folder, make_folder, remove, sweep


@pytest.fixture
def path() -> Iterator[str]:
    """As that of a folder recorded in by this process, which is gone."""
    root = make_folder(base_folder())
    os.rmdir(root)
    yield os.path.join(root, "disk")
    remove(root)


def test_the_path_leads_to_the_folder_for_a_while(path: str, tmp_path: Path) -> None:
    for _ in range(2):
        with Lent(path, str(tmp_path)):
            Path(path, "x").write_text("here")
            assert (tmp_path / "x").read_text() == "here"
        assert not os.path.lexists(os.path.dirname(path))


def test_borrowers_of_one_path_take_turns(path: str, tmp_path: Path) -> None:
    lent = Lent(path, str(tmp_path))
    told, tell = os.pipe()
    with lent:
        child = os.fork()
        if not child:
            try:
                with Lent(path, "/other"):
                    os.write(tell, os.readlink(path).encode())
            finally:
                os._exit(0)
        assert os.readlink(path) == str(tmp_path)
        os.set_blocking(told, False)
        with pytest.raises(BlockingIOError):
            os.read(told, 100)
    os.waitpid(child, 0)
    assert os.read(told, 100) == b"/other"
    assert not os.path.lexists(os.path.dirname(path))
    os.close(told)
    os.close(tell)


def test_many_borrowers_never_meet_and_leave_nothing(path: str, tmp_path: Path) -> None:
    def borrow(folder: str) -> None:
        for _ in range(50):
            with Lent(path, folder):
                assert os.readlink(path) == folder

    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            code = 1
            try:
                borrow(str(tmp_path / str(number)))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert not os.path.lexists(os.path.dirname(path))


def test_a_link_that_a_killed_borrower_left_is_replaced(path: str, tmp_path: Path) -> None:
    os.mkdir(os.path.dirname(path))
    os.symlink("/elsewhere", path)
    with Lent(path, str(tmp_path)):
        assert os.readlink(path) == str(tmp_path)
    assert not os.path.lexists(os.path.dirname(path))


def test_what_is_there_already_stays(path: str, tmp_path: Path) -> None:
    os.makedirs(path)
    Path(path, "kept").touch()
    with Lent(path, str(tmp_path)):
        assert os.listdir(path) == ["kept"]
    assert os.listdir(path) == ["kept"]


def test_a_path_that_no_exploration_made_is_never_touched(tmp_path: Path) -> None:
    base = base_folder()
    for path in ("", str(tmp_path / "disk"), f"{base}/disk", f"{base}/chaos-explore-1-2-0123abcd/x", "/etc/disk"):
        assert not is_lendable(path)
        with Lent(path, str(tmp_path)):
            assert not path or not os.path.lexists(path)


def test_a_lent_folder_whose_owner_is_gone_is_not_swept(tmp_path: Path) -> None:
    path = os.path.join(base_folder(), f"chaos-explore-{2**22 + 1}-1-0123abcd", "disk")  # no process has that number
    with Lent(path, str(tmp_path)):
        sweep(base_folder())
        assert os.readlink(path) == str(tmp_path)
    assert not os.path.lexists(os.path.dirname(path))
