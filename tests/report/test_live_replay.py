"""Replay files of living processes: read back as written, refused when they are foreign, damaged or of a later kind."""

import json
from typing import Any

import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Target
from chaos.errors import UsageError
from chaos.report.live_replay import LiveReplay, dump_live_replay, load_live_targets
from chaos.report.replay import Replay, dump_replay, read_any
from tests.report.test_document import REPLAY, ROLES

LIVE = LiveReplay(
    kind="race",
    finding="0123456789ab",
    scenario="lock",
    oracle="exclusive",
    recipe="3>1 17>0",
    oracles=("exclusive", "returns"),
    seed=7,
    settings={"steps": "200"},
)
TARGETS: dict[str, Target] = {
    "worker 0": PythonTarget(ref="targets:work", search=("/here",)),
    "worker 1": CommandTarget(commands=(("git", "gc"),), env=(("A", "b"),)),
}


def damaged(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dump_live_replay(LIVE, TARGETS)), **changes}).encode()


def test_a_live_replay_is_read_back_with_its_targets() -> None:
    content = dump_live_replay(LIVE, TARGETS)
    assert read_any(content, "replay.json") == LIVE
    assert load_live_targets(content, "replay.json") == TARGETS


def test_a_replay_file_without_a_kind_is_of_a_crash_state() -> None:
    assert isinstance(read_any(dump_replay(REPLAY, ROLES), "replay.json"), Replay)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "earthquake"}, "is of the unknown kind 'earthquake'; known are explore, race"),
        ({"format": "chaos-report"}, "is not a chaos-replay file"),
        ({"version": 2}, "this program reads up to 1"),
        ({"recipe": 5}, "recipe is 5, and must be"),
        ({"settings": {"steps": 5}}, "settings.steps is 5"),
    ],
)
def test_what_is_no_such_file_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_any(damaged(**changes), "replay.json")


@pytest.mark.parametrize(
    ("targets", "words"),
    [(None, "targets is missing"), ({}, "targets is missing"), ({"worker 0": {"kind": "x"}}, "'x'")],
)
def test_targets_that_are_damaged_are_refused(targets: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_live_targets(damaged(targets=targets), "replay.json")


def test_a_function_of_a_test_can_not_be_named() -> None:
    content = dump_live_replay(LIVE, {"worker 0": CallableTarget(function=len)})
    with pytest.raises(UsageError, match="function inside a test"):
        load_live_targets(content, "replay.json")
