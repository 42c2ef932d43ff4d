"""Traces as they would be with a temporary file and a rename in the place of writes under the final name."""

import pytest

from chaos.disk import MODELS, StateSpace
from chaos.disk.replacing import is_written_in_place, with_replacement
from tests.disk.traces import Script


def saved(*, appended: bool = False, renamed: bool = False) -> Script:
    script = Script()
    script.create("t" if renamed else "s")
    script.write("t" if renamed else "s", b"first" * 200)
    if renamed:
        script.rename("t", "s")
    script.ack()
    if appended:
        script.write("s", b"more")
        script.ack()
    return script


@pytest.mark.parametrize(
    ("appended", "renamed", "wanted"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_a_new_file_is_written_in_place_when_all_its_bytes_come_at_once(
    appended: bool, renamed: bool, wanted: bool
) -> None:
    trace = saved(appended=appended, renamed=renamed).trace()
    assert is_written_in_place(trace, trace.ops[0].node) == wanted


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("again", [False, True], ids=["once", "overwritten"])
def test_a_file_that_is_replaced_is_whole_from_its_first_byte_on(name: str, again: bool) -> None:
    script = saved()
    if again:
        script.truncate("s")
        script.write("s", b"other" * 100)
        script.ack()
    trace = with_replacement(script.trace(), script.ops[0].node)
    assert trace is not None
    space = StateSpace(trace, MODELS[name])
    found = {None if (tree := space.tree(one.recipe)).lookup("s") is None else tree.data("s") for one in space.states()}
    whole = {b"first" * 200, b"other" * 100} if again else {b"first" * 200}
    assert found - {None} == whole or (name == "alice" and found - {None} <= whole)
    last = {space.tree(one.recipe).lookup("s") for one in space.states() if one.acked == len(trace.acks)}
    assert None not in last


@pytest.mark.parametrize("acked", [False, True])
def test_saves_that_follow_one_another_are_replacements_of_their_own(acked: bool) -> None:
    script = Script()
    script.create("s")
    script.write("s", b"first")
    for text in (b"second", b"third"):
        if acked:
            script.ack()
        script.truncate("s")
        script.write("s", text)
    trace = with_replacement(script.trace(), script.ops[0].node)
    assert trace is not None
    space = StateSpace(trace, MODELS["kill"])
    found = {None if (tree := space.tree(one.recipe)).lookup("s") is None else tree.data("s") for one in space.states()}
    assert found == {None, b"first", b"second", b"third"}
