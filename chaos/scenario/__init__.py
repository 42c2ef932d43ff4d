"""Scenarios: what to hurt, how, and what is expected; from TOML, from arguments, or from a test's callables.

`runner` is not re-exported, because it brings in the whole harness; import it from `chaos.scenario.runner`.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

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

__getattr__ = lazy(
    __name__,
    {
        "discovery": "discover now_and_later",
        "kinds": "Fleet Race",
        "kinds.inject": "Inject",
        "loader": "load",
        "model": "Budget Engine Expectation Explore Isolation Profile RunOptions Scenario",
        "problems": "Problem ScenarioError",
        "schema": "json_schema",
    },
)
