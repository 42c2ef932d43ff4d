"""Each rule of the table, by a short run in which it alone decides what may be found; and each preset's value of it.

A case is (rule, run, forbidden state): with the promise kept, no crash leaves that state. Flipping the rule in a preset
turns the case's answer round, which is tested too: no rule is without effect, and none is held by another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from chaos.disk import MODELS, RULES, StateSpace, Tree
from chaos.disk.models import PersistenceModel, model_named
from chaos.errors import UsageError
from chaos.trace.model import Sync
from tests.disk.traces import Script

Forbidden = Callable[[Tree], bool]
OLD, NEW = b"o" * 9000, b"n" * 9000


@dataclass(frozen=True)
class Case:
    run: Callable[[], Script]
    forbidden: Forbidden


def durable(**files: bytes) -> Script:
    script = Script()
    for name, data in files.items():
        script.create(name)
        script.write(name, data)
    return script.start()


def data(tree: Tree, path: str) -> bytes | None:
    return tree.data(path) if tree.lookup(path) is not None else None


def unsynced_write() -> Script:
    script = durable(s=OLD)
    script.write("s", NEW, 0)
    return script


def synced_overwrite() -> Script:
    script = unsynced_write()
    script.fsync("s")
    return script


def synced_new_file() -> Script:
    script = durable(s=OLD)
    script.create("n")
    script.write("n", NEW)
    script.fsync("n")
    return script


def two_new_files_the_second_synced() -> Script:
    script = durable(s=OLD)
    script.create("n1")
    script.create("n2")
    script.write("n2", NEW)
    script.fsync("n2")
    return script


def file_synced_that_lost_a_name_after_another_was_made() -> Script:
    script = Script()
    script.create("s")
    script.link("s", "s2")
    script.start()
    script.create("n1")
    script.unlink("s2")
    script.fsync("s")
    return script


def new_file_with_fdatasync() -> Script:
    script = durable(s=OLD)
    script.create("n")
    script.write("n", NEW)
    script.fdatasync("n")
    return script


def synced_folder() -> Script:
    script = durable(s=OLD)
    script.create("n")
    script.fsync("")
    return script


def synced_everything() -> Script:
    script = unsynced_write()
    script.create("n")
    script.sync()
    return script


def synchronous_write() -> Script:
    script = durable(s=OLD)
    script.write("s", NEW, 0, Sync.ALL)
    script.create("z")  # the write has returned
    return script


def failed_then_succeeding_fsync() -> Script:
    script = unsynced_write()
    script.fsync("s", errno=5)
    script.fsync("s")
    return script


def two_new_files() -> Script:
    script = durable(s=OLD)
    script.create("n1")
    script.create("n2")
    return script


def two_new_files_and_something_else_synced() -> Script:
    script = two_new_files()
    script.write("s", NEW[:100], 0)
    script.fdatasync("s")
    return script


def rename() -> Script:
    script = durable(s=OLD)
    script.rename("s", "t")
    return script


def one_of_two_names_replaced_and_the_file_synced() -> Script:
    script = durable(s=OLD, t=NEW)
    script.link("t", "u")
    script.start()
    script.rename("s", "u")
    script.fsync("t")
    return script


def file_renamed_over_another_and_unlinked() -> Script:
    script = durable(s=OLD, t=NEW, z=OLD)
    script.rename("t", "s")
    script.unlink("s")
    script.write("z", NEW[:100], 0)
    script.fdatasync("z")
    return script


def name_synced_with_a_new_file_and_removed() -> Script:
    script = durable(s=OLD)
    script.unlink("s")
    script.create("s")
    script.write("s", NEW)
    script.fsync("s")
    script.unlink("s")
    script.create("v")
    script.fsync("v")
    return script


def file_moved_to_another_folder_that_is_synced() -> Script:
    script = durable(s=OLD)
    script.mkdir("d")
    script.start()
    script.rename("s", "d/s")
    script.fsync("d")
    return script


def replace_with_unsynced_data() -> Script:
    script = durable(s=OLD)
    script.create("t")
    script.write("t", NEW)
    script.rename("t", "s")
    return script


def truncate_and_rewrite() -> Script:
    script = durable(s=OLD)
    script.truncate("s")
    script.write("s", NEW)
    return script


def truncate_and_write_less() -> Script:
    script = durable(s=OLD)
    script.truncate("s")
    script.write("s", NEW[:100])
    return script


def shortened_and_made_longer() -> Script:
    script = durable(s=OLD)
    script.truncate("s", 4500)
    script.fsync("s")
    script.truncate("s", 9500)
    return script


def append_of_blocks() -> Script:
    script = durable(s=b"o" * 4096)
    script.write("s", b"n" * 4096)
    return script


def append_in_block() -> Script:
    script = durable(s=b"o" * 100)
    script.write("s", b"n" * 100)
    return script


def two_overwrites() -> Script:
    script = durable(s=OLD)
    script.write("s", b"1" * 4096, 0)
    script.write("s", b"2" * 4096, 4096)
    return script


def one_page_overwritten() -> Script:
    script = durable(s=b"o" * 4096)
    script.write("s", b"n" * 4096, 0)
    return script


def mixed_page(tree: Tree) -> bool:
    return data(tree, "s") not in (b"o" * 4096, b"n" * 4096)


def size_without_data(tree: Tree) -> bool:
    return data(tree, "s") == b"o" * 4096 + bytes(4096)


def second_without_first(tree: Tree) -> bool:
    return data(tree, "n1") is None and data(tree, "n2") is not None


# rule -> a run, and what may not be found while the promise is kept
CASES: dict[str, Case] = {
    "cache_survives": Case(unsynced_write, lambda tree: data(tree, "s") == OLD),
    "fsync_keeps_data": Case(synced_overwrite, lambda tree: data(tree, "s") != NEW),
    "fsync_keeps_name": Case(synced_new_file, lambda tree: data(tree, "n") is None),
    "fsync_keeps_earlier": Case(
        file_synced_that_lost_a_name_after_another_was_made, lambda tree: data(tree, "n1") is None
    ),
    "fdatasync_keeps_metadata": Case(new_file_with_fdatasync, lambda tree: data(tree, "n") is None),
    "directory_fsync_keeps_entries": Case(synced_folder, lambda tree: data(tree, "n") is None),
    "sync_keeps_everything": Case(synced_everything, lambda tree: data(tree, "s") != NEW or data(tree, "n") is None),
    "synchronous_writes": Case(synchronous_write, lambda tree: data(tree, "s") != NEW),
    # The one rule whose "on" is the worse: what a failed sync dropped, the next one does not bring.
    "failed_sync_drops_pages": Case(failed_then_succeeding_fsync, lambda tree: data(tree, "s") != NEW),
    "directory_order": Case(two_new_files_and_something_else_synced, second_without_first),
    "commit_order": Case(two_new_files, second_without_first),
    "rename_atomic": Case(rename, lambda tree: (data(tree, "s") is None) == (data(tree, "t") is None)),
    "removals_whole": Case(
        file_renamed_over_another_and_unlinked,
        lambda tree: data(tree, "s") == OLD and data(tree, "t") is None,
    ),
    "replace_flushes": Case(replace_with_unsynced_data, lambda tree: data(tree, "s") not in (OLD, NEW, None)),
    "rewrite_after_truncate": Case(
        truncate_and_rewrite, lambda tree: data(tree, "s") is not None and set(tree.data("s")) == {*b"on"}
    ),
    "length_needs_cut": Case(truncate_and_write_less, lambda tree: data(tree, "s") == OLD[:100]),
    "cut_zeroes": Case(shortened_and_made_longer, lambda tree: tree.data("s") == OLD[:8192] + bytes(9500 - 8192)),
    "early_size": Case(append_of_blocks, size_without_data),
    "overwrite_order": Case(
        two_overwrites, lambda tree: tree.data("s")[:1] == b"o" and tree.data("s")[4096:4097] == b"2"
    ),
    "overwrite_unit_bytes": Case(one_page_overwritten, mixed_page),
}
# The columns of the specification: whether no crash after the run leaves the forbidden state.
KEPT = {
    "kill": set(CASES),
    "ext4": set(CASES) - {"cache_survives", "failed_sync_drops_pages", "overwrite_order"},
}
KEPT["kill"] -= {"overwrite_unit_bytes"}  # a write in flight is cut anywhere
KEPT["xfs"] = KEPT["ext4"] - {"replace_flushes"}
KEPT["btrfs"] = KEPT["xfs"] - {
    "cut_zeroes",
    "removals_whole",
    "fsync_keeps_earlier",
    "directory_order",
    "length_needs_cut",
}
KEPT["posix"] = KEPT["btrfs"] - {
    "commit_order",
    "fsync_keeps_name",
    "fdatasync_keeps_metadata",
    "rewrite_after_truncate",
    "early_size",
    "overwrite_unit_bytes",
}
KEPT["alice"] = KEPT["posix"] - {"rename_atomic"}
STRONG, WEAK = {"early_size": "no", "overwrite_unit_bytes": 4096}, {"early_size": "zeroes", "overwrite_unit_bytes": 512}


def kept(rule: str, model: PersistenceModel) -> bool:
    case = CASES[rule]
    trace = case.run().trace()
    space = StateSpace(trace, model, bound=16)
    return not any(case.forbidden(space.tree(state.recipe)) for state in space.states_at(len(trace.ops)))


def flipped(model: PersistenceModel, rule: str) -> PersistenceModel:
    value = getattr(model, rule)
    if isinstance(value, bool):
        return replace(model, **{rule: not value})  # type: ignore[arg-type]
    strong, weak = STRONG[rule], WEAK[rule]
    return replace(model, **{rule: weak if value in (strong, "in_block") else strong})  # type: ignore[arg-type]


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == list(RULES)


@pytest.mark.parametrize("rule", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_a_preset_keeps_a_promise_where_the_specification_says_so(name: str, rule: str) -> None:
    assert kept(rule, MODELS[name]) == (rule in KEPT[name])


def held_by_another(name: str, rule: str) -> bool:
    """Where the kernel lives on, or a promise that includes this one is kept, the rule alone decides nothing."""
    if name == "kill":
        return rule != "cache_survives"
    model = MODELS[name]
    # One journal: all that came before goes along, names and entries too. Without names, fdatasync has none to keep.
    # Where a rename falls apart, so does all that takes names away. What is always in order is so in a commit, too.
    journal, nameless = model.fsync_keeps_earlier, not model.fsync_keeps_name
    return {
        "fsync_keeps_name": journal,
        "directory_fsync_keeps_entries": journal,
        "fdatasync_keeps_metadata": nameless,
        "commit_order": model.directory_order,
        "removals_whole": not model.rename_atomic,
    }.get(rule, False)


@pytest.mark.parametrize("rule", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_flipping_a_rule_turns_its_case_round(name: str, rule: str) -> None:
    if held_by_another(name, rule):
        assert kept(rule, flipped(MODELS[name], rule)) == (rule in KEPT[name])
    else:
        assert kept(rule, flipped(MODELS[name], rule)) != (rule in KEPT[name])


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "posix"])
def test_what_another_file_made_earlier_does_when_one_is_synced(name: str) -> None:
    trace = two_new_files_the_second_synced().trace()
    space = StateSpace(trace, MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(trace.ops))]
    assert any(data(tree, "n1") is None for tree in trees) == (name in ("btrfs", "posix"))
    assert any(data(tree, "n2") is None for tree in trees) == (name == "posix")


def test_a_length_may_come_before_the_data_inside_a_block_on_ext4_alone() -> None:
    trace = append_in_block().trace()
    hole = b"o" * 100 + bytes(100)
    shown = {}
    for name in ("ext4", "xfs", "btrfs", "posix"):
        space = StateSpace(trace, MODELS[name], bound=16)
        shown[name] = any(data(space.tree(state.recipe), "s") == hole for state in space.states_at(len(trace.ops)))
    assert shown == {"ext4": True, "xfs": False, "btrfs": False, "posix": True}


@pytest.mark.parametrize("name", ["ext4", "xfs"])
def test_a_truncate_that_changes_no_length_gives_fdatasync_nothing_to_commit(name: str) -> None:
    script = durable(s=b"", t=OLD)
    script.rename("t", "u")
    script.truncate("s")
    script.fdatasync("s")
    space = StateSpace(script.trace(), MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(script.ops))]
    assert any(data(tree, "t") == OLD for tree in trees)


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "posix", "alice"])
def test_a_move_between_folders_is_durable_once_both_are_synced(name: str) -> None:
    script = file_moved_to_another_folder_that_is_synced()
    script.fsync("")
    space = StateSpace(script.trace(), MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(script.ops))]
    assert all(data(tree, "d/s") == OLD and data(tree, "s") is None for tree in trees)


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "posix"])
def test_names_that_a_log_takes_away_or_brings_back(name: str) -> None:
    weak = name in ("btrfs", "posix")
    trace = one_of_two_names_replaced_and_the_file_synced().trace()
    space = StateSpace(trace, MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(trace.ops))]
    assert any(data(tree, "u") is None for tree in trees) == weak
    trace = file_moved_to_another_folder_that_is_synced().trace()
    space = StateSpace(trace, MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(trace.ops))]
    assert all(data(tree, "d/s") == OLD for tree in trees)
    assert any(data(tree, "s") == OLD for tree in trees) == weak
    trace = name_synced_with_a_new_file_and_removed().trace()
    space = StateSpace(trace, MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(trace.ops))]
    assert any(data(tree, "s") == OLD for tree in trees) == weak


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs"])
def test_where_nothing_was_synced_since_a_log_rotates_and_a_backup_is_linked_in_order(name: str) -> None:
    script = durable(s=OLD)
    script.rename("s", "s.1")
    script.create("s")
    space = StateSpace(script.trace(), MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(script.ops))]
    assert all(OLD in (data(tree, "s"), data(tree, "s.1")) for tree in trees)
    script = durable(s=OLD, t=NEW)
    script.link("s", "u")
    script.rename("t", "s")
    space = StateSpace(script.trace(), MODELS[name], bound=16)
    trees = [space.tree(state.recipe) for state in space.states_at(len(script.ops))]
    assert all(data(tree, "s") in (OLD, NEW) for tree in trees)


def test_alice_finds_garbage_where_a_length_came_before_its_data() -> None:
    trace = append_of_blocks().trace()
    space = StateSpace(trace, MODELS["alice"], bound=16)
    found = {data(space.tree(state.recipe), "s") for state in space.states_at(len(trace.ops))}
    assert b"o" * 4096 + b"\xa5" * 4096 in found


def test_a_truncated_length_is_independent_of_later_data_everywhere() -> None:
    script = durable(s=OLD)
    script.truncate("s", 100)
    script.write("s", b"n" * 10, 0)
    for name in ("ext4", "xfs", "btrfs", "posix"):
        space = StateSpace(script.trace(), MODELS[name], bound=16)
        found = {data(space.tree(state.recipe), "s") for state in space.states_at(2)}
        # Written back is the unit as the cache had it: zero beyond the length that it was cut to.
        cut, unit = b"n" * 10 + b"o" * 90, MODELS[name].overwrite_unit_bytes
        assert {OLD, b"o" * 100, cut, cut.ljust(unit, b"\0") + OLD[unit:]} <= found


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "posix", "alice"])
def test_what_was_synced_is_in_every_state_and_nothing_newer_than_the_crash(name: str) -> None:
    script = durable(s=OLD)
    script.write("s", NEW, 0)
    script.fsync("s")
    script.fsync("")
    synced = len(script.ops)
    script.write("s", b"later", 0)
    script.create("n")
    space = StateSpace(script.trace(), MODELS[name], bound=16)
    before = {space.tree(state.recipe).digest for state in space.states_at(synced)}
    assert len(before) == 1
    for state in space.states_at(synced + 1):
        tree = space.tree(state.recipe)
        assert tree.data("s")[5:] == NEW[5:]
        assert tree.lookup("n") is None


def test_a_model_of_ones_own_is_a_preset_and_the_rules_that_differ() -> None:
    model = model_named("xfs fsync_keeps_data=false overwrite_unit_bytes=512 early_size=zeroes")
    assert (model.base, model.fsync_keeps_data, model.overwrite_unit_bytes) == ("xfs", False, 512)
    assert model.early_size == "zeroes"
    assert not kept("fsync_keeps_data", model)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ntfs fsync_keeps_data=false", "no persistence model 'ntfs'"),
        ("xfs fsync_keeps_date=false", "there is no rule 'fsync_keeps_date'"),
        ("xfs fsync_keeps_data=maybe", "rule fsync_keeps_data is 'maybe'"),
        ("xfs overwrite_unit_bytes=513", "rule overwrite_unit_bytes is 513"),
        ("real:zfs", "no persistence model 'real:zfs'"),
    ],
)
def test_a_wrong_model_is_refused_with_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        model_named(text)
