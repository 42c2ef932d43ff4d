"""Tests run pytest as a user would at a terminal, wherever they run themselves."""

import pytest


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these are set, pytest's summary repeats the whole text of each failure."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
