"""What becomes of a damaged store: quarantine, then the last good generation in its place, and a truthful note.

The order makes a crash in between harmless: the note is written, then the main file is moved away *first*, since a
database whose log was moved before it would look healthy and old; the good generation is put in place last, in one
step. Until then the main file is missing while a witness says that there was one, so the next start begins again here.
Read `quarantine.py` for the folders.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from pytest_guardrails.errors import StorageError
from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability import write_atomic
from pytest_guardrails.reliability.durability.times import wall_time
from pytest_guardrails.reliability.state.backend import BackendSettings
from pytest_guardrails.reliability.state.model import Damage, Incident
from pytest_guardrails.reliability.state.quarantine import incidents_of, open_quarantine, set_aside, write_incident

__all__ = ["Recovery"]


@final
class Recovery:
    """Recovers one store; used under its lock, with its files closed.

    Args:
        path: the main file.
        others: files that belong to it, in the order in which they are moved away.
        good: the last good generation of the main file.
        settings: whom to tell, and the time.
    """

    def __init__(self, path: str, others: Sequence[str], good: str, settings: BackendSettings) -> None:
        self._path = path
        self._others = others
        self._good = good
        self._settings = settings

    def is_missing(self) -> bool:
        """Whether something belongs to a store here, but there is no main file, or an empty one."""
        try:
            gone = os.path.getsize(self._path) == 0
        except FileNotFoundError:
            gone = True
        except OSError as error:
            raise StorageError(f"{self._path} can't be read: {error}") from error
        return gone and any(os.path.lexists(path) for path in (*self._others, self._good))

    def run(self, reason: str, witnessed: int, adopt: Callable[[str, int], int]) -> Incident:
        """Set everything aside and restore.

        Args:
            reason: what was wrong.
            witnessed: the last version known to have been committed; 0 when unknown.
            adopt: called when the good generation is in place, with the quarantine's folder and `witnessed`: checks
                it, adds what can be read of later changes, lifts its version above `witnessed`, and returns the
                version up to which nothing is missing. Raises `Damage` when it is no good either.

        Returns:
            What happened; its `restored_version` is None when there is nothing to go on with.

        Raises:
            StorageError: the disk refused; the next start tries again.
        """
        found = [path for path in (self._path, *self._others) if os.path.lexists(path)]
        earlier = incidents_of(self._path)
        if not found and not os.path.lexists(self._good) and earlier:
            return earlier[-1]  # nothing has changed since: no new folder for each start
        folder = open_quarantine(self._path)
        wall = wall_time(self._settings.clock)
        incident = Incident(
            reason=reason, quarantine=folder, restored_version=None, witnessed_version=witnessed, at=wall
        )
        write_incident(incident)
        set_aside(folder, found)
        incident = incident._replace(restored_version=self._restore(folder, witnessed, adopt))
        write_incident(incident)
        self._settings.listener(incident)
        return incident

    def report(self, reason: str, restored: int, witnessed: int) -> Incident:
        """Note a loss that left a usable main file: nothing is moved."""
        incident = Incident(
            reason=reason,
            quarantine=open_quarantine(self._path),
            restored_version=restored,
            witnessed_version=witnessed,
            at=wall_time(self._settings.clock),
        )
        write_incident(incident)
        self._settings.listener(incident)
        return incident

    def _restore(self, folder: str, witnessed: int, adopt: Callable[[str, int], int]) -> int | None:
        try:
            with open(self._good, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return None
        write_atomic(self._path, content, durability="power")
        try:
            return adopt(folder, witnessed)
        except Damage:
            # The restored copy is the good generation over again; what was found first is in `folder` already.
            for path in (self._path, *self._others):
                with suppress(FileNotFoundError):
                    os.unlink(path)
            set_aside(folder, [self._good])
            return None
