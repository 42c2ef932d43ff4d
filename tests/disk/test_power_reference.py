"""The power-loss enumerator and the membership test agree with all subsets of micro-operations, tried one by one."""

import pytest
from hypothesis import assume, given, settings

from chaos.disk import MODELS, StateSpace, Tree
from chaos.disk.models import PersistenceModel
from tests.disk.reference import Listing, Reference
from tests.disk.traces import Script, scripts

POWER = [model for model in MODELS.values() if not model.cache_survives]
# All subsets of these are tried: a thousand listings, some tens of milliseconds.
MOST_FREE = 10

per_model = pytest.mark.parametrize("model", POWER, ids=lambda model: model.name)


def listing(tree: Tree) -> Listing:
    told = []
    for path, number in tree.paths():
        node = tree.nodes[number]
        told.append((path, (node.type, node.mode, node.target, bytes(node.content), tuple(tree.paths_of(number)))))
    return tuple(told)


def small_reference(script: Script, model: PersistenceModel, point: int) -> Reference:
    reference = Reference(script.trace(), model, point)
    assume(len(reference.micros) - len(reference.forced) <= MOST_FREE)
    return reference


@per_model
@given(script=scripts(most=7))
@settings(max_examples=150)
def test_all_states_of_a_crash_point_are_the_legal_subsets_and_no_others(
    script: Script, model: PersistenceModel
) -> None:
    trace = script.trace()
    point = len(trace.ops)
    reference = small_reference(script, model, point)
    space = StateSpace(trace, model, bound=20)
    found = {listing(space.tree(state.recipe)) for state in space.states_at(point)}
    assert found == reference.trees()


@per_model
@given(script=scripts(most=6))
@settings(max_examples=50)
def test_a_tree_is_called_legal_where_and_only_where_some_legal_subset_gives_it(
    script: Script, model: PersistenceModel
) -> None:
    trace = script.trace()
    point = len(trace.ops)
    legal = small_reference(script, model, point).trees()
    space = StateSpace(trace, model)
    # The weakest model's trees, and those of earlier points, are near misses of this one's.
    weakest = StateSpace(trace, MODELS["alice"], bound=6)
    for near in {point, max(0, point - 2)}:
        for state in weakest.states_at(near):
            tree = weakest.tree(state.recipe)
            assert space.contains(point, tree) == (listing(tree) in legal)


@per_model
@given(script=scripts(most=8))
@settings(max_examples=50)
def test_a_recipe_rebuilds_its_tree_in_any_order(script: Script, model: PersistenceModel) -> None:
    space = StateSpace(script.trace(), model, bound=5)
    states = list(space.states())
    fresh = StateSpace(script.trace(), model, bound=5)
    for state in reversed(states):
        assert fresh.tree(state.recipe).digest == state.digest
        assert fresh.describe(state.recipe).point == state.point


@pytest.mark.parametrize("stronger", ["ext4", "xfs", "btrfs"])
@given(script=scripts(most=8))
@settings(max_examples=50)
def test_posix_and_alice_allow_all_that_each_file_system_does(script: Script, stronger: str) -> None:
    trace = script.trace()
    point = len(trace.ops)
    space = StateSpace(trace, MODELS[stronger], bound=6)
    trees = [space.tree(state.recipe) for state in space.states_at(point)]
    for name in ("posix", "alice"):
        weaker = StateSpace(trace, MODELS[name])
        assert all(weaker.contains(point, tree) for tree in trees)


def agrees(script: Script, model: PersistenceModel) -> bool:
    trace = script.trace()
    space = StateSpace(trace, model, bound=20)
    found = {listing(space.tree(state.recipe)) for state in space.states_at(len(trace.ops))}
    return found == Reference(trace, model, len(trace.ops)).trees()


@per_model
def test_a_file_moved_out_of_a_folder_may_be_there_without_the_folder(model: PersistenceModel) -> None:
    script = Script()
    script.mkdir("d")
    script.create("d/a")
    script.rename("d/a", "a")
    assert agrees(script, model)


@per_model
def test_pending_changes_inside_a_removed_folder_break_nothing(model: PersistenceModel) -> None:
    script = Script()
    script.mkdir("d")
    script.start()
    script.create("d/a")
    script.rename("d/a", "a")
    script.rmdir("d")
    script.fsync("")
    assert agrees(script, model)


@per_model
def test_what_a_truncate_zeroed_in_a_page_is_written_back_with_it(model: PersistenceModel) -> None:
    script = Script()
    script.create("a")
    script.write("a", b"o" * 4096)
    script.start()
    script.truncate("a", 3000)
    script.write("a", b"n", 3500)
    assert agrees(script, model)


@per_model
def test_syncing_a_file_of_two_names_keeps_the_folders_above_both(model: PersistenceModel) -> None:
    script = Script()
    script.mkdir("d")
    script.create("d/a")
    script.link("d/a", "a")
    script.fsync("a")
    assert agrees(script, model)
