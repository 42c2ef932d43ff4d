"""The one transactional store: everything of the stack that must survive is a typed view of it.

`open_store` is where to begin; `store.py` says what is guaranteed.
"""

from pytest_guardrails.faces import lazy
from pytest_guardrails.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_guardrails.reliability.state.backend import Backend, BackendSettings, PastCell, Reader, Session
    from pytest_guardrails.reliability.state.checkpoints import Checkpoint, CheckpointEntry, Checkpoints, IterationError
    from pytest_guardrails.reliability.state.effects import (
        Effect,
        Effects,
        EffectState,
        OutcomeUnknownError,
        forget_effects,
    )
    from pytest_guardrails.reliability.state.exchange import ImportMode, Mirror, export_state, import_state
    from pytest_guardrails.reliability.state.frozen import FrozenDict, FrozenList, freeze, thaw
    from pytest_guardrails.reliability.state.json_file import JsonBackend
    from pytest_guardrails.reliability.state.model import (
        Cell,
        Draft,
        HistoryEntry,
        Incident,
        StoreCorruptedError,
        TransactionError,
        TransactionRecord,
        TransactionStatus,
        VersionConflictError,
    )
    from pytest_guardrails.reliability.state.opening import BackendKind, open_store
    from pytest_guardrails.reliability.state.sqlite import SqliteBackend
    from pytest_guardrails.reliability.state.store import StateStore
    from pytest_guardrails.reliability.state.transaction import Conflict, Merge, Transaction
    from pytest_guardrails.reliability.state.values import Migration

__all__ = [
    "Backend",
    "BackendKind",
    "BackendSettings",
    "Cell",
    "Checkpoint",
    "CheckpointEntry",
    "Checkpoints",
    "Conflict",
    "Draft",
    "Effect",
    "EffectState",
    "Effects",
    "FrozenDict",
    "FrozenList",
    "HistoryEntry",
    "ImportMode",
    "Incident",
    "IterationError",
    "JsonBackend",
    "Merge",
    "Migration",
    "Mirror",
    "OutcomeUnknownError",
    "PastCell",
    "Reader",
    "Session",
    "SqliteBackend",
    "StateStore",
    "StoreCorruptedError",
    "Transaction",
    "TransactionError",
    "TransactionRecord",
    "TransactionStatus",
    "VersionConflictError",
    "export_state",
    "forget_effects",
    "freeze",
    "import_state",
    "open_store",
    "thaw",
]

__getattr__ = lazy(
    __name__,
    {
        "backend": "Backend BackendSettings PastCell Reader Session",
        "checkpoints": "Checkpoint CheckpointEntry Checkpoints IterationError",
        "effects": "Effect Effects EffectState OutcomeUnknownError forget_effects",
        "exchange": "ImportMode Mirror export_state import_state",
        "frozen": "FrozenDict FrozenList freeze thaw",
        "json_file": "JsonBackend",
        "model": "Cell Draft HistoryEntry Incident StoreCorruptedError TransactionError TransactionRecord"
        " TransactionStatus VersionConflictError",
        "opening": "BackendKind open_store",
        "sqlite": "SqliteBackend",
        "store": "StateStore",
        "transaction": "Conflict Merge Transaction",
        "values": "Migration",
    },
)
