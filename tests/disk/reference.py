"""The rules once more, in the slowest and plainest way: all subsets of all micro-operations, each checked and replayed.

It shares the trace types and the models' rules with the real enumerator, and no code: plain dictionaries, and
every question is answered by looking through all earlier micro-operations. Fit for some six operations.
"""

from dataclasses import dataclass, field
from itertools import combinations

from chaos.disk import PersistenceModel
from chaos.trace.model import Kind, NodeType, Op, Sync, Trace

__all__ = ["Reference"]

BLOCK = 4096
Listing = tuple[tuple[str, object], ...]


@dataclass
class Disk:
    entries: dict[int, dict[str, int]]
    types: dict[int, NodeType]
    modes: dict[int, int]
    targets: dict[int, str]
    data: dict[int, bytearray] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)

    def copy(self) -> "Disk":
        return Disk(
            {n: dict(e) for n, e in self.entries.items()},
            dict(self.types),
            dict(self.modes),
            dict(self.targets),
            {n: bytearray(d) for n, d in self.data.items()},
            dict(self.sizes),
        )

    def content(self, node: int) -> bytes:
        return bytes(self.data[node][: self.sizes[node]]).ljust(self.sizes[node], b"\0")

    def listing(self) -> Listing:
        found: dict[str, int] = {}
        waiting = [(0, "")]
        while waiting:
            folder, prefix = waiting.pop()
            for name, node in self.entries[folder].items():
                found[prefix + name] = node
                if self.types[node] is NodeType.DIRECTORY:
                    waiting.append((node, f"{prefix}{name}/"))
        told = []
        for path, node in sorted(found.items()):
            links = tuple(sorted(other for other, number in found.items() if number == node))
            content = self.content(node) if self.types[node] is NodeType.FILE else b""
            told.append((path, (self.types[node], self.modes[node], self.targets.get(node, ""), content, links)))
        return tuple(told)


@dataclass(frozen=True)
class Micro:
    seq: int
    kind: str  # entry, mode, cut, grow, data
    node: int
    parts: tuple[tuple[int, str, int | None], ...] = ()
    takes: tuple[tuple[int, str, int], ...] = ()  # entries that must lead to that node for this to be done
    at: int = 0
    image: bytes = b""
    size: int = 0
    mode: int = 0
    fresh: bool = False
    in_block: bool = False


class Reference:
    """All legal trees of one crash point, as listings."""

    def __init__(self, trace: Trace, model: PersistenceModel, point: int) -> None:
        self.model = model
        self.ops = trace.ops[:point]
        self.start = Disk({}, {}, {}, {})
        for node in trace.initial:
            self._make(self.start, node.node, node.type, node.mode, node.target)
            if node.type is NodeType.FILE:
                self.start.data[node.node], self.start.sizes[node.node] = bytearray(node.data), len(node.data)
        for node in trace.initial:
            for parent, name in node.names:
                self.start.entries[parent][name] = node.node
        self.micros: list[Micro] = []
        self.needs: list[set[int]] = []
        self.sees: list[set[int]] = []
        self.forced: set[int] = set()
        self.abandoned: set[int] = set()
        self.cache = self.start.copy()
        self.committed = self.start.copy()
        self.stale: dict[int, tuple[int, bytes]] = {}
        for op in self.ops:
            if op.kind in (Kind.CREATE, Kind.MKDIR, Kind.SYMLINK):
                kinds = {Kind.CREATE: NodeType.FILE, Kind.MKDIR: NodeType.DIRECTORY, Kind.SYMLINK: NodeType.SYMLINK}
                self._make(self.start, op.node, kinds[op.kind], op.mode, op.target)
                self._make(self.cache, op.node, kinds[op.kind], op.mode, op.target)
            self._issue(op)
            self._sync(op)

    @staticmethod
    def _make(disk: Disk, node: int, kind: NodeType, mode: int, target: str) -> None:
        disk.types[node], disk.modes[node], disk.targets[node] = kind, mode, target
        disk.entries[node] = {}
        disk.data[node], disk.sizes[node] = bytearray(), 0

    def trees(self) -> set[Listing]:
        free = [n for n in range(len(self.micros)) if n not in self.forced]
        found = set()
        for count in range(len(free) + 1):
            for chosen in combinations(free, count):
                kept = self.forced | set(chosen)
                legal = all(self.needs[n] <= kept for n in kept) and all(self.sees[n] <= kept for n in chosen)
                if legal and self._committed_in_order(kept):
                    found.add(self.tree(kept))
        return found

    def _committed_in_order(self, kept: set[int]) -> bool:
        """Since the last sync only a commit of everything writes: whole operations, and all before them."""
        syncs = [n for n, op in enumerate(self.ops) if op.kind.value in ("fsync", "fdatasync", "sync")]
        syncs += [n for n, op in enumerate(self.ops) if op.sync is not Sync.NONE]
        last = max(syncs, default=-1)
        journalled = [n for n, m in enumerate(self.micros) if m.kind in ("entry", "mode", "cut")]
        written = [self.micros[n].seq for n in journalled if n in kept and self.micros[n].seq > last]
        if self.model.directory_order or not self.model.commit_order or not written:
            return True
        latest = max(n for n in journalled if n in kept)
        end = self.micros[latest].seq if self.model.rename_atomic else -1
        return all(n in kept for n in journalled if n < latest or self.micros[n].seq == end)

    def tree(self, kept: set[int]) -> Listing:
        disk = self.start.copy()
        for number in sorted(kept):
            self._do(disk, self.micros[number])
        return disk.listing()

    # How one operation falls apart.

    def _issue(self, op: Op) -> None:
        for micro in self._decompose(op):
            self.micros.append(micro)
            self.needs.append(self._needs(len(self.micros) - 1, op))
            self.sees.append(self._sees(op, micro, len(self.micros) - 1))
        self._apply_to_cache(op)

    def _decompose(self, op: Op) -> list[Micro]:
        if op.kind is Kind.WRITE:
            return self._decompose_write(op)
        if op.kind is Kind.TRUNCATE:
            if op.size == len(self.cache.content(op.node)):
                return []
            uncovered = self._uncovered(op, op.size)
            self._remember(op)
            return [
                *self._zeroed(op),
                *uncovered,
                Micro(op.seq, "cut", op.node, size=op.size),
                *self._trim(op, op.size),
            ]
        if op.kind is Kind.CHMOD:
            return [Micro(op.seq, "mode", op.node, mode=op.mode)]
        if op.parent is None:
            return []
        if op.kind in (Kind.CREATE, Kind.MKDIR, Kind.SYMLINK, Kind.LINK):
            return [Micro(op.seq, "entry", op.node, ((op.parent, op.name, op.node),))]
        if op.kind in (Kind.UNLINK, Kind.RMDIR):
            return [
                *self._older(op),
                Micro(op.seq, "entry", op.node, ((op.parent, op.name, None),), ((op.parent, op.name, op.node),)),
            ]
        assert op.to_parent is not None
        source, target = (op.parent, op.name), (op.to_parent, op.to_name)
        old = self.cache.entries[op.to_parent].get(op.to_name)
        if op.kind is Kind.EXCHANGE:
            assert op.victim is not None
            takes = ((*source, op.node), (*target, op.victim))
            return [Micro(op.seq, "entry", op.node, ((*source, op.victim), (*target, op.node)), takes)]
        if old == op.node:
            return []
        away, there = (*source, None), (*target, op.node)
        if self.model.rename_atomic or self.cache.types[op.node] is NodeType.DIRECTORY:
            whole = Micro(op.seq, "entry", op.node, (away, there), ((*source, op.node),))
            linked = old is not None and sum(c == old for e in self.cache.entries.values() for c in e.values()) > 1
            if self.model.removals_whole:
                return [whole]
            gone = [Micro(op.seq, "entry", op.node, ((*target, None),), ((*target, old),))] if linked else []  # type: ignore[arg-type]
            across = op.parent != op.to_parent and self.cache.types[op.node] is not NodeType.DIRECTORY
            both = [Micro(op.seq, "entry", op.node, (there,))] if across else []
            return [*gone, *self._back(op), *both, whole]
        groups = [Micro(op.seq, "entry", op.node, ((*target, None),), ((*target, old),))] if old is not None else []
        groups += [] if self.model.removals_whole else self._back(op)
        groups.append(Micro(op.seq, "entry", op.node, (there,)))
        groups.append(Micro(op.seq, "entry", op.node, (away,), ((*source, op.node),)))
        return groups

    def _older(self, op: Op) -> list[Micro]:
        """What a name, and other names of its file, may lead to instead where removals are not whole."""
        if self.model.removals_whole:
            return []
        now = {(p, n): c for p, e in self.cache.entries.items() for n, c in e.items() if (p, n) != (op.parent, op.name)}
        durable = self.start.copy()
        for number in sorted(self.forced):
            self._do(durable, self.micros[number])
        names = [(p, n) for p, e in durable.entries.items() for n, c in e.items() if c == op.node]
        old = sorted(key for key in names if key != (op.parent, op.name) and key not in now)
        if op.node in now.values() or not old:
            return self._back(op)
        return [*self._back(op), Micro(op.seq, "entry", op.node, tuple((p, n, None) for p, n in old))]

    def _back(self, op: Op) -> list[Micro]:
        assert op.parent is not None
        old = self.committed.entries.get(op.parent, {}).get(op.name)
        now = [c for e in self.cache.entries.values() for c in e.values()]
        replaced = self.cache.entries[op.to_parent].get(op.to_name) if op.to_parent is not None else None
        if old in (None, op.node) or now.count(old) > (old == replaced):
            return []
        return [Micro(op.seq, "entry", op.node, ((op.parent, op.name, old),))]

    def _decompose_write(self, op: Op) -> list[Micro]:
        if not op.data:
            return []
        old, unit, end = self.cache.content(op.node), self.model.overwrite_unit_bytes, op.offset + len(op.data)
        new = old.ljust(op.offset, b"\0")[: op.offset] + op.data + old[end:]
        made = self._uncovered(op, end)
        hidden = self.stale.get(op.node, (0, b""))[0] // BLOCK
        if op.offset // BLOCK <= hidden <= (end - 1) // BLOCK:
            self.stale.pop(op.node, None)
        for at in range(op.offset // unit * unit, end, unit):
            fresh = self._fresh(op.node, at // BLOCK, len(old))
            reached = min(at + unit, end)
            if self.model.early_size == "garbage" and reached > len(old):
                junk = old[at:].ljust(reached - at, b"\xa5")
                made.append(Micro(op.seq, "data", op.node, at=at, image=junk.ljust(unit, b"\0"), fresh=fresh))
            image = new[at : at + unit].ljust(unit, b"\0")
            made.append(Micro(op.seq, "data", op.node, at=at, image=image, fresh=fresh))
            if reached > len(old) and (reached == end or reached % BLOCK == 0):
                tail = len(old) % BLOCK > 0 and at // BLOCK == len(old) // BLOCK
                made.append(Micro(op.seq, "grow", op.node, size=reached, in_block=tail))
        return made + (self._trim(op, end) if end > len(old) else [])

    def _remember(self, op: Op) -> None:
        old = self.cache.content(op.node)
        stop = min(len(old), -(-op.size // BLOCK) * BLOCK)
        if op.size < self.stale.get(op.node, (0, b""))[0]:
            del self.stale[op.node]
        if op.size < stop and not self.model.cut_zeroes:
            self.stale[op.node] = (op.size, old[op.size : stop])

    def _uncovered(self, op: Op, size: int) -> list[Micro]:
        old, (cut, hidden) = self.cache.content(op.node), self.stale.get(op.node, (0, b""))
        page, unit = cut // BLOCK * BLOCK, self.model.overwrite_unit_bytes
        if not hidden or size <= len(old) or (op.kind is Kind.WRITE and op.offset // BLOCK <= page // BLOCK):
            return []
        now = old[page : page + BLOCK]
        fresh = self._fresh(op.node, page // BLOCK, len(old))
        images = [(now[: cut - page] + hidden).ljust(BLOCK, b"\0"), now.ljust(BLOCK, b"\0")]
        places = range(cut // unit * unit, page + BLOCK, unit)
        return [
            Micro(op.seq, "data", op.node, at=at, image=image[at - page :][:unit], fresh=fresh)
            for image in images
            for at in places
        ]

    def _trim(self, op: Op, size: int) -> list[Micro]:
        cuts = [n for n, m in self._of(op.node, "cut") if n not in self.forced]
        if self.model.length_needs_cut or not cuts or min(self.micros[n].size for n in cuts) >= size:
            return []
        before = max(self._whole(self.micros[n].seq - 1).sizes[op.node] for n in cuts)
        return [Micro(op.seq, "trim", op.node, size=size)] if size < before else []

    def _zeroed(self, op: Op) -> list[Micro]:
        old, unit = self.cache.content(op.node), self.model.overwrite_unit_bytes
        if op.size >= len(old) or op.size % BLOCK == 0:
            return []
        page = op.size // BLOCK * BLOCK
        image = old[page : op.size].ljust(BLOCK, b"\0")
        fresh = self._fresh(op.node, page // BLOCK, len(old))
        places = range(op.size // unit * unit, page + BLOCK, unit)
        return [Micro(op.seq, "data", op.node, at=at, image=image[at - page :][:unit], fresh=fresh) for at in places]

    def _fresh(self, node: int, block: int, size: int) -> bool:
        gone = [n for n, m in self._of(node, "cut") if n not in self.forced and m.size <= block * BLOCK]
        if block * BLOCK >= size or gone:
            return True
        pending = [n for n, m in self._of(node, "data") if m.fresh and m.at // BLOCK == block]
        cuts = [n for n, m in self._of(node, "cut") if -(-m.size // BLOCK) <= block]
        if not pending or (cuts and cuts[-1] > pending[-1]):
            return False
        return pending[-1] not in self.forced

    def _of(self, node: int, kind: str) -> list[tuple[int, Micro]]:
        return [(n, m) for n, m in enumerate(self.micros) if m.node == node and m.kind == kind]

    # What a micro-operation needs.

    def _needs(self, number: int, op: Op) -> set[int]:
        micro, model = self.micros[number], self.model
        earlier = list(enumerate(self.micros[:number]))
        needs: set[int] = set()
        cuts = [n for n, m in earlier if m.kind == "cut" and m.node == micro.node]
        if micro.kind == "data":
            same = [n for n, m in earlier if m.kind == "data" and (m.node, m.at) == (micro.node, micro.at)]
            gone = [n for n in cuts if self.micros[n].size <= micro.at]
            needs.update(n for n in same[-1:] if not gone or gone[-1] < n)
            if micro.fresh and model.rewrite_after_truncate:
                needs.update(cuts[-1:])
            if model.overwrite_order:
                needs.update([n for n, m in earlier if m.kind == "data"][-1:])
        if micro.kind == "grow":
            grows = [n for n, m in earlier if m.kind == "grow" and m.node == micro.node]
            if grows and (not cuts or cuts[-1] < grows[-1]):  # noqa: SIM102 - one condition a line
                if op.sync is Sync.NONE or self.micros[grows[-1]].seq == op.seq:
                    needs.add(grows[-1])
            if model.rewrite_after_truncate:
                needs.update(cuts[-1:])
            if model.early_size == "no" or (model.early_size == "in_block" and not micro.in_block):
                since = max((n for n in grows if self.micros[n].seq == op.seq), default=-1)
                own = [n for n, m in earlier if m.kind == "data" and m.seq == op.seq and n > since]
                needs.update(n for n in own if self.micros[n].at // BLOCK >= op.offset // BLOCK)
        if micro.kind == "cut":
            needs.update(cuts[-1:])
            needs.update(n for n, m in earlier if m.kind == "data" and m.seq == op.seq and not self.needs[n])
        if micro.kind == "entry":
            needs |= self._entry_needs(number, op)
        if model.directory_order and micro.kind in ("entry", "mode", "cut"):
            needs.update([n for n, m in earlier if m.kind in ("entry", "mode", "cut")][-1:])
        return needs

    def _entry_needs(self, number: int, op: Op) -> set[int]:
        micro, needs = self.micros[number], set[int]()
        for parent, name, node in micro.takes:
            needs.update(self._setter(number, parent, name, node))
        if op.kind is Kind.RENAME and self.cache.types[op.node] is NodeType.DIRECTORY:
            moves = [n for n, m in enumerate(self.micros[:number]) if self._moves_directory(m)]
            needs.update(moves[-1:])
        elif op.kind is Kind.RENAME and self.model.replace_flushes and op.victim is not None:  # noqa: SIM102 - the same
            if micro.parts[-1][2] == op.node:
                needs.update(n for n, m in self._of(op.node, "data") if m.fresh and n not in self.abandoned)
                failed = self._failed_before()
                needs.update(n for n, m in self._of(op.node, "grow") if n > failed.get(op.node, -1))
        return needs

    def _failed_before(self) -> dict[int, int]:
        return getattr(self, "failed", {})

    def _moves_directory(self, micro: Micro) -> bool:
        return self.ops[micro.seq].kind is Kind.RENAME and self.cache.types[micro.node] is NodeType.DIRECTORY

    def _setter(self, number: int, parent: int, name: str, node: int) -> list[int]:
        """The latest micro-operation that set an entry, where it set it to this node."""
        setters = [n for n, m in enumerate(self.micros[:number]) if any(p[:2] == (parent, name) for p in m.parts)]
        return [n for n in setters[-1:] if (parent, name, node) in self.micros[n].parts]

    def _sees(self, op: Op, micro: Micro, number: int) -> set[int]:
        found = set()
        if op.kind in (Kind.RENAME, Kind.LINK, Kind.EXCHANGE):
            for parent, _, node in micro.parts:
                for above, entries in self.cache.entries.items():
                    for name, child in entries.items():
                        if child == parent and node is not None:
                            found.update(self._setter(number, above, name, parent))
        return found

    # What becomes durable.

    def _sync(self, op: Op) -> None:
        number = range(len(self.micros))
        roots: set[int] = set()
        if op.kind is Kind.SYNC and not op.errno and self.model.sync_keeps_everything:
            roots = set(number) - self.abandoned
            self.committed = self.cache.copy()
        elif op.kind in (Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC) and op.errno:
            self._fail(op)
        elif op.kind in (Kind.FSYNC, Kind.FDATASYNC):
            if self.cache.types[op.node] is NodeType.DIRECTORY:
                if self.model.directory_fsync_keeps_entries:
                    roots = {n for n in number if self._in_directory(self.micros[n], op.node)}
                roots |= self._with(op.node, data_only=False)
            else:
                if self.model.fsync_keeps_data:
                    kinds = ("data", "grow", "cut", "trim")
                    roots = {n for n in number if self.micros[n].node == op.node and self.micros[n].kind in kinds}
                    roots -= self.abandoned
                roots |= self._with(op.node, data_only=op.kind is Kind.FDATASYNC)
        elif op.kind is Kind.WRITE and op.data and op.sync is not Sync.NONE and self.model.synchronous_writes:
            roots = {n for n in number if self.micros[n].seq == op.seq}
            grows = {n for n, m in self._of(op.node, "grow") if n not in self.forced}
            for n in grows:  # a range is flushed: what was appended before it may be a hole
                self.needs[n] -= grows
            roots |= self._with(op.node, data_only=op.sync is Sync.DATA)
        while roots - self.forced:
            self.forced |= roots
            roots = {need for n in self.forced for need in self.needs[n]}
        self.abandoned -= self.forced

    def _in_directory(self, micro: Micro, directory: int) -> bool:
        inside = {part[2] for part in micro.parts if part[0] == directory}
        outside = {part[2] for part in micro.parts if part[0] != directory}
        if not inside:
            return False
        return self.model.removals_whole or None in inside or None not in outside

    def _fail(self, op: Op) -> None:
        if not self.model.failed_sync_drops_pages:
            return
        failed: dict[int, int] = dict(self._failed_before())
        for number, micro in enumerate(self.micros):
            if micro.kind == "data" and number not in self.forced and (op.kind is Kind.SYNC or micro.node == op.node):
                self.abandoned.add(number)
        for node in {m.node for m in self.micros} if op.kind is Kind.SYNC else {op.node}:
            failed[node] = len(self.micros) - 1
        self.failed = failed
        for number, micro in enumerate(self.micros):
            if micro.kind != "data" and number not in self.forced:
                self.needs[number] -= self.abandoned

    def _with(self, node: int, data_only: bool) -> set[int]:
        roots = set()
        if not data_only and self.model.fsync_keeps_data:
            roots = {n for n, m in enumerate(self.micros) if m.kind == "mode" and m.node == node}
        if data_only and not self.model.fdatasync_keeps_metadata:
            return roots
        last = self._last_change(node, data_only)
        if self.model.fsync_keeps_name:
            roots |= {n for n in self._naming(node) if self.micros[n].seq <= last or not data_only}
        if self.model.fsync_keeps_earlier:
            kinds = ("entry", "mode", "cut")
            roots |= {n for n, m in enumerate(self.micros) if m.kind in kinds and m.seq <= last}
        return roots

    def _last_change(self, node: int, data_only: bool) -> int:
        last = -1
        for op in self.ops[: len(self.ops)]:
            if op.seq > self.now:
                break
            if op.node == node and op.kind in (Kind.CREATE, Kind.MKDIR, Kind.SYMLINK):
                last = op.seq
            named = node in (op.node, op.parent, op.to_parent, op.victim) and op.parent is not None
            if not data_only and (named or (op.kind in (Kind.CHMOD, Kind.TRUNCATE) and op.node == node)):
                last = op.seq
        for micro in self.micros:
            if micro.node == node and (micro.kind in ("cut", "grow", "trim") or (micro.kind == "data" and micro.fresh)):
                last = max(last, micro.seq)
        return last

    def _naming(self, node: int) -> set[int]:
        found: set[int] = set()
        for parent, entries in self.cache.entries.items():
            for name, child in entries.items():
                if child == node:
                    found.update(self._setter(len(self.micros), parent, name, node))
                    found |= self._naming(parent)
        return found

    # Doing it.

    def _apply_to_cache(self, op: Op) -> None:
        self.now = op.seq
        self.cache = self._whole(op.seq)

    def _whole(self, seq: int) -> Disk:
        disk = self.start.copy()
        for micro in self.micros:
            if micro.seq <= seq:
                self._do(disk, micro)
        return disk

    @staticmethod
    def _do(disk: Disk, micro: Micro) -> None:
        if micro.kind == "entry":
            for parent, name, node in micro.parts:
                disk.entries[parent].pop(name, None)
                if node is not None:
                    disk.entries[parent][name] = node
        elif micro.kind == "mode":
            disk.modes[micro.node] = micro.mode
        elif micro.kind == "grow":
            disk.sizes[micro.node] = max(disk.sizes[micro.node], micro.size)
        elif micro.kind == "trim":
            disk.data[micro.node] = disk.data[micro.node][: micro.size]
            disk.sizes[micro.node] = min(disk.sizes[micro.node], micro.size)
        elif micro.kind == "cut":
            disk.data[micro.node] = disk.data[micro.node][: micro.size]
            disk.sizes[micro.node] = micro.size
        else:
            data = disk.data[micro.node]
            data.extend(bytes(max(0, micro.at + len(micro.image) - len(data))))
            data[micro.at : micro.at + len(micro.image)] = micro.image
