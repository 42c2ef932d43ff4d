"""The book of hooks that must not run freely: a second, small memory, so that a damaged store re-enables none.

A store that was damaged goes on with an earlier generation, in which a hook that was disabled since may look enabled.
So each hook that is open, half open or held by an operator is also written here, before the store commits it, and taken
out when it is free again. Of two records of one hook the one with the higher epoch is true.

One JSON file beside the store, replaced as a whole: `{"format": "pytest-guardrails-disabled", "format_version": 1,
"hooks": {KEY: RECORD}}`. A damaged one is moved aside and written anew from the store. It is written under the store's
lock only. Read `hook_state.py` for its user.
"""

import os
from collections.abc import Mapping

from pytest_guardrails.errors import NewerFormatError, StorageError
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.durability import Durability, JsonRefusedError, finite_json, write_atomic

__all__ = ["DisabledBook"]

_FORMAT = "pytest-guardrails-disabled"
_VERSION = 1


@final
class DisabledBook:
    """See the module.

    Args:
        path: its file; missing as long as no hook is disabled.
        durability: what a change survives.
    """

    def __init__(self, path: str | os.PathLike[str], durability: Durability = "power") -> None:
        self.path = os.path.realpath(path)
        self._durability = durability
        self._known: tuple[tuple[int, ...], Mapping[str, Any] | None] = ((), {})

    def read(self) -> Mapping[str, Any] | None:
        """The stored records by their keys; None when the file is damaged.

        Raises:
            NewerFormatError: a later version wrote it.
            StorageError: it can't be read.
        """
        try:
            status = os.stat(self.path)
            identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if identity != self._known[0]:
                with open(self.path, "rb") as file:
                    self._known = (identity, _hooks_in(file.read()))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error
        return self._known[1]

    def write(self, hooks: Mapping[str, Any]) -> None:
        """Replace the book; a damaged one is kept beside it."""
        if self.read() is None:
            os.replace(self.path, _free_name(self.path + ".damaged"))
        document = {"format": _FORMAT, "format_version": _VERSION, "hooks": hooks}
        content = (finite_json.dumps(document, indent=2) + "\n").encode()
        write_atomic(self.path, content, durability=self._durability)


def _hooks_in(content: bytes) -> Mapping[str, Any] | None:
    try:
        document = finite_json.loads(content)
    except JsonRefusedError:
        return None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return None
    if document.get("format_version") != _VERSION:
        raise NewerFormatError(f"the book of disabled hooks has format {document.get('format_version')}: update")
    hooks = document.get("hooks")
    return hooks if isinstance(hooks, dict) and all(_is_record(record) for record in hooks.values()) else None


def _is_record(record: object) -> bool:
    circuit = record.get("circuit") if isinstance(record, dict) else None
    return isinstance(circuit, dict) and type(circuit.get("epoch")) is int


def _free_name(path: str) -> str:
    number = 1
    while os.path.lexists(f"{path}-{number}"):
        number += 1
    return f"{path}-{number}"
