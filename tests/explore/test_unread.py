"""States that differ only in bytes that recovery never opened have one answer; all else is run."""

import dataclasses
import os
import select
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.disk import Slot, Tree, read_tree
from chaos.explore.exploration import Exploration
from chaos.explore.server import trees_at_once
from chaos.explore.settings import Isolation
from chaos.explore.unread import Answers, Opens
from tests.explore import traces
from tests.explore.exploring import roles, settings

Act = Callable[[Path], object]


def _lay(folder: Path, **files: bytes) -> Tree:
    (folder / "below").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", "/")).write_bytes(content)
    return read_tree(str(folder), ())


def _tree(tmp_path: Path, name: str, **files: bytes) -> Tree:
    folder = tmp_path / name
    folder.mkdir()
    return _lay(folder, **files)


def _opened(folder: Path, act: Act) -> frozenset[str] | None:
    tree = _lay(folder, a=b"aa", b=b"bb", below__c=b"cc")
    opens = Opens(str(folder))
    opens.begin(tree)
    act(folder)
    return opens.since()


def _link(disk: Path) -> Path:
    os.link(disk / "a", disk / "d")
    return disk / "d"


@pytest.mark.parametrize(
    ("act", "opened"),
    [
        pytest.param(lambda disk: (disk / "a").read_bytes(), {"a"}, id="read"),
        pytest.param(lambda disk: (disk / "below" / "c").read_bytes(), {"below/c"}, id="read below"),
        pytest.param(lambda disk: os.listdir(disk / "below"), set(), id="listed"),
        pytest.param(lambda disk: (disk / "a").stat(), set(), id="looked up"),
        pytest.param(lambda disk: (disk / "a").unlink(), set(), id="removed"),
        pytest.param(lambda disk: (disk / "new").write_bytes(b""), {"new"}, id="made"),
        pytest.param(
            lambda disk: [(disk / "a").replace(disk / "b"), (disk / "b").read_bytes()], {"a", "b"}, id="read renamed"
        ),
        pytest.param(lambda disk: [_link(disk), (disk / "a").unlink()], {"a"}, id="renamed by a link"),
        pytest.param(_link, None, id="linked"),
        pytest.param(lambda disk: [_link(disk).read_bytes(), (disk / "d").unlink()], None, id="read by a gone link"),
        pytest.param(lambda disk: (disk / "below").rename(disk / "e"), None, id="folder renamed"),
    ],
)
def test_what_may_have_been_read_is_known(tmp_path: Path, act: Act, opened: set[str] | None) -> None:
    assert _opened(tmp_path, act) == (None if opened is None else frozenset(opened))


def test_what_the_harness_itself_opened_does_not_count(tmp_path: Path) -> None:
    tree = _lay(tmp_path, a=b"aa")
    opens = Opens(str(tmp_path))
    opens.begin(tree)
    (tmp_path / "a").read_bytes()
    opens.begin(tree)
    assert opens.since() == frozenset()


def test_what_happens_while_a_tree_is_laid_out_does_not_count_and_is_not_even_queued(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"aa")
    tree = read_tree(str(tmp_path))
    opens = Opens(str(tmp_path))
    opens.begin(tree)
    opens.since()
    opens.pause()
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"xx")
    assert not select.select([opens._descriptor], [], [], 0)[0]
    opens.begin(tree)
    (tmp_path / "a").read_bytes()
    assert opens.since() == frozenset({"a"})


def _replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.mkdir()


def _link_folder(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(folder.with_name("aside"))


def _move_folder_about(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.with_name("aside").rename(folder)


@pytest.mark.parametrize("damage", [_replace_folder, shutil.rmtree, _link_folder, _move_folder_about])
def test_a_folder_that_a_recovery_replaced_is_watched_again(tmp_path: Path, damage: Act) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "a").write_bytes(b"aa")
    tree = read_tree(str(folder))
    opens, slot = Opens(str(folder)), Slot(str(folder))
    opens.begin(tree)
    damage(folder)
    opens.since()
    opens.pause()
    slot.lay(tree)
    opens.begin(tree)
    (folder / "a").read_bytes()
    assert opens.since() == frozenset({"a"})


def test_where_the_folder_itself_was_moved_while_nothing_counted_nothing_can_be_told(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    tree = read_tree(str(folder))
    opens = Opens(str(folder))
    opens.begin(tree)
    opens.since()
    opens.pause()
    _move_folder_about(folder)
    opens.begin(tree)
    assert opens.since() is None


def test_each_recovery_is_told_by_what_it_opened_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"aa")
    (tmp_path / "b").write_bytes(b"bb")
    tree = read_tree(str(tmp_path))
    opens = Opens(str(tmp_path))
    told: list[object] = []
    for name in ("a", "a", "b", "a"):
        opens.pause()
        opens.begin(tree)
        (tmp_path / name).read_bytes()
        told.append(opens.since())
    assert told == [{"a"}, {"a"}, {"b"}, {"a"}]


def test_a_file_that_was_made_is_looked_at_each_time(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    opens, slot = Opens(str(disk)), Slot(str(disk))
    tree = read_tree(str(disk))
    told: list[object] = []
    for linked in (False, True):
        opens.pause()
        slot.lay(tree)
        opens.begin(tree)
        (disk / "new").write_bytes(b"")
        if linked:
            os.link(disk / "new", tmp_path / "elsewhere")  # which no event tells
        told.append(opens.since())
    assert told == [{"new"}, None]


def test_bytes_that_were_not_opened_make_no_other_state(tmp_path: Path) -> None:
    answers = Answers(acknowledged=False)
    answers.learn(_tree(tmp_path, "first", a=b"aa", b=b"bb"), 1, frozenset({"a"}), b"known")
    assert answers.find(_tree(tmp_path, "second", a=b"aa", b=b"xx"), 2) == b"known"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"a": b"xx", "b": b"bb"}, id="opened bytes"),
        pytest.param({"a": b"aa", "b": b"b"}, id="a length, which may have been looked up"),
        pytest.param({"a": b"aa", "b": b"bb", "c": b""}, id="a name"),
        pytest.param({"a": b"aa"}, id="a missing name"),
    ],
)
def test_what_may_have_been_looked_up_makes_another_state(tmp_path: Path, files: dict[str, bytes]) -> None:
    answers = Answers(acknowledged=False)
    answers.learn(_tree(tmp_path, "first", a=b"aa", b=b"bb"), 1, frozenset({"a"}), b"known")
    assert answers.find(_tree(tmp_path, "second", **files), 1) is None


def test_what_was_learned_of_one_expected_tree_is_known_of_the_next(tmp_path: Path) -> None:
    trees = [_tree(tmp_path, str(number), a=b"aa", b=b"%02d" % number) for number in range(3)]
    answers = Answers(acknowledged=False)
    answers.expect(trees)
    assert answers.find(trees[0], 0) is None
    answers.learn(trees[0], 0, frozenset({"a"}), b"known")
    assert (answers.find(trees[1], 0), answers.find(trees[2], 0)) == (b"known", b"known")


def test_a_mode_makes_another_state(tmp_path: Path) -> None:
    answers = Answers(acknowledged=False)
    answers.learn(_tree(tmp_path, "first", b=b"bb"), 1, frozenset(), b"known")
    tree = _tree(tmp_path, "second", b=b"bb")
    edit = tree.edit()
    number = tree.lookup("b")
    assert number is not None
    edit.set_mode(number, 0)
    assert answers.find(edit.tree(), 1) is None


def test_the_acknowledgements_make_another_state_where_a_check_gets_them(tmp_path: Path) -> None:
    tree = _tree(tmp_path, "first", a=b"aa")
    answers = Answers(acknowledged=True)
    answers.learn(tree, 1, frozenset(), b"known")
    assert (answers.find(tree, 1), answers.find(tree, 2)) == (b"known", None)


def test_of_recoveries_with_ever_new_names_most_are_compared_as_a_whole(tmp_path: Path) -> None:
    answers = Answers(acknowledged=False)
    for number in range(20):
        tree = _tree(tmp_path, str(number), a=b"%02d" % number, b=b"bb")
        answers.learn(tree, 0, frozenset({"a", f"tmp{number}"}), b"%d" % number)
    found = [answers.find(_tree(tmp_path, f"b{number}", a=b"%02d" % number, b=b"xx"), 0) for number in (0, 19)]
    assert found == [b"0", None]
    assert answers.find(_tree(tmp_path, "late", a=b"19", b=b"bb"), 0) == b"19"


def test_only_trees_without_large_writes_are_held_several_at_once() -> None:
    small = traces.replace(2)
    large = dataclasses.replace(small, ops=tuple(dataclasses.replace(op, data=op.data * 10_000) for op in small.ops))
    assert (trees_at_once(small) > 1, trees_at_once(large)) == (True, 1)
    with Exploration(large, roles("load"), settings()) as exploration:
        assert len(list(exploration.observations())) > len(large.ops)


def test_an_exploration_says_how_many_answers_it_knew() -> None:
    with Exploration(traces.replace(3), roles("load"), settings()) as exploration:
        seen = list(exploration.observations())
        told = exploration.statistics()
    # The same tree before and after an acknowledgement is one to a recovery that is not told of it.
    assert 0 < told.reused < told.states == len(seen)


def test_a_check_is_asked_again_after_each_acknowledgement() -> None:
    parts = roles("load", check="check_none_is_third")
    with Exploration(traces.replace(3), parts, settings(isolation=Isolation.FORK)) as exploration:
        list(exploration.observations())
        assert exploration.statistics().reused == 0
