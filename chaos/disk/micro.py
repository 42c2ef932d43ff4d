"""How an operation falls into the pieces that can persist on their own, and which piece needs which other.

    ENTRY  names that change together: one for create, link, unlink; a rename's two; an exchange's two
    MODE   permission bits of an inode
    CUT    a length set by truncate, smaller or larger; the page that it cuts is a DATA as well, zeroed behind it
    TRIM   a length that the disk may take over alone, when a rewritten file is shorter than it was
    GROW   a length reached by writing, at each page border
    DATA   one unit of a file (a page, or a sector), with all that the page cache held of it then

A disk may hold any set of pieces in which each has those that it *needs*: rules of the model become needs here, and
durability (which pieces must be there) is `pending.py`'s. DATA carries the whole unit as the page cache had it, for
that is what is written back: so a unit's content is always one that existed, never a mixture. Read `pending.py` next.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import final

from chaos.disk.content import BLOCK_BYTES, Content
from chaos.disk.models import PersistenceModel
from chaos.disk.naming import Part, Views, entry_groups
from chaos.disk.recipes import StepId
from chaos.disk.tree import Tree
from chaos.trace.model import Kind, NodeType, Op, Sync

__all__ = ["GARBAGE", "WHOLE_UNITS", "Decomposer", "EntryKey", "Step", "StepKind", "lay"]

EntryKey = tuple[int, str]

# A write of more units falls into fewer, larger pieces: the ends, the middle and powers of two stand for all borders.
WHOLE_UNITS = 64
# What a disk held before, where a model lets a size come before its data: recognisably no one's data.
GARBAGE = 0xA5


@final
class StepKind(Enum):
    """What a piece changes."""

    ENTRY = "entry"
    MODE = "mode"
    CUT = "cut"
    TRIM = "trim"
    GROW = "grow"
    DATA = "data"


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One micro-operation.

    Attributes:
        id: (operation, index within it); rises in the order of issue.
        kind: what it changes; the fields below are used by the kinds named.
        node: the inode; of an ENTRY the one that it is about.
        needs: steps that must be there for this one to be.
        sees: steps without which this one would only hide something (a move into a folder that is not there yet).
        parts: ENTRY: the entries to set, in order.
        offset: DATA: where, in bytes.
        data: DATA: the bytes, up to the file's end then.
        extent: DATA: how many bytes of the file the piece stands for; what `data` lacks of it is zero.
        size: CUT, TRIM, GROW: the length.
        mode: MODE: the bits.
        fresh: DATA: whether its block was not yet on the disk.
    """

    id: StepId
    kind: StepKind
    node: int
    needs: tuple[StepId, ...] = ()
    sees: tuple[StepId, ...] = ()
    parts: tuple[Part, ...] = ()
    offset: int = 0
    data: bytes = b""
    extent: int = 0
    size: int = 0
    mode: int = 0
    fresh: bool = False


def lay(content: Content, size: int, step: Step) -> tuple[Content, int]:
    """A file's bytes and length after one more of its steps; bytes beyond the length stay for a later GROW."""
    if step.kind is StepKind.DATA:
        content = content.write(step.offset, step.data)
        end = step.offset + len(step.data)
        rest = min(step.offset + step.extent, content.size) - end
        return (content.write(end, bytes(rest)) if rest > 0 else content), size
    if step.kind is StepKind.GROW:
        return content, max(size, step.size)
    size = min(size, step.size) if step.kind is StepKind.TRIM else step.size
    return content.resized(min(content.size, step.size)), size


@final
class Decomposer:
    """Turns operations into steps, one after the other; knows what they need of earlier, still pending ones."""

    __slots__ = (
        "_before",
        "_chain",
        "_cuts",
        "_data",
        "_fresh",
        "_grows",
        "_moves",
        "_stale",
        "_unflushed",
        "_versions",
        "model",
        "puts",
    )

    def __init__(self, model: PersistenceModel) -> None:
        self.model = model
        self.puts: dict[EntryKey, StepId] = {}  # the pending step that set an entry last
        self._chain: StepId | None = None  # the latest step of the journal's order
        self._data: StepId | None = None  # the latest DATA of all
        self._moves: StepId | None = None  # the latest rename of a directory
        self._cuts: dict[int, StepId] = {}
        self._before: dict[int, int] = {}  # node -> its greatest length before a pending truncate
        self._grows: dict[int, StepId] = {}
        self._versions: dict[int, dict[int, StepId]] = {}  # node -> unit -> its latest DATA
        self._fresh: dict[int, dict[int, StepId]] = {}  # node -> block not on the disk yet -> its latest DATA
        self._stale: dict[int, tuple[int, bytes]] = {}  # node -> where it was cut inside a block, and what was there
        self._unflushed: dict[int, list[StepId]] = {}  # node -> what a replacing rename would flush

    def copy(self) -> "Decomposer":
        """An independent copy."""
        made = Decomposer(self.model)
        made.puts = self.puts.copy()
        made._chain, made._data, made._moves = self._chain, self._data, self._moves
        made._cuts, made._before, made._grows = self._cuts.copy(), self._before.copy(), self._grows.copy()
        made._stale = self._stale.copy()
        made._versions = {node: units.copy() for node, units in self._versions.items()}
        made._fresh = {node: blocks.copy() for node, blocks in self._fresh.items()}
        made._unflushed = {node: steps.copy() for node, steps in self._unflushed.items()}
        return made

    def forget(self, node: int) -> None:
        """Nothing of a file's content is pending any more."""
        for table in (self._cuts, self._before, self._grows, self._versions, self._fresh, self._unflushed):
            table.pop(node, None)

    def abandon(self, node: int) -> None:
        """A sync of the file failed: its pages are clean, so nothing later flushes them."""
        self._unflushed.pop(node, None)

    def forget_entry(self, key: EntryKey, step: StepId) -> None:
        """An entry's step is no longer pending."""
        if self.puts.get(key) == step:
            del self.puts[key]

    def steps(self, op: Op, views: Views, live: Mapping[StepId, Step]) -> list[Step]:
        """The steps of one operation; `live` is what is pending."""
        before, after = views.before, views.after
        if op.kind is Kind.WRITE:
            return self._write(op, before, after, live) if op.data else []
        if op.kind is Kind.TRUNCATE:
            # To the length that it has: only the file's times change.
            same = before.nodes[op.node].content.size == op.size
            return [] if same else self._truncate(op, before, live)
        if op.kind is Kind.CHMOD:
            return [self._chained(Step((op.seq, 0), StepKind.MODE, op.node, mode=op.mode), live)]
        groups = entry_groups(op, views, self.model)
        return [self._entry(op, index, parts, before, live) for index, parts in enumerate(groups)]

    def _chained(self, step: Step, live: Container[StepId]) -> Step:
        if not self.model.directory_order:
            return step
        made = _needing(step, _pending((self._chain,), live))
        self._chain = step.id
        return made

    def _entry(self, op: Op, index: int, parts: tuple[Part, ...], before: Tree, live: Mapping[StepId, Step]) -> Step:
        own = (op.seq, index)
        wanted: list[StepId | None] = []
        sees: list[StepId | None] = []
        for parent, name, node in parts:
            # Taking a node from a name needs the step that put it there; overwriting a name needs nothing.
            taken = before.child(parent, name)
            if taken is not None and (node is None or op.kind is Kind.EXCHANGE) and self._removes(op, parent, name):
                wanted.append(self._put_of(parent, name, taken, live))
            if node is not None and op.kind in (Kind.RENAME, Kind.LINK, Kind.EXCHANGE):
                sees.extend(self.puts.get(place) for place in before.nodes[parent].names)
        if op.kind is Kind.RENAME:
            if before.nodes[op.node].type is NodeType.DIRECTORY:
                wanted.append(self._moves)
                self._moves = own
            elif self.model.replace_flushes and op.victim is not None and parts[-1][2] == op.node:
                wanted.extend(self._unflushed.pop(op.node, ()))
        step = Step(own, StepKind.ENTRY, op.node, _pending(wanted, live), _pending(sees, live), parts)
        for parent, name, _ in parts:
            self.puts[parent, name] = own
        return self._chained(step, live)

    @staticmethod
    def _removes(op: Op, parent: int, name: str) -> bool:
        """Whether an operation speaks of this entry, not only of an older name of the same file."""
        return (parent, name) in ((op.parent, op.name), (op.to_parent, op.to_name))

    def _put_of(self, parent: int, name: str, node: int, live: Mapping[StepId, Step]) -> StepId | None:
        put = self.puts.get((parent, name))
        step = live.get(put) if put is not None else None
        return put if step is not None and (parent, name, node) in step.parts else None

    def _truncate(self, op: Op, before: Tree, live: Mapping[StepId, Step]) -> list[Step]:
        node, old = op.node, before.nodes[op.node].content
        tail = self._zeroed(op, old, live) if op.size < old.size else self._uncovered(op, op.size, old, live)
        self._remember(op, old)
        own = (op.seq, len(tail))
        # With the length the zeroes can't be seen: where they bring nothing else, a cut with them is as one without.
        unseen = [step.id for step in tail if not step.needs]
        wanted = _pending((self._cuts.get(node), *unseen), live, op.seq)
        trims = self._trim(op, len(tail) + 1, op.size, live)
        known = self._before.get(node, 0) if self._cuts.get(node) in live else 0
        self._before[node] = max(known, old.size)
        step = _needing(Step(own, StepKind.CUT, node, size=op.size), wanted)
        self._cuts[node] = own
        self._grows.pop(node, None)
        kept_blocks = -(-op.size // BLOCK_BYTES)
        self._fresh[node] = {block: step for block, step in self._fresh.get(node, {}).items() if block < kept_blocks}
        unit = self.model.overwrite_unit_bytes
        versions = self._versions.get(node, {})
        self._versions[node] = {at: step for at, step in versions.items() if at * unit < op.size}
        return [*tail, self._chained(step, live), *trims]

    def _trim(self, op: Op, index: int, size: int, live: Mapping[StepId, Step]) -> list[Step]:
        """What lets a new length be on the disk without the truncate before it; it only ever shortens."""
        if self.model.length_needs_cut or size >= self._before.get(op.node, 0):
            return []
        if not any(cut < size for cut in self._cut_sizes(op.node, live)):
            return []
        return [Step((op.seq, index), StepKind.TRIM, op.node, size=size)]

    def _remember(self, op: Op, old: Content) -> None:
        """What a truncate cuts off inside a block, where that may come to light again."""
        block_end = -(-op.size // BLOCK_BYTES) * BLOCK_BYTES
        known = self._stale.get(op.node)
        if known is not None and known[0] > op.size:
            del self._stale[op.node]
        if not self.model.cut_zeroes and op.size < min(old.size, block_end):
            self._stale[op.node] = op.size, old.read(op.size, min(old.size, block_end) - op.size)

    def _uncovered(self, op: Op, size: int, old: Content, live: Mapping[StepId, Step]) -> list[Step]:
        """Old bytes behind a cut that a new length `size` shows, until the block is written with zeroes there."""
        low, held = self._stale.get(op.node, (0, b""))
        first = low // BLOCK_BYTES * BLOCK_BYTES
        if not held or size <= old.size or (op.kind is Kind.WRITE and op.offset < first + BLOCK_BYTES):
            return []
        now = old.read(first, min(old.size, first + BLOCK_BYTES) - first).ljust(BLOCK_BYTES, b"\0")
        then = now[: low - first] + held
        unit = self.model.overwrite_unit_bytes
        steps: list[Step] = []
        for image in (then.ljust(BLOCK_BYTES, b"\0"), now):
            for at in range(low // unit, (first + BLOCK_BYTES) // unit):
                data = image[at * unit - first :][:unit]
                steps.append(self._data_step(op, old.size, (len(steps), at, at + 1), data, live))
        return steps

    def _zeroed(self, op: Op, old: Content, live: Mapping[StepId, Step]) -> list[Step]:
        """The rest of the page in which a file is cut: zeroed in the cache, and written back before the length is.

        Measured on xfs, which does so at once: the old length, and zeroes behind the place of the cut.
        """
        if op.size >= old.size or not op.size % BLOCK_BYTES:
            return []
        unit = self.model.overwrite_unit_bytes
        steps: list[Step] = []
        for at in range(op.size // unit, (op.size // BLOCK_BYTES + 1) * BLOCK_BYTES // unit):
            kept = old.read(at * unit, max(0, op.size - at * unit))
            steps.append(self._data_step(op, old.size, (len(steps), at, at + 1), kept, live))
        return steps

    def _write(self, op: Op, before: Tree, after: Tree, live: Mapping[StepId, Step]) -> list[Step]:
        node, old = op.node, before.nodes[op.node].content
        content, end, unit = after.nodes[node].content, op.offset + len(op.data), self.model.overwrite_unit_bytes
        made = self._uncovered(op, end, old, live)
        ungrown: list[StepId] = []
        for first, last in _pieces(op.offset // unit, -(-end // unit), BLOCK_BYTES // unit):
            low, high = first * unit, min(last * unit, content.size)
            if self.model.early_size == "garbage" and min(high, end) > old.size:
                made.append(self._garbage(op, old, (len(made), first, last), min(high, end), live))
            made.append(self._data_step(op, old.size, (len(made), first, last), content.read(low, high - low), live))
            ungrown.append(made[-1].id)
            reached = min(last * unit, end)
            if reached > old.size and (reached == end or reached % BLOCK_BYTES == 0):
                made.append(self._grow(op, len(made), reached, old.size, ungrown, live))
                ungrown = []
        if node in self._stale and op.offset // BLOCK_BYTES <= self._stale[node][0] // BLOCK_BYTES < -(
            -end // BLOCK_BYTES
        ):
            del self._stale[node]
        if content.size > old.size:
            made += self._trim(op, len(made), content.size, live)
        self._unflushed.setdefault(node, []).extend(
            step.id for step in made if step.fresh or step.kind is StepKind.GROW
        )
        return made

    def _cut_sizes(self, node: int, live: Mapping[StepId, Step]) -> Iterator[int]:
        """The lengths of a file's pending truncates, the latest first."""
        cut = live.get(self._cuts[node]) if node in self._cuts else None
        while cut is not None:
            yield cut.size
            earlier = (live.get(need) for need in cut.needs)
            cut = next((step for step in earlier if step and step.kind is StepKind.CUT and step.node == node), None)

    def _data_step(
        self, op: Op, old_size: int, span: tuple[int, int, int], data: bytes, live: Mapping[StepId, Step]
    ) -> Step:
        index, first, last = span
        own, unit = (op.seq, index), self.model.overwrite_unit_bytes
        versions = self._versions.setdefault(op.node, {})
        wanted: list[StepId | None] = [versions.get(at) for at in range(first, last)]
        blocks = self._fresh.setdefault(op.node, {})
        block = first * unit // BLOCK_BYTES
        fresh = block * BLOCK_BYTES >= old_size or blocks.get(block) in live
        if fresh or any(size <= block * BLOCK_BYTES for size in self._cut_sizes(op.node, live)):
            fresh = True
            blocks.update(dict.fromkeys(range(block, -(-last * unit // BLOCK_BYTES)), own))
            if self.model.rewrite_after_truncate:
                wanted.append(self._cuts.get(op.node))
        if self.model.overwrite_order:
            wanted.append(self._data)
            self._data = own
        versions.update(dict.fromkeys(range(first, last), own))
        needs = _pending(wanted, live, op.seq)
        extent = (last - first) * unit
        return Step(own, StepKind.DATA, op.node, needs, (), (), first * unit, data, extent, fresh=fresh)

    def _garbage(
        self, op: Op, old: Content, span: tuple[int, int, int], reached: int, live: Mapping[StepId, Step]
    ) -> Step:
        low = span[1] * self.model.overwrite_unit_bytes
        held = old.read(low, old.size - low)
        return self._data_step(op, old.size, span, held + bytes([GARBAGE]) * (reached - low - len(held)), live)

    def _grow(
        self, op: Op, index: int, size: int, old_size: int, data: list[StepId], live: Mapping[StepId, Step]
    ) -> Step:
        early = self.model.early_size
        in_block = (
            early == "in_block" and old_size % BLOCK_BYTES and (size - 1) // BLOCK_BYTES == old_size // BLOCK_BYTES
        )
        wanted: list[StepId | None] = [] if in_block or early in ("zeroes", "garbage") else list(data)
        earlier = self._grows.get(op.node)
        if earlier is not None and (op.sync is Sync.NONE or earlier[0] == op.seq):
            # A synchronous write flushes its own range alone: what was appended before it may still be a hole.
            wanted.append(earlier)
        if self.model.rewrite_after_truncate:
            wanted.append(self._cuts.get(op.node))
        self._grows[op.node] = (op.seq, index)
        return Step((op.seq, index), StepKind.GROW, op.node, _pending(wanted, live, op.seq), size=size)


def _pending(
    wanted: "list[StepId | None] | tuple[StepId | None, ...]", live: Container[StepId], seq: int = -1
) -> tuple[StepId, ...]:
    """Those of the steps that are still pending, or of operation `seq` itself; each once, in order."""
    return tuple(sorted({step for step in wanted if step is not None and (step in live or step[0] == seq)}))


def _needing(step: Step, more: tuple[StepId, ...]) -> Step:
    if not more:
        return step
    needs = tuple(sorted({*step.needs, *more}))
    return Step(step.id, step.kind, step.node, needs, step.sees, step.parts, size=step.size, mode=step.mode)


def _pieces(first: int, end: int, units_a_block: int) -> Iterator[tuple[int, int]]:
    """Unit ranges that a write of units `first` to `end` falls into."""
    if end - first <= WHOLE_UNITS:
        yield from ((at, at + 1) for at in range(first, end))
        return
    low = -(-(first + 1) // units_a_block)  # block borders inside the write
    high = -(-end // units_a_block)
    count = high - low
    wanted = {0, 1, count // 2, count // 2 + 1, count - 2, count - 1}
    wanted.update(1 << power for power in range(count.bit_length()))
    borders = [first, *((low + index) * units_a_block for index in sorted(wanted) if 0 <= index < count), end]
    yield from pairwise(borders)
