"""The file format of the json backend, and pure functions over it.

A file is one JSON object, indented by two spaces, keys in the order in which they came:

    {
      "format": "pytest-guardrails-state",
      "format_version": 1,
      "checksum": 16 hexadecimal digits,
      "version": the store's version,
      "entries": {KEY: {"version", "schema", "at", "transaction", "value" or "deleted": true, "history": [...]}},
      "outcomes": [{"version", "transaction", "at", "status", "reason"}]
    }

`checksum` is the 8-byte BLAKE2b of the whole file with zeros in place of its digits. `history` holds the earlier
values of the key in the same form, oldest first, without a `history` of their own. `outcomes` are transactions that
did not commit. Fields that are not known here stay where they are. Read `json_file.py` for the files around this.
"""

import json
from collections.abc import Mapping, Sequence

from pytest_guardrails.errors import CorruptionError, NewerFormatError
from pytest_guardrails.hints import Any
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.durability.digests import digest_of
from pytest_guardrails.reliability.state.backend import PastCell
from pytest_guardrails.reliability.state.model import (
    Cell,
    Damage,
    Draft,
    TransactionRecord,
    TransactionStatus,
)
from pytest_guardrails.reliability.state.retention import kept_of

__all__ = [
    "Document",
    "cell_of",
    "changed",
    "empty",
    "lifted",
    "live_keys",
    "load",
    "log_lines",
    "noted",
    "past",
    "pruned",
    "serialise",
]

Document = Mapping[str, Any]

_FORMAT = "pytest-guardrails-state"
_VERSION = 1
_ZEROS = "0" * 16
_MARK = f'"checksum": "{_ZEROS}"'.encode()
_OUTCOMES = 1000
_INDENT = 2
_ENVELOPE = 5  # levels around a value: document, entries, entry, history, its entry


def empty() -> Document:
    """A store with nothing in it."""
    return {
        "format": _FORMAT,
        "format_version": _VERSION,
        "checksum": _ZEROS,
        "version": 0,
        "entries": {},
        "outcomes": [],
    }


def serialise(document: Document) -> bytes:
    """The file that stands for a document."""
    plain = {**document, "checksum": _ZEROS}
    content = (json.dumps(plain, indent=_INDENT, ensure_ascii=False, allow_nan=False) + "\n").encode()
    at = content.index(_MARK)
    return content[:at] + _MARK.replace(_ZEROS.encode(), _checksum(content)) + content[at + len(_MARK) :]


def load(content: bytes) -> Document:
    """The document that a file stands for.

    Raises:
        Damage: it is not as it was written.
        NewerFormatError: a later version wrote it.
        CorruptionError: it never was such a file.
    """
    try:
        document = finite_json.loads(content, envelope=_ENVELOPE)
    except finite_json.JsonRefusedError as error:
        raise Damage(str(error)) from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise CorruptionError("it is no state file")
    written = document.get("checksum")
    if not isinstance(written, str) or len(written) != len(_ZEROS) or not written.isascii():
        raise Damage("it has no checksum")
    blank = content.replace(f'"checksum": "{written}"'.encode(), _MARK, 1)
    if _checksum(blank) != written.encode():
        raise Damage("its content does not fit its checksum")
    if document.get("format_version") != _VERSION:
        raise NewerFormatError(
            f"it has format {document.get('format_version')}; this version knows {_VERSION}: update pytest-guardrails"
        )
    return document


def _checksum(content: bytes) -> bytes:
    return digest_of(content, 8).hex().encode()


def cell_of(document: Document, key: str) -> Cell | None:
    """A key's cell."""
    entry = document["entries"].get(key)
    return None if entry is None else _cell(entry)


def live_keys(document: Document, prefix: str) -> list[str]:
    """Keys that start with `prefix` and are not deleted, sorted."""
    entries = document["entries"]
    return sorted(key for key, entry in entries.items() if key.startswith(prefix) and not entry.get("deleted"))


def past(document: Document, key: str) -> list[PastCell]:
    """What is remembered of a key, oldest first."""
    entry = document["entries"].get(key)
    if entry is None:
        return []
    return [PastCell(_cell(old), old["at"], old["transaction"]) for old in [*entry.get("history", []), entry]]


def changed(document: Document, drafts: Sequence[Draft], transaction: str, at: float, keep: int) -> Document:
    """The document after a commit; the given one stays as it is."""
    version = document["version"] + 1
    entries = dict(document["entries"])
    for draft in drafts:
        old = entries.get(draft.key)
        entries[draft.key] = _entry(draft, version, transaction, at, old, draft.keep or keep)
    return {**document, "version": version, "entries": entries}


def lifted(document: Document, witnessed: int) -> Document:
    """The document with a version far above all that was ever seen; its entries keep theirs."""
    return {**document, "version": witnessed + 1000}


def noted(document: Document, transaction: str, status: TransactionStatus, reason: str, at: float) -> Document:
    """The document with one more line on a transaction that did not commit."""
    line = {
        "version": document["version"],
        "transaction": transaction,
        "at": at,
        "status": status.value,
        "reason": reason,
    }
    return {**document, "outcomes": [*document["outcomes"], line][-_OUTCOMES:]}


def pruned(document: Document, keep: int, before: float, promises: Mapping[str, int]) -> tuple[Document, int]:
    """The document without old values, and how many those were."""
    entries: dict[str, Any] = {}
    removed = 0
    for key, entry in document["entries"].items():
        history = entry.get("history", [])
        if entry.get("deleted") and entry["at"] < before:
            removed += 1 + len(history)
            continue
        border = max(0, len(history) + 1 - kept_of(key, keep, promises))
        kept = [old for index, old in enumerate(history) if index >= border or old["at"] >= before]
        removed += len(history) - len(kept)
        entries[key] = {**entry, "history": kept}
    outcomes = [line for line in document["outcomes"] if line["at"] >= before]
    return {**document, "entries": entries, "outcomes": outcomes}, removed


def log_lines(document: Document, limit: int) -> list[TransactionRecord]:
    """The newest lines of the transaction log, newest first."""
    commits: dict[int, list[Any]] = {}
    for key, entry in document["entries"].items():
        for old in [*entry.get("history", []), entry]:
            commits.setdefault(old["version"], [old["transaction"], old["at"], []])[2].append(key)
    lines = [
        ((version, 0, 0), _record(transaction, TransactionStatus.COMMITTED, version, at, tuple(keys)))
        for version, (transaction, at, keys) in commits.items()
    ]
    lines += [
        (
            (line["version"], 1, number),
            _record(line["transaction"], TransactionStatus(line["status"]), None, line["at"], (), line["reason"]),
        )
        for number, line in enumerate(document["outcomes"])
    ]
    lines.sort(key=lambda line: line[0], reverse=True)
    return [record for _, record in lines[:limit]]


def _record(
    transaction: str, status: TransactionStatus, version: int | None, at: float, keys: tuple[str, ...], note: str = ""
) -> TransactionRecord:
    return TransactionRecord(id=transaction, status=status, version=version, at=at, keys=keys, note=note)


def _cell(entry: Mapping[str, Any]) -> Cell:
    text = None if entry.get("deleted") else finite_json.dumps(entry["value"])
    return Cell(entry["version"], entry["schema"], text)


def _entry(
    draft: Draft, version: int, transaction: str, at: float, old: Mapping[str, Any] | None, keep: int
) -> Mapping[str, Any]:
    entry = {"version": version, "schema": draft.schema, "at": at, "transaction": transaction}
    body = {"deleted": True} if draft.text is None else {"value": json.loads(draft.text)}
    if old is None:
        return {**entry, **body, "history": []}
    before = {name: item for name, item in old.items() if name != "history"}
    history = [*old.get("history", []), before]
    unknown = {name: item for name, item in old.items() if name not in _KNOWN}
    return {**entry, **body, **unknown, "history": history[max(0, len(history) + 1 - keep) :]}


_KNOWN = frozenset({"version", "schema", "at", "transaction", "value", "deleted", "history"})
