"""Power-loss states per second at traces of 10 to 10,000 operations, the memory that takes, and heavy checks.

Each sample is a fresh interpreter that explores the first states of a trace under the model that allows most, so that
its peak memory is its own. `saved` syncs as it goes: little is pending at any point. `logged` appends and never syncs:
everything is. A heavy check is held against a child that imports what it needs, once for each state.
"""

import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos.child.target import PythonTarget, Roles
from chaos.disk import MODELS, StateSpace
from chaos.explore.exploration import Exploration
from chaos.explore.places import base_folder
from chaos.explore.settings import Settings
from chaos.trace.model import Ack, InitialNode, Kind, NodeType, Op, Trace
from tests.benchmarks.figures import Figure, spread

__all__ = ["measure"]

SIZES = (10, 100, 1000, 10_000)
CHECK = """
def recover(disk):
    return sum(len(path.read_bytes()) for path in disk.iterdir())
"""
RESPAWN = "import sys, pathlib; from {module} import recover; print(recover(pathlib.Path(sys.argv[1])))"
FLAT, MOST_MB = 1.5, 200.0
HEAVY_LEAST, HEAVY_TIMES = 150.0, 15.0


def measure(quick: bool) -> list[Figure]:
    """States per second and memory by length of the trace, then heavy checks."""
    states, rounds = (300, 1) if quick else (1200, 3)
    figures: list[Figure] = []
    for kind in ("saved", "logged"):
        samples: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
        for _ in range(rounds):
            for size in SIZES:
                samples[size].append(sample(kind, size, states))
        figures += by_length(kind, samples)
    return [*figures, *heavy(states // 4, rounds)]


def by_length(kind: str, samples: dict[int, list[dict[str, float]]]) -> list[Figure]:
    """Rates with their ratio to the shortest trace with enough states, and the most memory."""
    found = []
    for what, unit in (("enumerated", "states/s"), ("explored", "states/s")):
        rates = {size: spread([one[what] for one in taken]) for size, taken in samples.items()}
        fastest = max(rate[0] for rate in rates.values())
        for size, (value, low, high) in rates.items():
            found.append(
                Figure(
                    name=f"power states {what}, {kind}, {size} operations",
                    unit=unit,
                    value=value,
                    low=low,
                    high=high,
                    aim=f"within {FLAT} x of the fastest" if what == "explored" else "",
                    holds=fastest <= FLAT * value if what == "explored" else None,
                    ratios={"fastest": value / fastest},
                )
            )
    memory = {size: max(one["memory_mb"] for one in taken) for size, taken in samples.items()}
    for size, value in memory.items():
        found.append(
            Figure(
                name=f"power states, memory, {kind}, {size} operations",
                unit="MB",
                value=value,
                low=value,
                high=value,
                aim=f"below {MOST_MB:.0f} MB",
                holds=value < MOST_MB,
            )
        )
    return found


def heavy(states: int, rounds: int) -> list[Figure]:
    """A check whose module imports a large library: forked from a warmed process, and imported in each child."""
    found = []
    for library in ("numpy", "sqlalchemy"):
        if importlib.util.find_spec(library) is None:
            continue
        with tempfile.TemporaryDirectory(dir=base_folder(), prefix="chaos-benchmark-") as folder:
            module = f"heavy_{library}"
            Path(folder, f"{module}.py").write_text(f"import {library}\n{CHECK}")
            mine, peer = [], []
            for _ in range(rounds):
                mine.append(explored(trace("saved", 200), states, folder, module))
                peer.append(respawned(folder, module, 5))
        value, low, high = spread(mine)
        ratio = value / spread(peer)[0]
        found.append(
            Figure(
                name=f"power states explored, {library} imported by the check",
                unit="states/s",
                value=value,
                low=low,
                high=high,
                aim=f"{HEAVY_LEAST:.0f} states/s and {HEAVY_TIMES:.0f} x a child that imports it",
                holds=value >= HEAVY_LEAST and ratio >= HEAVY_TIMES,
                ratios={"imported in each child": ratio},
            )
        )
    return found


def sample(kind: str, size: int, states: int) -> dict[str, float]:
    """One fresh interpreter."""
    command = [sys.executable, "-m", "tests.benchmarks.power_states", kind, str(size), str(states)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def in_this_process(kind: str, size: int, states: int) -> dict[str, float]:
    recorded = trace(kind, size)
    space = StateSpace(recorded, MODELS["posix"])
    count, began = 0, time.perf_counter()
    while count < states:
        ahead = zip(range(states - count), space.states(), strict=False)
        count += sum(1 for _, state in ahead if space.tree(state.recipe).digest)
    enumerated = count / (time.perf_counter() - began)
    with tempfile.TemporaryDirectory(dir=base_folder(), prefix="chaos-benchmark-") as folder:
        Path(folder, "light_check.py").write_text(CHECK)
        rate = explored(recorded, states, folder, "light_check")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"enumerated": enumerated, "explored": rate, "memory_mb": memory}


def explored(recorded: Trace, states: int, folder: str, module: str) -> float:
    """Recoveries per second; starting the workers is not counted. A short trace is explored again, by new workers."""
    target = PythonTarget(ref=f"{module}:recover", search=(folder,))
    settings = Settings(models=(MODELS["posix"],), jobs=1, budget_states=states)
    count, seconds = 0, 0.0
    while count < states:
        with Exploration(recorded, Roles(workload=target, recover=target), settings) as exploration:
            for _ in exploration.observations():
                pass
            told = exploration.statistics()
        count += told.states - told.reused
        seconds += told.seconds
    return count / seconds


def respawned(folder: str, module: str, rounds: int) -> float:
    """A new interpreter for each state."""
    program = RESPAWN.format(module=module)
    began = time.perf_counter()
    for _ in range(rounds):
        subprocess.run([sys.executable, "-c", program, folder], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return rounds / (time.perf_counter() - began)


def trace(kind: str, size: int) -> Trace:
    """About `size` operations: a state saved soundly again and again, or a log that is never synced."""
    initial = (
        InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755),
        InitialNode(node=1, type=NodeType.FILE, mode=0o644, data=b"state 0", names=((0, "state"),)),
    )
    ops: list[Op] = []
    acks: list[Ack] = []
    while len(ops) < size:
        if kind == "saved":
            save(ops, len(ops) // 5)
        else:
            line = b"line %06d\n" % len(ops)
            ops.append(Op(seq=len(ops), kind=Kind.WRITE, call="write", node=1, offset=7 + len(ops) * 12, data=line))
        acks.append(Ack(after=len(ops), process=0, value=str(len(ops))))
    return Trace(engine="syscalls", command="by hand", initial=initial, ops=tuple(ops), acks=tuple(acks))


def save(ops: list[Op], number: int) -> None:
    """A temporary file, fsync, rename, fsync of the directory."""
    at, node = len(ops), number + 2
    tmp = {"path": "tmp", "parent": 0, "name": "tmp", "node": node}
    replaced = {"to_parent": 0, "to_name": "state", "to_path": "state", "victim": node - 1}
    data = b"state %d " % number + b"x" * 900
    ops.append(Op(seq=at, kind=Kind.CREATE, call="openat", mode=0o644, **tmp))  # type: ignore[arg-type]
    ops.append(Op(seq=at + 1, kind=Kind.WRITE, call="write", node=node, path="tmp", data=data))
    ops.append(Op(seq=at + 2, kind=Kind.FSYNC, call="fsync", node=node, path="tmp"))
    ops.append(Op(seq=at + 3, kind=Kind.RENAME, call="rename", **tmp, **replaced))  # type: ignore[arg-type]
    ops.append(Op(seq=at + 4, kind=Kind.FSYNC, call="fsync", node=0))


if __name__ == "__main__":
    print(json.dumps(in_this_process(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
