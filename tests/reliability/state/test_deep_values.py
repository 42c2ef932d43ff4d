"""Values as deep as allowed are kept by what is wrapped around them: the json backend's file, exports, the mirror."""

from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.reliability.durability.finite_json import MAX_DEPTH, JsonRefusedError
from pytest_guardrails.reliability.state import BackendKind, Mirror, export_state, import_state, open_store

KINDS: tuple[BackendKind, ...] = ("sqlite", "json")


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_the_deepest_value_is_no_damage_when_the_store_is_opened_again(tmp_path: Path, kind: BackendKind) -> None:
    with open_store(tmp_path / "store", backend=kind) as store:
        store.put("key", nested(MAX_DEPTH))
        store.put("key", [nested(MAX_DEPTH - 1), 1])
    with open_store(tmp_path / "store", backend=kind) as store:
        assert store.get("key") == [nested(MAX_DEPTH - 1), 1]
        assert store.history("key")[0].value == nested(MAX_DEPTH)
        assert store.incidents() == []
        with pytest.raises(JsonRefusedError, match="more than"):
            store.put("key", nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_deepest_value_is_exported_mirrored_and_imported(tmp_path: Path, kind: BackendKind) -> None:
    with open_store(tmp_path / "one", backend=kind) as store, open_store(tmp_path / "two", backend=kind) as other:
        store.put("key", nested(MAX_DEPTH))
        Mirror(store, tmp_path / "mirror.json").flush()
        export_state(store, tmp_path / "out.json")
        import_state(other, tmp_path / "out.json")
        assert other.get("key") == nested(MAX_DEPTH)
