"""A table in SQLite through Python's `sqlite3`: software that this project did not write, and trusts."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

DATABASE = "data.sqlite"


def setup(disk: Path) -> None:
    with closing(sqlite3.connect(disk / DATABASE)) as connection:
        connection.execute("create table item (number integer primary key, text text not null)")
        connection.commit()


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    _insert_four(disk, ack, "FULL")  # SQLite's default


def extra(disk: Path, ack: Callable[[object], None]) -> None:
    _insert_four(disk, ack, "EXTRA")


def off(disk: Path, ack: Callable[[object], None]) -> None:
    _insert_four(disk, ack, "OFF")


def _insert_four(disk: Path, ack: Callable[[object], None], synchronous: str) -> None:
    with closing(sqlite3.connect(disk / DATABASE)) as connection:
        connection.execute(f"pragma synchronous = {synchronous}")
        for number in range(4):
            connection.execute("insert into item values (?, ?)", (number, "x" * 300))
            connection.commit()
            ack(number)


def recover(disk: Path) -> list[int]:
    with closing(sqlite3.connect(disk / DATABASE)) as connection:
        problems = [row[0] for row in connection.execute("pragma integrity_check")]
        if problems != ["ok"]:
            raise ValueError(f"integrity check: {problems}")
        return [row[0] for row in connection.execute("select number from item order by number")]


def careful(disk: Path, ack: Callable[[object], None]) -> None:
    """Says of an item that it is there only when the commit did not raise."""
    for number in range(2):
        try:
            with closing(sqlite3.connect(disk / DATABASE)) as connection:
                connection.execute("pragma synchronous = EXTRA")
                connection.execute("insert into item values (?, ?)", (number, "x" * 300))
                connection.commit()
        except sqlite3.Error:
            return
        ack(number)
