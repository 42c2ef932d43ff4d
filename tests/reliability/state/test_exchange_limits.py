"""Imports that add to each other, exports and mirrors that can't be made, migrations that go wrong."""

import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.state import BackendKind, Mirror, StateStore, export_state, import_state, open_store

KINDS: tuple[BackendKind, ...] = ("sqlite", "json")


def written(path: Path, entries: dict[str, Any], **more: Any) -> Path:
    document = {"format": "pytest-guardrails-export", "format_version": 1, "version": 1, "entries": entries, **more}
    path.write_text(json.dumps(document))
    return path


def exported(store: StateStore, path: Path) -> Any:
    export_state(store, path)
    return json.loads(path.read_text())


def test_unknown_fields_of_what_a_merge_leaves_alone_survive_it(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {"a": {"value": 1, "colour": "blue"}, "b": {"value": 1, "colour": "red"}}, note="x")
    two = written(tmp_path / "two", {"b": {"value": 2, "shape": "round"}}, other="y")
    with open_store(tmp_path / "store") as store:
        import_state(store, one)
        import_state(store, two)
        merged = exported(store, tmp_path / "out")
        assert (merged["note"], merged["other"], merged["entries"]["a"]["colour"]) == ("x", "y", "blue")
        assert {"shape"} == set(merged["entries"]["b"]) - {"version", "schema", "value"}
        import_state(store, two, mode="replace")
        assert "note" not in exported(store, tmp_path / "out")


@pytest.mark.parametrize("schema", [0, -5, True, 1.5])
def test_a_schema_that_no_migration_can_lead_from_is_refused(tmp_path: Path, schema: Any) -> None:
    with open_store(tmp_path / "store") as store:
        with pytest.raises(ConfigurationError, match=r"entries\['a'\]"):
            import_state(store, written(tmp_path / "in", {"a": {"value": 1, "schema": schema}}))
        assert store.keys() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", ".good", ".witness", ".previous", "-wal", ".lock"])
def test_a_store_is_not_exported_over_itself(tmp_path: Path, kind: BackendKind, suffix: str) -> None:
    with open_store(tmp_path / "store", backend=kind) as store:
        store.put("key", 1)
        (tmp_path / "link").symlink_to(tmp_path / f"store{suffix}")
        for write in (export_state, Mirror):
            with pytest.raises(ConfigurationError, match="the store itself"):
                write(store, tmp_path / "link")
        export_state(store, tmp_path / "store.json")
    with open_store(tmp_path / "store", backend=kind) as store:
        assert (store.get("key"), store.incidents()) == (1, [])


@pytest.mark.parametrize(
    ("view", "error"), [(lambda found: found["no"], KeyError), (lambda found: math.nan, ValueError)]
)
def test_a_mirror_whose_view_fails_harms_no_commit(tmp_path: Path, view: Any, error: type[Exception]) -> None:
    with open_store(tmp_path / "store") as store:
        mirror = Mirror(store, tmp_path / "mirror", view=view)
        assert store.put("key", 1) == 1
        assert mirror.failures == 1
        with pytest.raises(error):
            mirror.flush()


def test_a_mirror_of_values_of_a_newer_program_harms_no_commit(tmp_path: Path) -> None:
    with open_store(tmp_path / "store", schema=2) as newer:
        newer.put("new", 1)
    with open_store(tmp_path / "store") as store:
        mirror = Mirror(store, tmp_path / "mirror")
        store.put("key", 1)
        assert (store.get("key"), mirror.failures) == (1, 1)
        with pytest.raises(NewerFormatError):
            mirror.flush()


def test_what_a_migration_made_is_finite_and_can_not_be_changed(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        store.put("nan", 1)
        store.put("dict", 1)

    def migrate(key: str, _value: Any) -> Any:
        return math.nan if key == "nan" else OrderedDict(inner=(1, OrderedDict()))

    with open_store(tmp_path / "store", schema=2, migrations={1: migrate}) as store:
        with pytest.raises(ConfigurationError, match="migration of 'nan'"):
            store.get("nan")
        assert store.get("dict") == {"inner": [1, {}]}
        for frozen in (store.get("dict"), store.get("dict")["inner"][1]):
            with pytest.raises(TypeError):
                frozen["a"] = 1
