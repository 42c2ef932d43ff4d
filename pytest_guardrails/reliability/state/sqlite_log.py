"""Reading and thinning out what the sqlite backend remembers: old values, the transaction log.

Read `sqlite_rows.py` for the tables.
"""

import sqlite3
from collections.abc import Mapping

from pytest_guardrails.errors import CorruptionError
from pytest_guardrails.hints import Any
from pytest_guardrails.reliability.state import sqlite_rows as rows
from pytest_guardrails.reliability.state.backend import PastCell
from pytest_guardrails.reliability.state.model import Cell, TransactionRecord, TransactionStatus
from pytest_guardrails.reliability.state.retention import kept_of

__all__ = ["is_recent", "log_lines", "note_outcome", "past", "prune", "sweep"]

_STATUSES = frozenset(status.value for status in TransactionStatus)
_DAMAGED_LINE = "a line of the transaction log is damaged, the values are whole: forget it with prune()"
_OUTCOMES = 1000  # lines on transactions that did not commit; older ones go


def past(connection: sqlite3.Connection, key: str) -> list[PastCell]:
    """What is remembered of a key, oldest first.

    Raises:
        CorruptionError: one of them is not what was written. That harms no current value, so nothing is set aside.
    """
    recent = _recent(connection, key)
    while True:
        found = [_past_cell(connection, key, number) for number in rows.numbers(recent)] if recent else []
        before, recent = recent, _recent(connection, key)
        whole = [cell for cell in found if cell is not None]
        if len(whole) == len(found):
            return whole
        if before == recent:  # else it was forgotten meanwhile
            raise _damaged(key)


def _recent(connection: sqlite3.Connection, key: str) -> object:
    row = connection.execute("SELECT recent FROM entry WHERE key = ?", (key,)).fetchone()
    return row and row[0]


def _past_cell(connection: sqlite3.Connection, key: str, number: int) -> PastCell | None:
    row = connection.execute(
        "SELECT version, schema, text, at, transaction_id, digest, key FROM change WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        return None
    version, schema, text, at, transaction, written, owner = row
    if owner != key or not isinstance(at, float) or rows.digest(key, version, schema, text) != written:
        raise _damaged(key)
    return PastCell(Cell(version, schema, text), at, transaction)


def _damaged(key: str) -> CorruptionError:
    return CorruptionError(
        f"an old value of {key!r} is damaged or missing, the current ones are whole: forget it with "
        "prune(even_promised=True), or put a backup in the store's place"
    )


def note_outcome(
    connection: sqlite3.Connection, version: int, transaction: str, at: float, status: str, reason: str
) -> None:
    """Log a transaction that did not commit; with its own commit."""
    connection.execute("BEGIN IMMEDIATE")
    added = connection.execute(
        "INSERT INTO outcome (version, transaction_id, at, status, reason) VALUES (?, ?, ?, ?, ?)",
        (version, transaction, at, status, reason),
    ).lastrowid
    connection.execute("DELETE FROM outcome WHERE id <= ?", ((added or 0) - _OUTCOMES,))
    connection.execute("COMMIT")


def is_recent(connection: sqlite3.Connection, transaction: str, since: int) -> bool:
    """Whether a transaction was committed after the version `since`."""
    query = "SELECT 1 FROM change WHERE transaction_id = ? AND version > ? LIMIT 1"
    return connection.execute(query, (transaction, since)).fetchone() is not None


def log_lines(connection: sqlite3.Connection, limit: int) -> list[TransactionRecord]:
    """The newest lines, newest first."""
    lines: list[tuple[tuple[int, int, int], TransactionRecord]] = [
        ((row[1], 1, row[0]), _outcome(row))
        for row in connection.execute(
            "SELECT id, version, transaction_id, at, status, reason FROM outcome ORDER BY id DESC LIMIT ?", (limit,)
        )
    ]
    commits: dict[int, list[Any]] = {}
    for version, transaction, at, key in connection.execute(
        "SELECT version, transaction_id, at, key FROM change ORDER BY id DESC"
    ):
        if not (isinstance(version, int) and isinstance(at, float)):
            raise CorruptionError(_DAMAGED_LINE)
        if version not in commits:
            if len(commits) == limit:
                break
            commits[version] = [transaction, at, []]
        commits[version][2].append(key)
    for version, (transaction, at, keys) in commits.items():
        record = TransactionRecord(
            id=transaction,
            status=TransactionStatus.COMMITTED,
            version=version,
            at=at,
            keys=tuple(reversed(keys)),
        )
        lines.append(((version, 0, 0), record))
    lines.sort(key=lambda line: line[0], reverse=True)
    return [record for _, record in lines[:limit]]


def _outcome(row: Any) -> TransactionRecord:
    if row[4] not in _STATUSES or not (isinstance(row[3], float) and isinstance(row[1], int)):
        raise CorruptionError(_DAMAGED_LINE)
    return TransactionRecord(id=row[2], status=TransactionStatus(row[4]), version=None, at=row[3], note=row[5])


def prune(connection: sqlite3.Connection, keep: int, before: float | None, promises: Mapping[str, int]) -> int:
    """Forget inside the open transaction; see `Backend.prune`."""
    newest = connection.execute("SELECT max(id) FROM change").fetchone()[0]
    limit = float("inf") if before is None else before
    removed = 0
    for key, recent in connection.execute("SELECT key, recent FROM entry").fetchall():
        numbers = rows.numbers(recent)
        old = [number for number in numbers[: -kept_of(key, keep, promises)] if _older(connection, number, limit)]
        is_gone = connection.execute(
            "SELECT count(*) FROM change WHERE id = ? AND text IS NULL AND at < ?", (numbers[-1], limit)
        ).fetchone()[0]
        if is_gone and numbers[-1] != newest:  # the newest row carries the store's version
            old = numbers
            connection.execute("DELETE FROM entry WHERE key = ?", (key,))
        elif old:
            left = " ".join(str(number) for number in numbers if number not in old)
            connection.execute("UPDATE entry SET recent = ? WHERE key = ?", (left, key))
        removed += len(old)
    connection.execute("DELETE FROM outcome WHERE at < ?", (limit,))
    sweep(connection)
    return removed


def sweep(connection: sqlite3.Connection) -> None:
    """Remove the rows that nobody remembers, inside the open transaction.

    They are found by what is referred to: that also finds what processes left behind which wrote once, or were killed.
    """
    kept = {
        number
        for (recent,) in connection.execute("SELECT recent FROM entry").fetchall()
        for number in rows.numbers(recent)
    }
    every = [number for (number,) in connection.execute("SELECT id FROM change ORDER BY id").fetchall()]
    connection.executemany(  # the newest row carries the store's version
        "DELETE FROM change WHERE id = ?", [(number,) for number in every[:-1] if number not in kept]
    )


def _older(connection: sqlite3.Connection, number: int, limit: float) -> bool:
    row = connection.execute("SELECT at FROM change WHERE id = ?", (number,)).fetchone()
    return row is None or row[0] < limit
