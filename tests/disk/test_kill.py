"""The states that a killed process leaves: every prefix, the inside of each write, and nothing else."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.disk import MODELS, Fate, StateSpace, Tree, initial_tree, prefixes
from chaos.disk.replay import apply
from chaos.disk.sharing import SharedMap
from chaos.trace.model import Op
from tests.disk.traces import Script, scripts

KILL = MODELS["kill"]


def contents(script: Script, path: str) -> set[bytes | None]:
    space = StateSpace(script.trace(), KILL)
    found: set[bytes | None] = set()
    for state in space.states():
        tree = space.tree(state.recipe)
        found.add(tree.data(path) if tree.lookup(path) is not None else None)
    return found


@given(scripts())
def test_every_prefix_is_a_state_the_empty_one_included(script: Script) -> None:
    trace = script.trace()
    digests = {state.digest for state in StateSpace(trace, KILL).states()}
    tree = initial_tree(trace)
    assert tree.digest in digests
    for op in trace.ops:
        tree = apply(tree, op)
        assert tree.digest in digests


def test_a_write_is_cut_at_one_byte_half_all_but_one_and_page_borders() -> None:
    script = Script()
    script.create("a")
    script.write("a", b"x" * 10000, 100)
    lengths = {len(data) - 100 for data in contents(script, "a") if data}
    assert lengths == {1, 5000, 9999, 4096 - 100, 8192 - 100, 10000}


def test_an_append_is_cut_at_the_borders_of_the_file_not_of_the_call() -> None:
    script = Script()
    script.create("a")
    script.write("a", b"x" * 4000)
    script.start()
    script.write("a", b"y" * 200)
    assert {len(data) for data in contents(script, "a") if data} == {4000, 4001, 4096, 4100, 4199, 4200}


def test_the_page_borders_that_a_very_large_write_skips_are_told() -> None:
    script = Script()
    script.create("a")
    script.write("a", bytes(4 << 20))
    space = StateSpace(script.trace(), KILL)
    states = list(space.states())
    statistics = space.statistics()
    assert len(states) < 30
    assert not statistics.exhaustive
    assert "page borders" in statistics.left_out[0]


def test_a_crash_between_a_call_and_its_acknowledgement_is_seen_with_and_without_it() -> None:
    script = Script()
    script.create("a")
    script.ack()
    script.ack()
    script.create("b")
    space = StateSpace(script.trace(), KILL)
    pairs = {(state.point, state.acked) for state in space.states()}
    assert pairs == {(0, 0), (1, 0), (1, 1), (1, 2), (2, 2)}


def test_a_write_in_flight_has_not_been_acknowledged() -> None:
    script = Script()
    script.create("a")
    script.write("a", b"0123456789")
    script.ack()
    states = StateSpace(script.trace(), KILL).states()
    assert {state.acked for state in states if state.torn} == {0}


def test_equal_trees_with_equal_acknowledgements_are_one_state() -> None:
    script = Script()
    script.create("a")
    for _ in range(5):
        script.fsync("a")
    space = StateSpace(script.trace(), KILL)
    assert len(list(space.states())) == 2
    assert space.statistics().generated == 7


@given(scripts())
def test_recipes_rebuild_the_tree_they_were_given_for(script: Script) -> None:
    trace = script.trace()
    states = list(StateSpace(trace, KILL).states())
    fresh = StateSpace(trace, KILL)
    for state in reversed(states):
        assert fresh.tree(state.recipe).digest == state.digest


def test_a_torn_write_is_described_with_its_length() -> None:
    script = Script()
    script.create("a")
    script.write("a", b"0123456789")
    space = StateSpace(script.trace(), KILL)
    torn = next(state for state in space.states() if state.torn and state.recipe.endswith("cut5"))
    told = space.describe(torn.recipe)
    assert [fate.text for fate in told.with_fate(Fate.TORN)] == [
        "write 10 bytes at 0 of a: torn, the first 5 bytes got in"
    ]


def test_a_tree_that_a_cut_at_any_byte_leaves_is_in_the_space_and_others_are_not() -> None:
    script = Script()
    script.create("a")
    script.write("a", b"0123456789")
    script.start()
    script.write("a", b"abcdef", 2)
    space = StateSpace(script.trace(), KILL)
    whole = space.tree("1/0:all")
    for length in range(7):
        assert space.contains(1, space.tree(f"1/0:cut{length}"))
    edit = whole.edit()
    edit.set_content(1, whole.nodes[1].content.write(9, b"!"))
    assert not space.contains(1, edit.tree())


@pytest.mark.parametrize(("kept", "walks"), [(2048, 1), (201, 1), (100, 2), (0, 2)])
def test_each_walk_forward_applies_each_operation_once_and_no_other_one_those_that_are_kept(
    kept: int, walks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script()
    script.create("a")
    for number in range(200):
        script.write("a", b"%04d" % number)
    trace = script.trace()
    recipes = [f"{point}/0:{choice}" for point in range(2, 202) for choice in ("all", "cut1", "cut2")]
    monkeypatch.setattr(prefixes, "_KEPT_TREES", kept)
    space = StateSpace(trace, KILL)
    applied: list[int] = []

    def counted(tree: Tree, op: Op, last_used: Collection[int]) -> Tree:
        applied.append(op.seq)
        return apply(tree, op, last_used)

    monkeypatch.setattr(prefixes, "apply", counted)
    for recipe in (*recipes, *recipes):
        space.tree(recipe)
    assert applied == [*range(201), *(range(kept, 201) if walks == 2 else ())]


@pytest.mark.parametrize("kept", [0, 1, 5, 64, 70])
def test_trees_are_the_same_whether_they_were_kept_or_not(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script()
    script.create("a")
    for number in range(150):
        script.write("a", b"%04d" % number)
    trace = script.trace()
    expected = [initial_tree(trace)]
    for op in trace.ops:
        expected.append(apply(expected[-1], op))
    monkeypatch.setattr(prefixes, "_KEPT_TREES", kept)
    space = StateSpace(trace, KILL)
    for point in (151, 3, 0, 70, 71, 5, 64, 65, 128, 129, 1, 150):
        assert space.tree(f"{point}/0:all") == expected[point]


def test_trees_with_much_in_them_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script()
    script.create("a")
    for _ in range(100):
        script.write("a", bytes(1000))
    monkeypatch.setattr(prefixes, "_KEPT_BYTES", 10_000)
    applied: list[int] = []

    def counted(tree: Tree, op: Op, last_used: Collection[int]) -> Tree:
        applied.append(op.seq)
        return apply(tree, op, last_used)

    monkeypatch.setattr(prefixes, "apply", counted)
    space = StateSpace(script.trace(), KILL)
    for _ in range(2):
        space.tree("30/0:all")
        space.tree("60/0:all")
    assert applied[:60] == [*range(60)]
    assert applied[60:] == [*range(11, 30), *range(30, 60)]


def test_files_that_are_gone_for_good_are_forgotten() -> None:
    script = Script()
    for number in range(50):
        script.create("new")
        script.write("new", b"%d" % number)
        script.rename("new", "kept")
    trace = script.trace()
    space = StateSpace(trace, KILL)
    assert max(len(space.tree(state.recipe).nodes) for state in space.states()) <= 3  # the folder, one old, one new


def test_a_file_without_a_name_that_gets_one_later_is_kept() -> None:
    script = Script()
    node = script.tmpfile()
    script.write(node, b"whole")
    script.create("other")
    script.link(node, "kept")
    space = StateSpace(script.trace(), KILL)
    assert space.tree("4/0:all").data("kept") == b"whole"


@given(st.dictionaries(st.integers(0, 200), st.integers()), st.dictionaries(st.integers(0, 200), st.integers()))
def test_changes_made_at_once_are_those_made_one_by_one(first: dict[int, int], second: dict[int, int]) -> None:
    at_once = SharedMap[int, int]().update(first).update(second)
    assert dict(at_once.items()) == {**first, **second}
    assert len(at_once) == len({**first, **second})
    assert all(at_once[key] == value for key, value in {**first, **second}.items())
