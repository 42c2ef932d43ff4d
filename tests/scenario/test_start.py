"""What a run takes to start: faces give out what they declare, and a command imports what its scenario needs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAZY = ["chaos.disk", "chaos.fleet", "chaos.scenario", "chaos.scenario.runner"]
# What only some kinds of scenarios, commands and reports take, and takes long to import.
SELDOM = ("asyncio", "http", "jinja2", "sqlite3", "importlib.metadata", "portalocker", "rich.progress", "xml")


@pytest.mark.parametrize("name", LAZY)
def test_every_declared_name_is_given_out_as_type_checkers_see_it(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__file__ is not None
    imports = [
        node
        for block in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    ]
    seen = {alias.name: importlib.import_module(node.module or "") for node in imports for alias in node.names}
    assert sorted(seen) == sorted(package.__all__)
    assert [public for public in seen if getattr(package, public) is not getattr(seen[public], public)] == []


@pytest.mark.parametrize("name", LAZY)
def test_a_name_that_is_not_declared_is_refused_like_by_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(name).nothing  # noqa: B018 - the access is what is tested


def loaded(program: str) -> list[str]:
    """Which of the modules that are seldom needed a program has loaded at its end."""
    text = f"{program}\nimport sys\nprint(*sorted({{*sys.modules}} & {{*{SELDOM!r}}}))"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def run_of(scenario: str, folder: Path) -> str:
    return (
        "from pathlib import Path\n"
        "from chaos.cli.running import run_and_report\n"
        "from chaos.scenario import Budget, RunOptions, discover\n"
        f"options = RunOptions(report_dir=Path({str(folder)!r}), budget=Budget(states=1), jobs=1)\n"
        f"jobs = [(one, None) for one in discover([{scenario!r}])]\n"
        "run_and_report(jobs, options, command='test')\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["appender", "lost-update-of-a-json-counter"])
def test_a_run_of_a_scenario_loads_nothing_that_others_need(scenario: str, tmp_path: Path) -> None:
    assert loaded(run_of(scenario, tmp_path)) == []


def test_listing_scenarios_loads_no_engine() -> None:
    assert loaded("from chaos.cli.shelf import print_scenarios\nfrom chaos.scenario import discover\ndiscover()") == []


@pytest.mark.slow
def test_a_fixture_loads_nothing_that_others_need() -> None:
    program = "from pytest_guardrails.plugin import crash, door"
    assert {*loaded(program)} - {*loaded("import pytest")} == set()
