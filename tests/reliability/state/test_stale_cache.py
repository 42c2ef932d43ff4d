"""What is remembered from connections that were closed does not pass for the present."""

import builtins
from pathlib import Path

import pytest

from pytest_guardrails.reliability.state import open_store, sqlite


def test_connections_at_the_address_of_closed_ones_are_not_taken_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "id", lambda thing: builtins.id(type(thing)), raising=False)
    with open_store(tmp_path / "store") as store, open_store(tmp_path / "store") as other:
        store.put("key", 0)
        assert store.get("key") == 0
        store.backend.close()  # as before each fork
        other.put("key", 1)
        other.close()
        assert store.get("key") == 1
