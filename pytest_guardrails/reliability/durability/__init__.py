"""What survives a crash, in its smallest parts: atomic files, locks, leases, strict JSON.

Nothing here knows what is stored. `atomic.py` replaces a file in one step, `locks.py` keeps others out, `lease.py` does
so beyond a process's life, `finite_json.py` keeps NaN out. Above it stands `pytest_guardrails.reliability.state`, the
one store that everything else uses.
"""

from pytest_guardrails.faces import lazy
from pytest_guardrails.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_guardrails.reliability.durability.atomic import (
        Durability,
        DurabilityUnknownError,
        Symlinks,
        remove_orphans,
        sync_directory,
        sync_file,
        write_atomic,
    )
    from pytest_guardrails.reliability.durability.fence import Fence, FencedError
    from pytest_guardrails.reliability.durability.finite_json import JsonRefusedError
    from pytest_guardrails.reliability.durability.identity import ProcessIdentity, identity_of, is_alive, own_identity
    from pytest_guardrails.reliability.durability.kernel import LockUnsupportedError
    from pytest_guardrails.reliability.durability.lease import (
        Lease,
        LeaseHeldError,
        LeaseLostError,
        LeaseStatus,
    )
    from pytest_guardrails.reliability.durability.locks import (
        FileLock,
        HolderRecord,
        LockCancelledError,
        LockDeadlineError,
        LockInterruptedError,
        LockNotHeldError,
        lock_all,
    )
    from pytest_guardrails.reliability.durability.names import safe_name

__all__ = [
    "Durability",
    "DurabilityUnknownError",
    "Fence",
    "FencedError",
    "FileLock",
    "HolderRecord",
    "JsonRefusedError",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "LeaseStatus",
    "LockCancelledError",
    "LockDeadlineError",
    "LockInterruptedError",
    "LockNotHeldError",
    "LockUnsupportedError",
    "ProcessIdentity",
    "Symlinks",
    "identity_of",
    "is_alive",
    "lock_all",
    "own_identity",
    "remove_orphans",
    "safe_name",
    "sync_directory",
    "sync_file",
    "write_atomic",
]

__getattr__ = lazy(
    __name__,
    {
        "atomic": "Durability DurabilityUnknownError Symlinks remove_orphans sync_directory sync_file write_atomic",
        "fence": "Fence FencedError",
        "finite_json": "JsonRefusedError",
        "identity": "ProcessIdentity identity_of is_alive own_identity",
        "kernel": "LockUnsupportedError",
        "lease": "Lease LeaseHeldError LeaseLostError LeaseStatus",
        "locks": "FileLock HolderRecord LockCancelledError LockDeadlineError LockInterruptedError "
        "LockNotHeldError lock_all",
        "names": "safe_name",
    },
)
