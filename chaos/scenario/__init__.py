"""Scenarios: what to hurt, how, and what is expected; from TOML, from arguments, or from a test's callables.

`runner` is not re-exported, because it brings in the whole harness; import it from `chaos.scenario.runner`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.scenario.discovery import discover, now_and_later
    from chaos.scenario.kinds import Fleet, Race
    from chaos.scenario.kinds.inject import Inject
    from chaos.scenario.loader import load
    from chaos.scenario.model import (
        Budget,
        Engine,
        Expectation,
        Explore,
        Isolation,
        Profile,
        RunOptions,
        Scenario,
    )
    from chaos.scenario.problems import Problem, ScenarioError
    from chaos.scenario.schema import json_schema

__all__ = [
    "Budget",
    "Engine",
    "Expectation",
    "Explore",
    "Fleet",
    "Inject",
    "Isolation",
    "Problem",
    "Profile",
    "Race",
    "RunOptions",
    "Scenario",
    "ScenarioError",
    "discover",
    "json_schema",
    "load",
    "now_and_later",
]

# Each name is loaded from its module when it is first asked for: see `chaos/__init__.py`.
_HOMES = {
    "chaos.scenario.discovery": "discover now_and_later",
    "chaos.scenario.kinds": "Fleet Race",
    "chaos.scenario.kinds.inject": "Inject",
    "chaos.scenario.loader": "load",
    "chaos.scenario.model": "Budget Engine Expectation Explore Isolation Profile RunOptions Scenario",
    "chaos.scenario.problems": "Problem ScenarioError",
    "chaos.scenario.schema": "json_schema",
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
