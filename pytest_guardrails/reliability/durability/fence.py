"""`Fence`: where data is written, the token of a lease is checked, and who comes too late is refused.

For data in plain files; the state store has `Transaction.fence`. Read `lease.py` for where tokens come from.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pytest_guardrails.errors import ConflictError, CorruptionError, NewerFormatError, StorageError, check_whole
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.durability.atomic import write_atomic
from pytest_guardrails.reliability.durability.locks import FileLock, LockInterruptedError, resolved

__all__ = ["FORMAT", "Fence", "FencedError", "read_record"]

FORMAT = 1  # of records of leases and fences


@final
class FencedError(ConflictError):
    """A token is older than one seen already: its holder has lost the lease, and must not write."""


@final
class Fence:
    """Keeps late writers from data in plain files: remembers the largest token that it has seen.

    Args:
        path: where the token is remembered, beside the data.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = resolved(path)
        self._lock = FileLock.beside(self.path)

    @contextmanager
    def guard(self, token: int) -> Iterator[None]:
        """Write the data inside this block: no other token is let in meanwhile.

        Raises:
            FencedError: a larger token was here before.
            LockInterruptedError: this thread is inside such a block already, with a smaller token.
            ConfigurationError: `token` is none; NaN, above all, is smaller than nothing.
        """
        check_whole("a fencing token", token, 1)
        inside = self._lock.held is not None
        with self._lock.exclusive():
            seen = read_record(self.path).get("token", 0)
            if token < seen:
                raise FencedError(f"token {token} comes after {seen} at {self.path}: its lease was lost")
            if token > seen and inside:
                raise LockInterruptedError(self._lock.path)
            if token > seen:
                content = finite_json.dumps({"format": FORMAT, "token": token})
                write_atomic(self.path, content.encode(), durability="power")
            yield


def read_record(path: str) -> Mapping[str, Any]:
    """The record of a lease or a fence, checked; empty when there is none.

    Raises:
        StorageError: it can't be read.
        CorruptionError: it is none.
        NewerFormatError: a later version wrote it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error}") from error
    try:
        record = finite_json.loads(content)
    except finite_json.JsonRefusedError as error:
        raise CorruptionError(f"{path} is no lease record ({error}); look at it, then move it away") from error
    found = record.get("format") if isinstance(record, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise NewerFormatError(f"{path} has format {found}; this version knows {FORMAT}: update pytest-guardrails")
    if found is True or found != FORMAT or type(record.get("token")) is not int or record["token"] < 0:
        raise CorruptionError(f"{path} is no lease record; look at it, then move it away")
    return dict(record)
