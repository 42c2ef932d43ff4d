"""Eight processes insert into one SQLite database, and are killed again and again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from chaos.child.witness import Witness


def setup(disk: Path) -> None:
    with _opened(disk) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE items (name TEXT NOT NULL)")


def worker(disk: Path, witness: Witness) -> None:
    with _opened(disk) as database:
        for number in range(1_000_000):
            name = f"{witness.number}.{witness.life}.{number}"
            with database:
                database.execute("INSERT INTO items VALUES (?)", (name,))
            witness(name)


def recover(disk: Path) -> list[str]:
    with _opened(disk) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in database.execute("SELECT name FROM items")]


@contextmanager
def _opened(disk: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(disk / "items.db", timeout=20.0)) as database:
        yield database
