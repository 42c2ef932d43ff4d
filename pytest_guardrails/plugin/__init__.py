"""The pytest plugin: fixtures, options and markers. Loaded in every pytest run, so it imports next to nothing.

What a fixture needs of the harness is imported when the fixture is first used.
"""

from pytest_guardrails.plugin.fixtures import crash, door_of_the_test, faults, fleet, race
from pytest_guardrails.plugin.guards import (
    chaos_proxy,
    chaos_seed,
    fake_llm,
    finite,
    guardrails_of_the_test,
    loop_guard,
    no_leaks,
    pytest_fixture_setup,
    pytest_itemcollected,
    pytest_runtest_call,
)
from pytest_guardrails.plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_terminal_summary,
    pytest_unconfigure,
)

__all__ = [
    "chaos_proxy",
    "chaos_seed",
    "crash",
    "door_of_the_test",
    "fake_llm",
    "faults",
    "finite",
    "fleet",
    "guardrails_of_the_test",
    "loop_guard",
    "no_leaks",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_itemcollected",
    "pytest_runtest_call",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "race",
]
