"""The rows of the sqlite backend: the tables, what a row's digest covers, and how a whole database is checked.

    change   one row for each value that a key got, appended, never changed; the newest row carries `version`, the
             store's version, and `total`, the sum of the digests of all current values
    entry    for each key the row of `change` that is current, and which older ones are remembered
    outcome  transactions that did not commit

So an update touches two pages, whatever the number of keys. SQLite itself notices neither a flipped byte in a value
nor a row that a damaged page no longer shows: each row's digest finds the first, the total the second.

The format number is kept in `user_version`, four times the same byte, so that one damaged byte is no newer format.
Read `sqlite.py` for the files around this.
"""

import os
import sqlite3
from collections.abc import Sequence

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability.digests import digest_of
from pytest_guardrails.reliability.state.model import Cell, Damage, Draft

__all__ = [
    "ERRORS",
    "Entries",
    "Last",
    "check_all",
    "check_format",
    "create",
    "current",
    "digest",
    "is_damage",
    "is_damage_at_opening",
    "last",
    "numbers",
    "schema",
    "write",
]

# A message of SQLite's that quotes damaged bytes can't be decoded, and the module says that instead.
ERRORS = (sqlite3.Error, UnicodeDecodeError)
_FORMAT = 1
_APPLICATION = 0x67726C73  # "grls"; tells our databases from other programs'
_TABLES = {
    "change": "CREATE TABLE change (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, transaction_id TEXT NOT NULL,"
    " at REAL NOT NULL, key TEXT NOT NULL, schema INTEGER NOT NULL, text TEXT, digest INTEGER NOT NULL,"
    " total INTEGER NOT NULL)",
    "entry": "CREATE TABLE entry (key TEXT PRIMARY KEY, change INTEGER NOT NULL, recent TEXT NOT NULL) WITHOUT ROWID",
    "outcome": "CREATE TABLE outcome (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, transaction_id TEXT NOT NULL,"
    " at REAL NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL)",
}
_SIGNED = 1 << 63
# The last where the descriptors of another object for the same store were closed by somebody else.
_OF_THE_MACHINE = ("locked", "disk I/O", "is full", "unable to open", "out of memory", "locking protocol")
Entries = dict[str, tuple[str, int]]  # of some keys: the rows that are remembered, and the digest of the current one
_NO_ENTRY = ("", 0)


@final
class Last(Record):
    """The newest row of `change`."""

    version: int
    total: int
    transaction: str


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_FORMAT * 0x01010101}")
    connection.execute("COMMIT")


def check_format(connection: sqlite3.Connection) -> bool:
    """Whether the database has our tables; False when it is empty.

    Raises:
        NewerFormatError: a later version of this program made it.
        ConfigurationError: another program made it.
        Damage: it is ours, but not as we made it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    if not found and not application:
        return False
    if application != _APPLICATION:
        raise ConfigurationError("it is another program's database")
    number = connection.execute("PRAGMA user_version").fetchone()[0] & 0xFFFFFFFF
    byte = number & 0xFF
    if number != byte * 0x01010101 or byte < _FORMAT:
        raise Damage(f"its format number is {number:#x}")
    if byte > _FORMAT:
        raise NewerFormatError(f"it has format {byte}; this version knows {_FORMAT}: update pytest-guardrails")
    if any(found.get(name) != statement for name, statement in _TABLES.items()):
        raise Damage("its tables are not as they were made")
    return True


def digest(key: str, version: int, schema: int, text: str | None) -> int:
    """64 bits over everything that a current value is, as SQLite's signed integer; 0 for a deleted one."""
    if text is None:
        return 0
    content = f"{version}\0{schema}\0{key}\0{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(digest_of(content, 8), "big", signed=True)


def last(connection: sqlite3.Connection) -> Last:
    """Where the store is."""
    row = connection.execute("SELECT version, total, transaction_id FROM change ORDER BY id DESC LIMIT 1").fetchone()
    return Last(*row) if row else Last(0, 0, "")


def current(connection: sqlite3.Connection, key: str, entries: Entries | None = None) -> Cell | None:
    """A key's cell; its entry is put into `entries`.

    Raises:
        Damage: it is not as it was written.
    """
    row = connection.execute(
        "SELECT c.version, c.schema, c.text, c.digest, c.key, e.recent FROM entry e LEFT JOIN change c"
        " ON c.id = e.change WHERE e.key = ?",
        (key,),
    ).fetchone()
    if entries is not None:
        entries[key] = _NO_ENTRY if row is None else (row[5], row[3])
    return None if row is None else _checked(key, row[:5])


def schema(connection: sqlite3.Connection, key: str, entries: Entries) -> int:
    """What stands as the schema of a key's value, unchecked; 0 without a value. The key's entry is put into `entries`.

    What is no number at all stands higher than any, so that whoever must not go beyond one looks closer.
    """
    row = connection.execute(
        "SELECT e.recent, c.digest, CASE WHEN c.text IS NULL AND c.id IS NOT NULL THEN 0 ELSE c.schema END"
        " FROM entry e LEFT JOIN change c ON c.id = e.change WHERE e.key = ?",
        (key,),
    ).fetchone()
    entries[key] = _NO_ENTRY if row is None else row[:2]
    found = 0 if row is None else row[2]
    return found if type(found) is int else _SIGNED


def _checked(key: str, row: Sequence[object]) -> Cell:
    version, schema, text, written, owner = row
    if type(version) is not int or type(schema) is not int or not (text is None or isinstance(text, str)):
        raise Damage(f"the row of {key!r} is missing or has wrong types")
    if owner != key or digest(key, version, schema, text) != written:
        raise Damage(f"the value of {key!r} does not fit its checksum")
    return Cell(version, schema, text)


def check_all(connection: sqlite3.Connection) -> int:
    """Read every current value.

    Returns:
        The store's version.

    Raises:
        Damage: a value is not as it was written, or one is missing.
    """
    total = 0
    rows = connection.execute(
        "SELECT e.key, e.recent, e.change, c.version, c.schema, c.text, c.digest, c.key"
        " FROM entry e LEFT JOIN change c ON c.id = e.change"
    )
    for key, recent, change, *row in rows:
        if not isinstance(key, str):
            raise Damage("a key is no text")
        if numbers(recent)[-1:] != [change]:
            raise Damage(f"the entry of {key!r} does not end with its current row")
        total += digest(key, *_checked(key, row))
    found = last(connection)
    if _wrapped(total) != found.total:
        raise Damage("the values together do not fit their checksum")
    return found.version


def numbers(recent: object) -> list[int]:
    """The rows that an entry remembers, oldest first.

    Raises:
        Damage: it is no list of numbers.
    """
    if isinstance(recent, str) and recent.isascii() and recent.replace(" ", "").isdigit():
        return [int(number) for number in recent.split()]
    raise Damage("an entry does not say which rows it remembers")


def write(
    connection: sqlite3.Connection,
    drafts: Sequence[Draft],
    last: Last,
    transaction: str,
    at: float,
    keep: int,
    entries: Entries,
) -> tuple[Last, list[int]]:
    """Write the drafts as the version after `last`, inside the open transaction.

    Args:
        connection: the writer.
        drafts: what to write.
        last: where the store is.
        transaction: its id.
        at: when, by the wall clock.
        keep: how many values of a key are remembered unless its draft says otherwise.
        entries: those that are known need not be read; the new ones are put in.

    Returns:
        The new last row, and the ids of rows that are no longer remembered, to be removed some time.
    """
    version, total = last.version + 1, last.total
    expired: list[int] = []
    for draft in drafts:
        row = (
            entries.get(draft.key)
            or connection.execute(
                "SELECT e.recent, c.digest FROM entry e LEFT JOIN change c ON c.id = e.change WHERE e.key = ?",
                (draft.key,),
            ).fetchone()
        )
        recent, old = row or _NO_ENTRY
        new = digest(draft.key, version, draft.schema, draft.text)
        total = _wrapped(total - (old or 0) + new)
        added = connection.execute(
            "INSERT INTO change (version, transaction_id, at, key, schema, text, digest, total)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (version, transaction, at, draft.key, draft.schema, draft.text, new, total),
        ).lastrowid
        recent = f"{recent} {added}" if recent else str(added)
        surplus = recent.count(" ") + 1 - (draft.keep or keep)
        if surplus > 0:
            *gone, recent = recent.split(" ", surplus)
            expired += numbers(" ".join(gone))
        connection.execute(
            "INSERT INTO entry (key, change, recent) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET change = excluded.change, recent = excluded.recent",
            (draft.key, added, recent),
        )
        entries[draft.key] = recent, new
    return Last(version, total, transaction), expired


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether SQLite says that the file is not what it wrote (as opposed to a full disk or a refused access)."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", None)  # since Python 3.11
    if code is not None and code & 0xFF in (11, 26):  # SQLITE_CORRUPT, SQLITE_NOTADB
        return True
    return any(words in str(error) for words in ("malformed", "not a database", "no such", "Could not decode"))


def is_damage_at_opening(error: sqlite3.Error | UnicodeDecodeError, path: str) -> bool:
    """The same for an opening, where everything is damage that the machine does not explain.

    A changed header makes SQLite say many things, such as "unsupported file format" or "readonly database".
    """
    if any(words in str(error) for words in _OF_THE_MACHINE):
        return False
    if "readonly" not in str(error):
        return True
    needed = (os.path.dirname(path), path, path + "-wal", path + "-shm")
    return all(os.access(name, os.W_OK) for name in needed if os.path.lexists(name))


def _wrapped(number: int) -> int:
    return (number + _SIGNED) % (2 * _SIGNED) - _SIGNED
