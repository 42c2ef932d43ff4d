"""The pytest plugin: fixtures, options and markers. Loaded in every pytest run, so it imports next to nothing.

What a fixture needs of the harness is imported when the fixture is first used.
"""

from pytest_guardrails.plugin.fixtures import crash, faults, fleet, race
from pytest_guardrails.plugin.hooks import pytest_addoption, pytest_configure, pytest_unconfigure

__all__ = ["crash", "faults", "fleet", "pytest_addoption", "pytest_configure", "pytest_unconfigure", "race"]
