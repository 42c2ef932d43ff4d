"""Damage to what is no longer current: told when it is asked for, never given out, and no loss of current values."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pytest_guardrails.errors import CorruptionError
from pytest_guardrails.reliability.state import StateStore, open_store


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str], StateStore]:
    """Opens a store of three values and one that was rolled back, after a change that nobody should make."""

    def make(statement: str) -> StateStore:
        path = tmp_path / "store"
        with open_store(path) as store:
            for text in ("one", "two", "three"):
                store.put("key", text)
                store.put("other", text)
            with pytest.raises(KeyError), store.transaction():
                raise KeyError
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        return open_store(path)

    return make


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change SET text = '\"twi\"' WHERE text = '\"two\"'",
        "UPDATE change SET text = '\"two' WHERE text = '\"two\"'",
        "UPDATE change SET schema = 'x' WHERE text = '\"two\"'",
        "UPDATE change SET key = 'other' WHERE key = 'key' AND text = '\"one\"'",
        "UPDATE entry SET recent = replace(recent, '3', '4') WHERE key = 'key'",
        "DELETE FROM change WHERE text = '\"two\"'",
    ],
)
def test_a_damaged_old_value_is_never_given_out(damaged: Callable[[str], StateStore], statement: str) -> None:
    with damaged(statement) as store:
        with pytest.raises(CorruptionError, match="old value of 'key'"):
            store.history("key")
        with pytest.raises(CorruptionError, match="old value of 'key'"):
            store.restore("key", 1)
        assert (store.get("key"), store.get("other"), store.incidents()) == ("three", "three", [])
        store.prune()
        assert [entry.value for entry in store.history("key")] == ["three"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE outcome SET status = 'rolled cack'",
        "UPDATE outcome SET version = 'x'",
        "UPDATE change SET version = 'x' WHERE text = '\"two\"'",
    ],
)
def test_a_damaged_line_of_the_log_is_told(damaged: Callable[[str], StateStore], statement: str) -> None:
    with damaged(statement) as store:
        with pytest.raises(CorruptionError, match="transaction log"):
            store.transactions()
        store.prune()
        assert len(store.transactions()) == 2


def test_an_entry_that_is_no_list_of_rows_is_damage_to_the_store(damaged: Callable[[str], StateStore]) -> None:
    with damaged("UPDATE entry SET recent = '1 x' || substr(recent, 3) WHERE key = 'key'") as store:
        assert (store.get("key"), len(store.incidents())) == ("three", 1)
