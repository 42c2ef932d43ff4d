"""What the permissions of a store's files refuse is told as that; it is no damage, and nothing is changed by it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.errors import GuardrailsError, StorageError
from pytest_guardrails.reliability.state import BackendKind, open_store
from tests.reliability.processes import Child, obey_permissions

Say = Callable[[str], None]


def made(folder: Path, kind: BackendKind) -> Path:
    with open_store(folder / "store", backend=kind) as store:
        store.put("key", "value")
    return folder / "store"


def told(path: Path, kind: BackendKind) -> str:
    """What a program says that may not pass by the modes of files, and writes to the store."""

    def write(say: Say) -> str:
        obey_permissions()
        try:
            with open_store(path, backend=kind) as store:
                store.put("key", "new")
        except GuardrailsError as error:
            return f"{type(error).__name__}: {error}"
        return "written"

    return str(Child(write).result())


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_folder_that_may_not_be_written_is_no_damage(tmp_path: Path, kind: BackendKind) -> None:
    path = made(tmp_path, kind)
    tmp_path.chmod(0o555)
    try:
        said = told(path, kind)
    finally:
        tmp_path.chmod(0o755)
    assert said.startswith("StorageError")
    assert "damaged" not in said
    with open_store(path, backend=kind) as store:
        assert (store.get("key"), store.incidents()) == ("value", [])


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_file_that_may_not_be_read_is_told_by_its_name(tmp_path: Path, kind: BackendKind) -> None:
    path = made(tmp_path, kind)
    path.chmod(0)
    assert told(path, kind).startswith(f"StorageError: {path} can't be ")


def test_a_database_that_may_only_be_read_refuses_a_change_and_knows_that_nothing_came_of_it(tmp_path: Path) -> None:
    path = made(tmp_path, "sqlite")
    path.chmod(0o444)
    assert told(path, "sqlite").startswith("StorageError: ")
    with open_store(path) as store:
        assert store.get("key") == "value"


def test_a_folder_in_the_place_of_a_json_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(StorageError, match="store can't be read: Is a directory"):
        open_store(tmp_path / "store", backend="json")
