"""`Transaction`: several keys read and written together, all or nothing, while nobody else writes.

Writes are collected and made at the end; reads see them. Read `store.py` for how one is begun.
"""

from collections.abc import Callable, Mapping
from enum import Enum

from pytest_guardrails.errors import ConfigurationError, check_whole
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.durability import FencedError
from pytest_guardrails.reliability.durability.finite_json import check
from pytest_guardrails.reliability.state.backend import Session
from pytest_guardrails.reliability.state.model import Draft, TransactionError, VersionConflictError
from pytest_guardrails.reliability.state.pressure import PressureGauge
from pytest_guardrails.reliability.state.retention import RETENTION, with_promise
from pytest_guardrails.reliability.state.values import RESERVED, UNKNOWN_FIELDS, Values, check_key, is_text

__all__ = ["Conflict", "Merge", "Transaction"]

_FENCES = RESERVED + "fence/"
Merge = Callable[[Any, Any], Any]


@final
class Conflict(Enum):
    """What becomes of a write whose expected version is not the one found; a merge function is a third way."""

    REJECT = "reject"
    LAST_WRITER_WINS = "last writer wins"


@final
class Transaction:
    """See the module. Made by `StateStore.transaction` only.

    Attributes:
        id: in the transaction log.
        over: it ended, one way or the other.
        committed: the store's version that it made; 0 while it has not, or when it wrote nothing.
    """

    def __init__(self, session: Session, values: Values, transaction_id: str) -> None:
        self.id = transaction_id
        self._session = session
        self._values = values
        self._drafts: dict[str, Draft] = {}
        self._understood: set[str] = set()  # keys whose present value this program may replace
        self.over = False
        self.committed = 0

    def get(self, key: str, default: Any = None) -> Any:
        """The key's value, frozen; `default` when it is not there.

        Raises:
            NewerFormatError: a later version of the application wrote it.
        """
        self._check_open()
        check_key(key)
        draft = self._drafts.get(key)
        if draft is not None:
            return default if draft.text is None else self._values.decode(key, draft.text)
        cell = self._session.get(key)
        value = default if cell is None else self._values.of(key, cell, default)
        self._understood.add(key)
        return value

    def version(self, key: str) -> int:
        """The committed version of a key, whatever this transaction wrote; 0 when it is not there."""
        self._check_open()
        check_key(key)
        cell = self._session.get(key)
        return 0 if cell is None or cell.text is None else cell.version

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted."""
        self._check_open()
        if not is_text(prefix):
            return []
        found = {key for key in self._session.keys(prefix) if not key.startswith(RESERVED)}
        for key, draft in self._drafts.items():
            if key.startswith(prefix) and not key.startswith(RESERVED):
                (found.discard if draft.text is None else found.add)(key)
        return sorted(found)

    def put(
        self,
        key: str,
        value: Any,
        *,
        expected_version: int | None = None,
        on_conflict: Conflict | Merge = Conflict.REJECT,
        keep_versions: int | None = None,
    ) -> None:
        """Set a key.

        Args:
            key: at most 1000 bytes, not starting with "@".
            value: anything that JSON knows, finite.
            expected_version: the version that the key must have; 0 for "not there"; None for any.
            on_conflict: what to do when it has another one; a function gets (current value, `value`) and returns
                what is to be stored.
            keep_versions: how many values of this key are remembered; None leaves it to the store's setting.

        Raises:
            VersionConflictError: by the policy REJECT.
            NewerFormatError: a later version of the application wrote what stands there.
            JsonRefusedError: the value can't be stored; names the path to the culprit.
        """
        self._check_open()
        check_key(key)
        if not (isinstance(on_conflict, Conflict) or callable(on_conflict)):
            raise ConfigurationError(f"on_conflict is a Conflict or a function of two values, not {on_conflict!r}")
        if expected_version is not None:
            found = self.version(key)
            if found != expected_version:
                if on_conflict is Conflict.REJECT:
                    raise VersionConflictError(key, expected_version, found)
                if not isinstance(on_conflict, Conflict):
                    value = on_conflict(self.get(key), value)
        self._check_understood(key)
        self._drafts[key] = self._values.draft(key, value, keep_versions)

    def delete(self, key: str, *, expected_version: int | None = None, keep_versions: int | None = None) -> None:
        """Remove a key; nothing happens when it is not there. With `keep_versions` 1 its old values go at once.

        Raises:
            VersionConflictError: it has another version than the expected one.
            NewerFormatError: a later version of the application wrote it.
        """
        self._check_open()
        check_key(key)
        self._check_understood(key)
        found = self.version(key)
        if expected_version is not None and found != expected_version:
            raise VersionConflictError(key, expected_version, found)
        if found:
            self._drafts[key] = Draft(key, self._values.schema, None, keep_versions)
        else:
            self._drafts.pop(key, None)

    def put_stored(self, key: str, value: Any, schema: int) -> None:
        """Set a key to a value of an older schema, which is migrated when it is read; for imports.

        Raises:
            NewerFormatError: the schema is newer than the application's, or that of what stands there is.
        """
        self._check_open()
        check_key(key)
        self._values.check_schema(key, schema)
        self._check_understood(key)
        self._drafts[key] = self._values.draft(key, value)._replace(schema=schema)

    def put_unknown_fields(self, fields: Mapping[str, Any]) -> None:
        """Keep what an import brought along that this version does not know."""
        self._check_open()
        if any(fields.values()) or self._session.get(UNKNOWN_FIELDS) is not None:
            self._drafts[UNKNOWN_FIELDS] = self._values.draft(UNKNOWN_FIELDS, fields, keep=1)

    def promise(self, prefix: str, keep_versions: int) -> None:
        """Let no clean-up leave less than so many values of each key that starts with `prefix`; see `StateStore.prune`.

        Raises:
            NewerFormatError: a later version of this package wrote what is promised.
        """
        self._check_open()
        check_key(prefix)
        check_whole("keep_versions", keep_versions, 1)
        draft = with_promise(self._session.get(RETENTION), prefix, keep_versions)
        if draft is not None:
            self._drafts[RETENTION] = draft

    def fence(self, name: str, token: int) -> None:
        """Let this transaction commit only if no larger token was seen under this name.

        Raises:
            FencedError: one was; the lease is lost, and nothing may be written under it.
        """
        self._check_open()
        if type(token) is not int or token < 1:
            raise ConfigurationError(f"a fencing token is a number from 1, not {token!r}")
        check(name)
        key = _FENCES + name
        cell = self._session.get(key)
        seen = int(cell.text) if cell is not None and cell.text is not None else 0
        if token < seen:
            raise FencedError(f"token {token} comes after {seen} at the fence {name!r}: its lease was lost")
        if token > seen:
            self._drafts[key] = Draft(key, 1, str(token))

    def stage(self, gauge: PressureGauge) -> int | None:
        """Hand in what was written, to be committed by the session; for the store only.

        Args:
            gauge: counts that are to be written along with it, if any.

        Returns:
            The store's version with it; None when nothing was written.
        """
        self._check_open()
        self.over = True
        if not self._drafts:
            return None
        if gauge.due and (counts := gauge.draft(self._session)) is not None:
            self._drafts[counts.key] = counts
        self.committed = self._session.stage(list(self._drafts.values()), self.id)
        return self.committed

    def abandon(self) -> None:
        """Write nothing; for the store only."""
        self.over = True

    def _check_understood(self, key: str) -> None:
        if key in self._understood:
            return
        if self._session.schema(key) > self._values.schema:
            cell = self._session.get(key)  # which tells damage from a later version
            if cell is not None and cell.text is not None:
                self._values.check_schema(key, cell.schema)
        self._understood.add(key)

    def _check_open(self) -> None:
        if self.over:
            raise TransactionError(f"transaction {self.id} is over: begin another one")
