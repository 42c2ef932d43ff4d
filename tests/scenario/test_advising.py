"""How many failing states a change is said to remove."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.child.target import CallableTarget, CommandTarget, Roles
from chaos.disk import MODELS, StateSpace
from chaos.explore.settings import Settings
from chaos.observations import Damage
from chaos.report.blame import Blamed
from chaos.scenario.model import Explore, RunOptions, Scenario
from chaos.scenario.runner import Run
from chaos.scenario.runner.advising import Advisor
from tests.disk.traces import Script


@pytest.mark.parametrize(
    ("states", "words"),
    [(2, "removes all 2 failing states"), (700, "removes all of the 2 failing states tried, of 700")],
)
def test_states_that_were_not_kept_are_not_said_to_be_removed(states: int, words: str) -> None:
    script = Script()
    script.create("s")
    script.start()
    script.write("s", b"n" * 100)
    script.ack()
    trace, model = script.trace(), MODELS["ext4"]
    lost = next(state for state in StateSpace(trace, model).states() if state.lost and state.acked)
    nothing = CommandTarget(commands=(("true",),))
    advisor = Advisor(trace, Roles(workload=nothing, recover=nothing), Settings(models=(model,)), ("durable",))
    blamed = [Blamed(op=trace.ops[0], loss="lost")]
    (line,) = advisor("durable", Damage.LOST, blamed, [(lost.recipe, "ext4")] * 2, states)
    assert line.startswith("an fsync of s when it is written, ")
    assert line.endswith(words)


def save(path: Path, value: int) -> None:
    path.write_text(json.dumps({"n": value}))


def save_two(disk: Path, ack: Callable[[object], None]) -> None:
    for number in (1, 2):
        save(disk / "a.json", number)
        save(disk / "b.json", number)
        ack(number)


def load_all(disk: Path) -> list[int]:
    return [json.loads(path.read_text())["n"] for path in sorted(disk.glob("*.json"))]


def test_a_replacement_is_tried_for_every_file_that_the_line_writes(tmp_path: Path) -> None:
    roles = Roles(workload=CallableTarget(function=save_two), recover=CallableTarget(function=load_all))
    drive = Explore(roles=roles, models=("kill",), oracles=("recovers",))
    with Run(RunOptions(jobs=1, report_dir=tmp_path), command="test") as run:
        (finding,) = run.scenario(Scenario(name="two", drive=drive)).findings
    (advice,) = (line for line in finding.advice if "temporary file" in line)
    assert advice.startswith("write a.json, and 1 other file that the same line writes, to a temporary file each, ")
    assert advice.split(": ")[-1].startswith("none of ")


BLOCK = 4096


def append_and_point(path: Path, number: int, *, sync: bool) -> None:
    """A block at the end, then its number at the start of the same file, in place."""
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, bytes([number]) * BLOCK, BLOCK * number)
    if sync:
        os.fsync(descriptor)
    os.pwrite(descriptor, bytes([number]), 0)
    os.fsync(descriptor)
    os.close(descriptor)


def new_file(disk: Path) -> None:
    (disk / "state").write_bytes(bytes(BLOCK))


def last_block(disk: Path) -> int:
    content = (disk / "state").read_bytes()
    blocks = [content[at : at + BLOCK] for at in range(BLOCK, BLOCK * (content[0] + 1), BLOCK)]
    if any(block != bytes([number]) * BLOCK for number, block in enumerate(blocks, start=1)):
        raise ValueError("a block is damaged")
    return content[0]


@pytest.mark.parametrize("sync", [False, True])
def test_a_sync_between_two_writes_of_one_file_is_advised_where_their_order_is_enough(
    tmp_path: Path, sync: bool
) -> None:
    def work(disk: Path, ack: Callable[[object], None]) -> None:
        for number in (1, 2):
            append_and_point(disk / "state", number, sync=sync)
            ack(number)

    roles = Roles(
        setup=CallableTarget(function=new_file),
        workload=CallableTarget(function=work),
        recover=CallableTarget(function=last_block),
    )
    drive = Explore(roles=roles, models=("ext4",), oracles=("recovers",))
    with Run(RunOptions(jobs=1, report_dir=tmp_path), command="test") as run:
        findings = run.scenario(Scenario(name="order", drive=drive)).findings
    if sync:  # the advice is followed
        assert not findings
        return
    (finding,) = findings
    (advice,) = finding.advice
    assert advice.startswith("an fsync of state after test_advising.py:")
    assert "(pwrite64() of state), before it is written further, removes all " in advice
