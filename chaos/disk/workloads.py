"""Random short workloads as operations, without running a program: what the models are held against reality with.

A workload is a valid sequence of operations over a handful of names, as a recorder would have produced it, and nudges
between them: a file system writes back when it likes, mostly seconds later, so it is asked to do so early here and
there. A seed and a length give one workload, always the same. It must stay pure: nothing here touches a disk. Read
`enact.py` next.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import final

from chaos.trace.model import InitialNode, Kind, NodeType, Op, Sync, Trace

__all__ = ["Nudge", "NudgeKind", "Workload", "minimise", "random_workload"]

_NAMES = ("s", "t", "u")
_SUBFOLDER = "d"
_ROOT = 0
# Around one and several blocks of 4 KiB, and small enough to be kept inside an inode or a log record.
_SIZES = (10, 100, 4096, 5000, 9000, 20000)


# One operation in four is followed by a nudge: enough to see each rule broken, and most stretches stay untouched.
_NUDGED = 0.25


@final
class NudgeKind(str, Enum):
    """What a file system is made to do early."""

    WRITE_BACK = "write back"  # one file's dirty pages, as the flusher threads do
    COMMIT = "commit"  # the journal or the transaction, as its thread does every few seconds


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Nudge:
    """One nudge, given after an operation; `node` is the file to write back."""

    kind: NudgeKind
    node: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Operations, and after some of them a nudge.

    Attributes:
        trace: the operations, and the tree before them.
        nudges: one for each operation, or None.
    """

    trace: Trace
    nudges: tuple[Nudge | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.nudges:
            object.__setattr__(self, "nudges", (None,) * len(self.trace.ops))


@final
@dataclass(slots=True)
class _World:
    """Names and sizes as they are after the operations so far; `None` as parent means the name is free."""

    random: random.Random
    entries: dict[tuple[int, str], int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    folders: list[int] = field(default_factory=lambda: [_ROOT])
    next_node: int = 1
    ops: list[Op] = field(default_factory=list)

    def new_node(self) -> int:
        self.next_node += 1
        return self.next_node - 1

    def add(self, kind: Kind, call: str, **fields: object) -> None:
        op = Op(seq=len(self.ops), kind=kind, call=call, **fields)  # type: ignore[arg-type]
        path = self.path(op.parent, op.name) if op.parent is not None else self.paths.get(op.node, "")
        to_path = "" if op.to_parent is None else self.path(op.to_parent, op.to_name)
        self.paths[op.node] = to_path or path
        self.ops.append(replace(op, path=path, to_path=to_path))

    def path(self, parent: int, name: str) -> str:
        return name if parent == _ROOT else f"{_SUBFOLDER}/{name}"

    def content(self, size: int) -> bytes:
        # Every write has its own byte, never 0: a stale, missing or mixed block is told apart from a hole.
        return bytes([1 + (len(self.ops) * 7 + self.random.randrange(200)) % 255]) * size

    def files(self) -> list[tuple[int, str, int]]:
        return sorted((p, n, node) for (p, n), node in self.entries.items() if node in self.sizes)

    def free_names(self) -> list[tuple[int, str]]:
        return [(parent, name) for parent in self.folders for name in _NAMES if (parent, name) not in self.entries]


def random_workload(seed: int, length: int = 10) -> Workload:
    """At most `length` operations over three names in the root and in one subfolder.

    The tree before it holds file `s` with 9,000 bytes. No acknowledgements: only the trees matter here.
    """
    chance = random.Random(seed)  # noqa: S311 - a seeded sample
    world = _World(chance)
    node = world.new_node()
    world.entries[(_ROOT, "s")] = node
    world.sizes[node] = 9000
    world.paths[node] = "s"
    initial = (
        InitialNode(node=_ROOT, type=NodeType.DIRECTORY, mode=0o755),
        InitialNode(node=node, type=NodeType.FILE, mode=0o644, data=b"\x01" * 9000, names=((_ROOT, "s"),)),
    )
    while len(world.ops) < length:
        chance.choices([step for step, _ in _STEPS], [weight for _, weight in _STEPS])[0](world)
    trace = Trace(engine="generated", command=f"workload {seed}", initial=initial, ops=tuple(world.ops[:length]))
    return Workload(trace=trace, nudges=tuple(_nudge(chance, op) for op in trace.ops))


def _nudge(chance: random.Random, op: Op) -> Nudge | None:
    if chance.random() >= _NUDGED:
        return None
    if op.kind is Kind.WRITE and chance.random() < 0.6:
        return Nudge(kind=NudgeKind.WRITE_BACK, node=op.node)
    return Nudge(kind=NudgeKind.COMMIT)


def minimise(workload: Workload, fails: Callable[[Workload], bool]) -> Workload:
    """The shortest workload found by dropping single operations, then nudges, that still makes `fails` true.

    `fails` is asked only of workloads that are valid; deterministic; at most twice the length questions.
    """
    best = workload
    for position in range(len(best.trace.ops) - 1, -1, -1):
        kept = best.trace.ops[:position] + best.trace.ops[position + 1 :]
        trace = replace(best.trace, ops=tuple(replace(op, seq=i) for i, op in enumerate(kept)))
        shorter = Workload(trace=trace, nudges=best.nudges[:position] + best.nudges[position + 1 :])
        if _valid(trace) and fails(shorter):
            best = shorter
    for position, nudge in enumerate(best.nudges):
        calmer = replace(best, nudges=(*best.nudges[:position], None, *best.nudges[position + 1 :]))
        if nudge is not None and fails(calmer):
            best = calmer
    return best


def _create(world: _World) -> None:
    free = world.free_names()
    if free:
        parent, name = world.random.choice(free)
        node = world.new_node()
        world.entries[(parent, name)] = node
        world.sizes[node] = 0
        world.add(Kind.CREATE, "openat", node=node, parent=parent, name=name, mode=0o644)
        if world.random.random() < 0.8:
            _write_to(world, node, 0, world.random.choice(_SIZES))


def _write_to(world: _World, node: int, offset: int, size: int) -> None:
    sync = world.random.choices([Sync.NONE, Sync.DATA, Sync.ALL], [8, 1, 1])[0]
    world.add(Kind.WRITE, "pwrite64", node=node, offset=offset, data=world.content(size), sync=sync)
    world.sizes[node] = max(world.sizes[node], offset + size)


def _write(world: _World) -> None:
    _, _, node = world.random.choice(world.files() or [(0, "", 0)])
    if node:
        length = world.sizes[node]
        offset = world.random.choice([0, length, length, length // 2])
        _write_to(world, node, offset, world.random.choice(_SIZES))


def _truncate(world: _World) -> None:
    _, _, node = world.random.choice(world.files() or [(0, "", 0)])
    if node:
        size = world.random.choice([0, 0, world.sizes[node] // 2, world.sizes[node] + 5000])
        world.sizes[node] = size
        world.add(Kind.TRUNCATE, "ftruncate", node=node, size=size)


def _rename(world: _World) -> None:
    files = world.files()
    if files:
        parent, name, node = world.random.choice(files)
        to_parent, to_name = world.random.choice(world.folders), world.random.choice(_NAMES)
        victim = world.entries.get((to_parent, to_name))
        if victim != node and (victim is None or victim in world.sizes):
            del world.entries[(parent, name)]
            world.entries[(to_parent, to_name)] = node
            world.add(
                Kind.RENAME,
                "renameat2",
                node=node,
                parent=parent,
                name=name,
                to_parent=to_parent,
                to_name=to_name,
                victim=victim,
            )


def _unlink(world: _World) -> None:
    files = world.files()
    if files:
        parent, name, node = world.random.choice(files)
        del world.entries[(parent, name)]
        world.add(Kind.UNLINK, "unlinkat", node=node, parent=parent, name=name)


def _link(world: _World) -> None:
    files, free = world.files(), world.free_names()
    if files and free:
        node = world.random.choice(files)[2]
        parent, name = world.random.choice(free)
        world.entries[(parent, name)] = node
        world.add(Kind.LINK, "linkat", node=node, parent=parent, name=name)


def _mkdir(world: _World) -> None:
    if len(world.folders) == 1:
        node = world.new_node()
        world.entries[(_ROOT, _SUBFOLDER)] = node
        world.folders.append(node)
        world.add(Kind.MKDIR, "mkdirat", node=node, parent=_ROOT, name=_SUBFOLDER, mode=0o755)


def _fsync(world: _World) -> None:
    files = world.files()
    if files:
        kind = world.random.choice([Kind.FSYNC, Kind.FSYNC, Kind.FDATASYNC])
        world.add(kind, kind.value, node=world.random.choice(files)[2])


def _fsync_folder(world: _World) -> None:
    world.add(Kind.FSYNC, "fsync", node=world.random.choice(world.folders))


def _sync(world: _World) -> None:
    world.add(Kind.SYNC, "sync")


_STEPS: tuple[tuple[Callable[[_World], None], int], ...] = (
    (_create, 5),
    (_write, 5),
    (_truncate, 2),
    (_rename, 5),
    (_unlink, 2),
    (_link, 1),
    (_mkdir, 1),
    (_fsync, 4),
    (_fsync_folder, 2),
    (_sync, 1),
)


def _valid(trace: Trace) -> bool:
    """Whether every operation still finds the names and nodes that it needs."""
    entries = {name: node.node for node in trace.initial for name in node.names}
    nodes = {node.node for node in trace.initial}
    for op in trace.ops:
        source = (op.parent if op.parent is not None else -1, op.name)
        if op.kind in {Kind.CREATE, Kind.MKDIR, Kind.LINK}:
            if (
                source in entries
                or op.parent not in nodes
                or (op.kind is Kind.LINK and op.node not in entries.values())
            ):
                return False
            entries[source] = op.node
            nodes.add(op.node)
        elif op.kind in {Kind.RENAME, Kind.UNLINK}:
            if entries.pop(source, None) != op.node:
                return False
            if op.kind is Kind.RENAME:
                target = (op.to_parent if op.to_parent is not None else -1, op.to_name)
                if op.to_parent not in nodes or entries.get(target) != op.victim:
                    return False
                entries[target] = op.node
        elif (op.kind is not Kind.SYNC and op.node not in nodes) or (
            op.kind in {Kind.WRITE, Kind.TRUNCATE, Kind.FSYNC, Kind.FDATASYNC}
            and op.node
            not in {
                _ROOT,
                *entries.values(),
            }
        ):
            return False
    return True
