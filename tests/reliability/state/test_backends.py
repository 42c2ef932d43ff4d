"""The suite of `conformance.py` on each backend."""

from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.reliability.state import BackendSettings, JsonBackend, SqliteBackend, StateStore
from tests.reliability.state.conformance import Conformance, Open


def opener(kind: Any, path: Path) -> Open:
    def open_it(**options: Any) -> StateStore:
        of_store = {name: options.pop(name) for name in ("schema", "migrations", "cache") if name in options}
        return StateStore(kind(path, BackendSettings(**options)), **of_store)

    return open_it


class TestSqlite(Conformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Open:
        return opener(SqliteBackend, tmp_path / "state.db")


class TestJson(Conformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Open:
        return opener(JsonBackend, tmp_path / "state.json")
