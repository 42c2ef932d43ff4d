"""Export, import and the mirror."""

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError, StorageError
from pytest_guardrails.reliability.state import Mirror, export_state, import_state, open_store
from tests.reliability.clocks import MovedClock

VALUES: dict[str, Any] = {"a": {"n": [1, None, "\u00e9"]}, "b/c": 0.1, "d": None}


@pytest.mark.parametrize("kinds", [("sqlite", "json"), ("json", "sqlite")])
def test_an_export_of_one_backend_is_imported_by_the_other(tmp_path: Path, kinds: Any) -> None:
    with open_store(tmp_path / "one", backend=kinds[0]) as one, open_store(tmp_path / "two", backend=kinds[1]) as two:
        for key, value in VALUES.items():
            one.put(key, value)
        assert export_state(one, tmp_path / "out.json") == 3
        two.put("other", 1)
        assert import_state(two, tmp_path / "out.json") == 3
        assert {key: two.get(key) for key in two.keys("")} == {**VALUES, "other": 1}
        import_state(two, tmp_path / "out.json", mode="replace")
        assert two.keys() == sorted(VALUES)
        assert two.incidents() == []


def test_unknown_fields_survive_a_round_trip(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        store.put("a", 1)
        export_state(store, tmp_path / "out.json")
        document = json.loads((tmp_path / "out.json").read_text())
        document["future"] = [1]
        document["entries"]["a"]["colour"] = "blue"
        (tmp_path / "in.json").write_text(json.dumps(document))
        import_state(store, tmp_path / "in.json")
        export_state(store, tmp_path / "again.json")
        again = json.loads((tmp_path / "again.json").read_text())
        assert (again["future"], again["entries"]["a"]["colour"]) == ([1], "blue")
        assert store.keys() == ["a"]


def test_values_of_an_older_schema_are_migrated_after_an_import(tmp_path: Path) -> None:
    with open_store(tmp_path / "old") as old:
        old.put("a", 1)
        export_state(old, tmp_path / "out.json")
    with open_store(tmp_path / "new", schema=2, migrations={1: lambda key, value: [value]}) as new:
        import_state(new, tmp_path / "out.json")
        assert new.get("a") == [1]
        export_state(new, tmp_path / "out.json")
        new.put("a", [2])
        export_state(new, tmp_path / "newer.json")
    with open_store(tmp_path / "old") as old, pytest.raises(NewerFormatError, match="schema 2"):
        import_state(old, tmp_path / "newer.json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ('{"format": "other"}', "format"),
        ('{"format": "pytest-guardrails-export", "format_version": 1, "entries": []}', "entries"),
        ('{"format": "pytest-guardrails-export", "format_version": 1, "entries": {"a": {}}}', "entries"),
        ('{"format": "pytest-guardrails-export", "format_version": 1, "entries": {"a": {"value": NaN}}}', "NaN"),
    ],
)
def test_what_is_no_export_is_refused_and_changes_nothing(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "in.json").write_text(text)
    with open_store(tmp_path / "store") as store:
        store.put("a", 1)
        with pytest.raises(ConfigurationError, match=problem):
            import_state(store, tmp_path / "in.json", mode="replace")
        assert store.get("a") == 1


def test_a_newer_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"format": "pytest-guardrails-export", "format_version": 2, "entries": {}}')
    with open_store(tmp_path / "store") as store, pytest.raises(NewerFormatError):
        import_state(store, tmp_path / "in.json")


def test_the_mirror_follows_commits_at_most_once_an_interval(tmp_path: Path) -> None:
    clock, path = MovedClock(), tmp_path / "mirror.json"
    with open_store(tmp_path / "store") as store:
        mirror = Mirror(store, path, view=lambda values: {"hooks": values}, clock=clock)
        store.put("a", 1)
        store.put("a", 2)
        assert json.loads(path.read_text()) == {"hooks": {"a": 1}}
        clock.monotonic_s += 1.5
        store.put("b", {"x": [1]})
        assert json.loads(path.read_text()) == {"hooks": {"a": 2, "b": {"x": [1]}}}
        store.put("b", 0)
        mirror.flush()
        assert json.loads(path.read_text())["hooks"]["b"] == 0


def test_a_mirror_that_can_not_be_written_harms_no_commit(tmp_path: Path) -> None:
    (tmp_path / "mirror.json").mkdir()
    with open_store(tmp_path / "store") as store:
        mirror = Mirror(store, tmp_path / "mirror.json")
        store.put("a", 1)
        assert (store.get("a"), mirror.failures) == (1, 1)
        with pytest.raises(StorageError):
            mirror.flush()
