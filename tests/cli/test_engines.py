"""The engine by every door: scenario, option, fixture; what it can't follow is no pass."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.shell import chaos, put_scenario
from tests.warm import run_pytest

BY_SQLITE = """\
import sqlite3

def save(disk, ack):
    (disk / "note").write_text("1")
    with sqlite3.connect(disk / "data.db") as connection:
        connection.execute("create table t (a)")
    ack(1)
"""


def engine_told(folder: Path) -> str:
    (scenario,) = json.loads((folder / "r.json").read_text())["run"]["scenarios"]
    return str(scenario["engine"])


@pytest.mark.parametrize("words", [["--engine", "portable"], []], ids=["option", "scenario"])
def test_the_portable_engine_finds_the_line_and_is_named_in_the_reports(tmp_path: Path, words: list[str]) -> None:
    put_scenario(tmp_path, top=[] if words else ['engine = "portable"'])
    done = chaos(tmp_path, "run", "--json", "r.json", *words)
    assert done.code == 1, done.out
    assert "targets.py:9 overwrite: recovery raises JSONDecodeError" in done.out
    assert engine_told(tmp_path) == "portable"
    assert "portable" in next(line for line in done.out.splitlines() if line.startswith("one "))


def test_the_option_wins_over_the_scenario(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="replace", top=['engine = "portable"'])
    assert chaos(tmp_path, "run", "--engine", "syscalls", "--json", "r.json").code == 0
    assert engine_told(tmp_path) == "syscalls"


def test_c_code_that_writes_is_not_measured_by_the_portable_engine(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="save", setup="", recover='[["true"]]')
    (tmp_path / "scenarios" / "targets.py").write_text(BY_SQLITE)
    done = chaos(tmp_path, "run", "--engine", "portable")
    assert done.code == 3, done.out
    assert "can't be modelled: data.db: made by code that calls the operating system by itself" in done.out
    assert "need the engine syscalls" in done.out
    assert chaos(tmp_path, "run").code == 0


def test_a_program_that_is_not_python_is_not_measured_by_the_portable_engine(tmp_path: Path) -> None:
    put_scenario(tmp_path, setup="", workload='[["sh", "-c", "echo 1 > f"]]', recover='[["cat", "f"]]')
    done = chaos(tmp_path, "run", "--engine", "portable")
    assert done.code == 3
    assert "can't be modelled: f: made by code" in done.out
    assert "next: use engine syscalls" in done.out


def test_a_command_is_recorded_by_the_engine_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    python = [sys.executable, "-c", "open('f', 'w').close()"]
    done = chaos(tmp_path, "record", "-o", "t", "--folder", "w", "--engine", "portable", "--", *python)
    assert done.code == 0, done.err
    assert "engine portable" in done.err + done.out
    done = chaos(tmp_path, "record", "-o", "t", "--folder", "w", "--engine", "portable", "--", "sh", "-c", "echo > g")
    assert done.code == 3
    assert "can't be modelled: g" in done.err


def test_the_doctor_tells_of_both_engines(tmp_path: Path) -> None:
    done = chaos(tmp_path, "doctor")
    assert "memory that recoveries write is copied when they are forked: " in done.out
    assert done.code == 0
    assert "engine syscalls: " in done.out
    assert "engine portable: works" in done.out


def test_a_test_chooses_by_option_ini_or_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("""
        import os

        def save(disk, ack):
            (disk / "new").write_text("1")
            os.replace(disk / "new", disk / "f")
            ack(1)

        def test_it(crash):
            done = crash(workload=save, recover=lambda disk: (disk / "f").exists() and (disk / "f").read_text())
            assert done.engine == "portable"
    """)
    assert run_pytest(pytester, "--chaos-engine", "portable").ret == 0
    assert run_pytest(pytester, "--chaos-engine", "syscalls").ret == 1
    monkeypatch.setenv("CHAOS_ENGINE", "portable")
    assert run_pytest(pytester).ret == 0
    monkeypatch.delenv("CHAOS_ENGINE")
    pytester.makeini("[pytest]\nchaos_engine = portable\n")
    assert run_pytest(pytester).ret == 0
    done = run_pytest(pytester, "--chaos-engine", "magic")
    done.stdout.fnmatch_lines(['*--chaos-engine: expected one of auto, syscalls, portable, got "magic"*'])
