"""How many failing states a change is said to remove."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
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


def advised(folder: Path, work: Callable[..., object], load: Callable[[Path], object], *models: str) -> list[list[str]]:
    """The lines of advice of each finding."""
    roles = Roles(workload=CallableTarget(function=work), recover=CallableTarget(function=load))
    with Run(RunOptions(report_dir=folder), command="test") as run:
        result = run.scenario(Scenario(name="advised", drive=Explore(roles=roles, models=models)))
    assert result.findings
    return [list(finding.advice) for finding in result.findings]


def test_beside_what_mends_all_of_it_nothing_is_told_that_mends_a_part(tmp_path: Path) -> None:
    def work(disk: Path, ack: Callable[[object], None]) -> None:
        for number in range(3):
            save(disk / "a.json", number)
            ack(number)

    found = advised(tmp_path, work, load_all, "kill", "ext4")
    assert found
    for lines in found:
        assert len(lines) == 1, lines
        assert "none of " in lines[0] or "removes all " in lines[0]


def test_the_file_that_replaces_one_is_not_taken_for_another_of_its_folder(tmp_path: Path) -> None:
    def work(disk: Path, ack: Callable[[object], None]) -> None:
        for number in range(3):
            save(disk / f"part{number}", number)
            ack(number)

    def load(disk: Path) -> list[int]:
        return [json.loads(path.read_text())["n"] for path in sorted(disk.glob("part*"))]

    for lines in advised(tmp_path, work, load, "kill"):
        assert [line for line in lines if "temporary file" in line and "none of " in line]


def test_nobody_is_told_to_replace_a_database(tmp_path: Path) -> None:
    def work(disk: Path, ack: Callable[[object], None]) -> None:
        with closing(sqlite3.connect(disk / "base", isolation_level=None)) as base:
            base.execute("pragma journal_mode=off")
            base.execute("create table t(n integer, filler text)")
            for number in range(2):
                base.execute("insert into t values(?, ?)", (number, "x" * 9000))
                ack(number)

    def load(disk: Path) -> list[int]:
        with closing(sqlite3.connect(disk / "base")) as base:
            if not base.execute("select 1 from sqlite_master").fetchone():
                return []
            return [number for (number,) in base.execute("select n from t where length(filler) = 9000")]

    assert not [line for lines in advised(tmp_path, work, load, "kill") for line in lines if "temporary file" in line]
