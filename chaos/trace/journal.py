"""What was recorded so far: operations as they take effect, acknowledgements between them, and what went unseen.

Operations are kept as plain mappings while the target runs, because it waits meanwhile; `operations` makes the
trace's objects of them afterwards. Read `recorder.py` next.
"""

from dataclasses import replace
from typing import Any, final

from chaos.syscalls.calls import Trap
from chaos.trace.model import Ack, Frame, Kind, Op, Unmeasured
from chaos.trace.nodes import Node

__all__ = ["Journal"]


@final
class Journal:
    """Append-only, in the order of effects.

    Args:
        keep: whether operations and acknowledgements are kept; else they are forgotten once their call is over, and
            memory does not grow.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._operations: list[dict[str, Any]] = []
        self._mark = self._mark_acks = 0
        self._unmeasured: dict[tuple[str, str], None] = {}
        self._notes: dict[str, None] = {}
        self.acks: list[Ack] = []
        self.outside = 0

    def __len__(self) -> int:
        """How many operations there are so far."""
        return len(self._operations)

    def add(self, trap: Trap, kind: Kind, node: Node | None, **fields: Any) -> None:
        """One operation; the path is the node's at this moment unless given."""
        fields["kind"] = kind
        fields["call"] = trap.name
        fields["process"] = trap.process.number
        fields["thread"] = trap.thread_number
        if node is not None:
            fields["node"] = node.number
            if "path" not in fields:
                fields["path"] = node.path
        self._operations.append(fields)

    def add_store(self, process: int, node: Node, offset: int, data: bytes) -> None:
        """A store through a mapping."""
        self._operations.append(
            {
                "kind": Kind.WRITE,
                "call": "mmap",
                "process": process,
                "node": node.number,
                "path": node.path,
                "offset": offset,
                "data": data,
            }
        )

    def acknowledge(self, trap: Trap, value: str) -> None:
        """An acknowledgement, after all operations so far."""
        if not self._keep:
            return
        thread = trap.thread_number
        self.acks.append(Ack(after=len(self._operations), process=trap.process.number, value=value, thread=thread))

    def mark(self) -> None:
        """What is added from here on belongs to one call."""
        if not self._keep:
            self._operations.clear()
        self._mark, self._mark_acks = len(self._operations), len(self.acks)

    def attribute(self, frames: tuple[Frame, ...], process: int) -> None:
        """The source lines of what a process did since the mark."""
        for entry in self._operations[self._mark :]:
            if entry["process"] == process:  # else a store of another one, seen at this call
                entry["source"] = frames
        for number in range(self._mark_acks, len(self.acks)):
            self.acks[number] = replace(self.acks[number], source=frames)

    def miss(self, path: str, reason: str) -> None:
        """Something that can't be modelled happened; said once."""
        self._unmeasured[path, reason] = None

    def note(self, text: str) -> None:
        """A line about the run; said once."""
        self._notes[text] = None

    def operations(self) -> tuple[Op, ...]:
        """All operations, numbered."""
        return tuple(Op(seq=seq, **entry) for seq, entry in enumerate(self._operations))

    @property
    def unmeasured(self) -> tuple[Unmeasured, ...]:
        """What went unseen."""
        return tuple(Unmeasured(path=path, reason=reason) for path, reason in self._unmeasured)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about the run."""
        return tuple(self._notes)
