"""What a crash state says of an operation that is partly there."""

import pytest

from chaos.disk import MODELS, Fate, StateSpace
from chaos.disk.states import CrashState
from tests.disk.traces import Script


def appended(path: str = "s", size: int = 100) -> StateSpace:
    script = Script()
    script.create(path)
    script.write(path, b"o" * size)
    script.start()
    script.write(path, b"n" * 100)
    return StateSpace(script.trace(), MODELS["posix"])


def part_of(space: StateSpace, wanted: bytes, path: str = "s") -> str:
    def shows(state: CrashState) -> bool:
        return space.tree(state.recipe).data(path) == wanted

    state = next(state for state in space.states() if shows(state) and state.torn)
    (torn,) = space.describe(state.recipe).with_fate(Fate.TORN)
    assert torn.text.endswith(f": torn, {torn.part}")
    return torn.part


def test_a_length_without_its_data_is_told_with_the_bytes_of_the_write_alone() -> None:
    part = part_of(appended(), b"o" * 100 + bytes(100))
    assert part == "not there: bytes 100 to 199 (the file is as long as if they were, with zeroes in their place)"


def test_an_append_is_lost_when_only_its_length_is_missing() -> None:
    space = appended()
    told = space.describe("1/0:all-0.1")
    assert space.tree("1/0:all-0.1").data("s") == b"o" * 100
    assert [fate.text for fate in told.with_fate(Fate.LOST)] == ["write 100 bytes at 100 of s: lost"]


def test_an_append_of_which_some_length_is_there_is_torn() -> None:
    script = Script()
    script.create("s")
    script.start()
    script.write("s", b"n" * 9000)
    part = part_of(StateSpace(script.trace(), MODELS["ext4"]), b"n" * 4096)
    assert part == "not there: bytes 4096 to 8999"


def test_an_overwrite_that_is_half_there_tells_that_the_rest_is_as_before() -> None:
    script = Script()
    script.create("s")
    script.write("s", b"o" * 1024)
    script.start()
    script.write("s", b"n" * 1024, 0)
    part = part_of(StateSpace(script.trace(), MODELS["posix"]), b"o" * 512 + b"n" * 512)
    assert part == "not there: bytes 0 to 511 (what was there before is still there)"


@pytest.mark.parametrize(("model", "filling"), [("posix", "zeroes"), ("alice", "garbage")])
def test_a_rewrite_after_a_truncate_that_kept_only_its_length_does_not_tell_of_what_the_truncate_took(
    model: str, filling: str
) -> None:
    script = Script()
    script.create("s")
    script.write("s", b"o" * 50)
    script.start()
    script.truncate("s", 0)
    script.write("s", b"n" * 50, 0)
    space = StateSpace(script.trace(), MODELS[model])
    told = {
        (space.tree(state.recipe).data("s"), fate.part)
        for state in space.states()
        for fate in space.describe(state.recipe).with_fate(Fate.TORN)
        if "(" in fate.part
    }
    before = {part for content, part in told if content == b"o" * 50}
    emptied = {part for content, part in told if b"o" not in content}
    assert all(part.endswith("(what was there before is still there)") for part in before)
    assert emptied == {f"not there: bytes 0 to 49 (the file is as long as if they were, with {filling} in their place)"}


@pytest.mark.parametrize("cut", [1, 50])
def test_a_write_that_a_kill_cut_tells_how_far_it_came(cut: int) -> None:
    script = Script()
    script.create("s")
    script.start()
    script.write("s", b"n" * 100)
    space = StateSpace(script.trace(), MODELS["kill"])
    assert part_of(space, b"n" * cut) == f"the first {cut} byte{'s' * (cut > 1)} got in"
