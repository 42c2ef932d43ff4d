"""After a commit that was refused all is as if it had never been tried, also in what is swept up later."""

from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.state.json_file import JsonBackend
from pytest_guardrails.reliability.state.sqlite import SqliteBackend

KEYS = 100


@pytest.fixture(params=["sqlite", "json"])
def kind(request: pytest.FixtureRequest) -> BackendKind:
    found: BackendKind = request.param
    return found


def refuse(patch: pytest.MonkeyPatch) -> None:
    """The disk is full from now on: what was staged can't be made durable."""

    def flush(*_: object) -> None:
        raise StorageError("the disk is full")

    patch.setattr(SqliteBackend, "flush", flush)
    patch.setattr(JsonBackend, "replace", flush)


def opened(path: Path, kind: BackendKind) -> StateStore:
    return open_store(path, backend=kind, settings=BackendSettings(durability="process", keep_versions=1))


def test_values_that_would_have_been_replaced_are_not_swept(
    tmp_path: Path, kind: BackendKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "store", kind)
    for number in range(KEYS):
        store.put(f"key {number}", number)
    with monkeypatch.context() as patch:
        refuse(patch)
        for number in range(KEYS):
            with pytest.raises(StorageError):
                store.put(f"key {number}", "refused")
    for turn in range(2 * KEYS):
        store.put("busy", turn)
    store.close()
    with opened(tmp_path / "store", kind) as again:
        assert [again.get(f"key {number}") for number in range(KEYS)] == list(range(KEYS))
        assert again.incidents() == []
