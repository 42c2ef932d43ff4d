"""Tests run pytest as a user would at a terminal, wherever they run themselves."""

import pytest


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these are set, pytest's summary repeats the whole text of each failure."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def every_plugin() -> None:
    """For a test whose pytest, by `run_anew`, loads all that is installed beside this plugin, as its user's does."""


@pytest.fixture(autouse=True)
def no_other_plugin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test does not ask for the others: importing them takes longer than most of what is run here."""
    if "pytester" in request.fixturenames and "every_plugin" not in request.fixturenames:
        request.getfixturevalue("pytester")  # first, as it forgets the options of the pytest around it
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p guardrails")  # by its entry point, as it is found otherwise
