"""The lazy package faces give out what they declare, and load no more than is asked for."""

import importlib
import subprocess
import sys

import pytest

LAZY = ["pytest_guardrails.reliability.durability", "pytest_guardrails.reliability.state"]


@pytest.mark.parametrize("name", LAZY)
def test_every_declared_name_is_given_out(name: str) -> None:
    package = importlib.import_module(name)
    assert [public for public in package.__all__ if not hasattr(package, public)] == []


@pytest.mark.parametrize("name", LAZY)
def test_a_name_that_is_not_declared_is_refused_like_by_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(name).nothing  # noqa: B018 - the access is what is tested


def test_a_store_on_sqlite_loads_nothing_that_is_slow_to_start() -> None:
    program = (
        "import sys\n"
        "from pytest_guardrails.reliability.state.sqlite import SqliteBackend\n"
        "from pytest_guardrails.reliability.state.store import StateStore\n"
        "slow = {'dataclasses', 'inspect', 'hashlib', 'asyncio', 'typer', 'yaml', 'psutil'}\n"
        "print(sorted(set(sys.modules) & slow))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
