"""Where damaged files go: moved, never changed or removed, with a note of what was wrong.

Beside a store at PATH lies `PATH.quarantine/`, one folder an incident, numbered; in it the damaged files under their
own names and `incident.json`. The note is written before the first file is moved, so that a crash in between
leaves a trace. Read `model.py` for `Incident`.
"""

import json
import os
from collections.abc import Sequence

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import sync_directory, write_atomic
from pytest_guardrails.reliability.state.model import Incident

__all__ = ["incidents_of", "open_quarantine", "set_aside", "write_incident"]

_NOTE = "incident.json"


def open_quarantine(store: str) -> str:
    """A new folder for an incident of the store at path `store`.

    Raises:
        StorageError: it can't be made; nothing was moved.
    """
    room = store + ".quarantine"
    try:
        os.makedirs(room, exist_ok=True)
        number = 1 + max((int(name) for name in os.listdir(room) if name.isdigit()), default=0)
        folder = os.path.join(room, f"{number:04d}")
        os.mkdir(folder)
        sync_directory(room)
        sync_directory(os.path.dirname(room))
    except OSError as error:
        raise StorageError(
            f"no quarantine can be made in {room} ({error}); the damaged store was left alone"
        ) from error
    return folder


def set_aside(folder: str, paths: Sequence[str]) -> None:
    """Move files into the folder, in this order; those that are not there are passed over.

    Raises:
        StorageError: one could not be moved; it and those after it stay where they are.
    """
    try:
        for path in paths:
            if os.path.lexists(path):
                os.rename(path, os.path.join(folder, os.path.basename(path)))
                sync_directory(folder)
                sync_directory(os.path.dirname(path))
    except OSError as error:
        raise StorageError(f"{path} is damaged and can't be moved to {folder}: {error}") from error


def write_incident(incident: Incident) -> None:
    """Write the note into its folder, over an earlier one."""
    plain = {
        "reason": incident.reason,
        "restored_version": incident.restored_version,
        "witnessed_version": incident.witnessed_version,
        "at": incident.at,
    }
    write_atomic(os.path.join(incident.quarantine, _NOTE), (json.dumps(plain, indent=2) + "\n").encode())


def incidents_of(store: str) -> list[Incident]:
    """All incidents of the store at path `store`, oldest first."""
    room = store + ".quarantine"
    try:
        folders = sorted(name for name in os.listdir(room) if name.isdigit())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"{room} can't be read: {error}") from error
    found = (_read(os.path.join(room, name)) for name in folders)
    return [incident for incident in found if incident is not None]


def _read(folder: str) -> Incident | None:
    try:
        with open(os.path.join(folder, _NOTE), encoding="utf-8") as file:
            plain = json.load(file)
        return Incident(
            reason=plain["reason"],
            quarantine=folder,
            restored_version=plain["restored_version"],
            witnessed_version=plain["witnessed_version"],
            at=plain["at"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the crash came before the note: the folder is empty
