"""Whoever closes a descriptor of its own database loses SQLite's locks on it: its log must stay its log all the same.

Another process that opens and closes the store would else take itself for the last one, and remove the log; what is
then committed would go into a file without a name.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import StateStore, import_state, open_store
from tests.reliability.processes import Child

Way = Callable[[StateStore, Path], None]


def closes_another_object(_store: StateStore, path: Path) -> None:
    (path.parent / "store.good").unlink(missing_ok=True)  # so that closing makes a copy
    open_store(path).close()


def reads_the_file(_store: StateStore, path: Path) -> None:
    assert path.read_bytes()


def mistakes_its_kind(_store: StateStore, path: Path) -> None:
    (path.parent / "store.good").unlink(missing_ok=True)
    with suppress(ConfigurationError):
        open_store(path, backend="json")


def mistakes_it_for_an_export(store: StateStore, path: Path) -> None:
    with pytest.raises(ConfigurationError):
        import_state(store, path)


@pytest.mark.parametrize(
    "close_a_descriptor", [closes_another_object, reads_the_file, mistakes_its_kind, mistakes_it_for_an_export]
)
def test_what_is_committed_after_another_process_came_and_went_is_there(
    tmp_path: Path, close_a_descriptor: Way
) -> None:
    path = tmp_path / "store"
    turns, give_turn = os.pipe()

    def come_and_go_at_each_turn(say: Callable[[str], None]) -> None:
        while os.read(turns, 1) == b"t":
            with open_store(path) as own:
                own.put("guest", 1)
                found = own.get("key")
            say(str(found))

    open_store(path).close()
    other = Child(come_and_go_at_each_turn)  # forked first, as a fork closes and opens the parent's database
    with open_store(path) as store:
        store.put("key", "before")
        close_a_descriptor(store, path)
        os.write(give_turn, b"t")
        assert other.line() == "before"
        store.put("key", "after")
        assert store.get("guest") == 1
        os.write(give_turn, b"t")
        assert other.line() == "after"
        assert store.incidents() == []
    os.write(give_turn, b"q")
    other.result()
    os.close(turns)
    os.close(give_turn)


def test_the_last_one_to_close_removes_the_log(tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "store"), open_store(tmp_path / "store")
    first.put("key", 1)
    first.close()
    assert (tmp_path / "store-wal").exists()
    second.close()
    assert not (tmp_path / "store-wal").exists()
