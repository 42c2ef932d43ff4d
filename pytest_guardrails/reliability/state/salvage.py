"""What can still be had from a damaged sqlite store: changes later than the last good generation, if they prove whole.

Each row of `change` carries its own digest and the total of all current values after it. So later rows are read one by
one from the damaged file and applied to the restored one, if each fits its digest *and* the total agrees at the end:
then that version is exactly what had been committed. Where it does not agree, they are applied commit by commit, up to
the first that can't be proven. Read `sqlite_rows.py` next.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import groupby

from pytest_guardrails.hints import final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.state import sqlite_rows as rows
from pytest_guardrails.reliability.state.model import Cell, Damage, Draft

__all__ = ["lift", "replay_later_changes", "version_of"]

_FLOOR_KEY = "@floor"
_FLOOR_GAP = 1000  # commits that no witness had seen may have been read by someone: their numbers are skipped too


@final
class _Change(Record):
    version: int
    transaction: str
    at: float
    key: str
    schema: int
    text: str | None
    digest: int
    total: int


def lift(connection: sqlite3.Connection, witnessed: int, at: float) -> None:
    """Commit a version far above all that was ever seen, so that no version is used twice."""
    connection.execute("BEGIN IMMEDIATE")
    floor = rows.last(connection)._replace(version=witnessed + _FLOOR_GAP - 1)
    rows.write(connection, [Draft(_FLOOR_KEY, 1, None)], floor, "lift", at, 1, {})
    connection.execute("COMMIT")


def replay_later_changes(connection: sqlite3.Connection, damaged: str) -> int:
    """Apply what the database at `damaged` has beyond this one.

    Returns:
        The version that was reached.
    """
    reached = rows.last(connection).version
    changes: list[_Change] = []
    with suppress(*rows.ERRORS, TypeError), closing(_read_only(damaged, "mode=ro")) as source:
        for change in _later(source, reached):
            changes.append(change)  # noqa: PERF402 - what was read before the damage stays, should the next row fail
    if changes and _apply(connection, changes):
        return changes[-1].version
    for version, group in groupby(changes, key=lambda change: change.version):
        if not _apply(connection, list(group)):
            break
        reached = version
    return reached


def version_of(database: str) -> int:
    """The version of the store in a closed database file that nobody writes to; 0 when there is none to be read."""
    with suppress(*rows.ERRORS), closing(_read_only(database, "mode=ro&immutable=1")) as connection:
        return rows.last(connection).version
    return 0


def _read_only(database: str, how: str) -> sqlite3.Connection:
    path = database.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{path}?{how}", uri=True)


def _later(source: sqlite3.Connection, version: int) -> Iterator[_Change]:
    found = source.execute(
        "SELECT version, transaction_id, at, key, schema, text, digest, total FROM change WHERE version > ?"
        " ORDER BY id",
        (version,),
    )
    return (_Change(*row) for row in found)


def _apply(connection: sqlite3.Connection, changes: list[_Change]) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for change in changes:
            cell = Cell(change.version, change.schema, change.text)
            if rows.digest(change.key, *cell) != change.digest:
                raise ValueError(change.key)
            draft = Draft(change.key, change.schema, change.text)
            before = rows.last(connection)._replace(version=change.version - 1)
            rows.write(connection, [draft], before, change.transaction, change.at, 1, {})
        if rows.last(connection).total != changes[-1].total:
            raise ValueError("total")
    except (ValueError, TypeError, Damage, sqlite3.Error):
        connection.execute("ROLLBACK")
        return False
    connection.execute("COMMIT")
    return True
