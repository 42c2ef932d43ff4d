"""A store that is opened as the other kind is left alone, whole and with all its commits."""

from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import BackendKind, open_store


@pytest.mark.parametrize(("kind", "mistaken"), [("sqlite", "json"), ("json", "sqlite")])
def test_a_store_of_the_other_kind_is_no_damage(tmp_path: Path, kind: BackendKind, mistaken: BackendKind) -> None:
    with open_store(tmp_path / "store", backend=kind) as store:
        for number in range(3):
            store.put("key", number)
    with pytest.raises(ConfigurationError, match=f"backend='{kind}'"):
        open_store(tmp_path / "store", backend=mistaken)
    with open_store(tmp_path / "store", backend=kind) as store:
        assert (store.get("key"), store.incidents()) == (2, [])
    assert not (tmp_path / "store.quarantine").exists()
