"""`chaos validate`: real kills are held against the model, and a model that lacks a tree is found out."""

from pathlib import Path

import pytest

from chaos.scenario.runner import killing
from chaos.trace.model import Op
from tests.cli.shell import chaos, put_scenario

TARGETS = """\
import os

def work(disk, ack):
    for number in range(3):
        (disk / "f").write_bytes(bytes(range(10)))
        ack(number)

def load(disk):
    return None
"""


def put(folder: Path, text: str = TARGETS) -> None:
    (folder / "scenarios").mkdir()
    (folder / "scenarios" / "targets.py").write_text(text)
    put_scenario(folder, setup="", workload="work")


def test_what_real_kills_leave_is_among_the_listed_states(tmp_path: Path) -> None:
    put(tmp_path)
    done = chaos(tmp_path, "validate", "--kills", "12")
    assert done.code == 0, done.err
    assert "12 of 12 trees among" in done.out
    assert " 0 of them inside" not in done.out


def test_a_tree_that_the_model_lacks_is_a_fault_of_the_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)

    def lengths(op: Op) -> tuple[tuple[int, ...], int]:
        return ((3,) if op.data else ()), 0  # the model cuts ten bytes after 1, 5 and 9

    monkeypatch.setattr(killing, "torn_lengths", lengths)
    done = chaos(tmp_path, "validate", "--kills", "12")
    assert done.code == 4
    assert "not among the model's states: killed inside call " in done.out
    assert "the model `kill` does not have" in done.err


def test_a_workload_that_never_repeats_itself_is_not_measured(tmp_path: Path) -> None:
    put(tmp_path, TARGETS.replace("bytes(range(10))", "os.urandom(8)"))
    done = chaos(tmp_path, "validate", "--kills", "3")
    assert done.code == 3
    assert "two runs of the workload do different things" in done.out
