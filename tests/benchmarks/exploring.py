"""Crash states per second: a fork for each, many a process, two workers, a heavy target; a new interpreter as the peer.

The light check reads one small file with three system calls and returns its bytes. What a check itself costs in a fresh
fork is no merit of ours, so two heavier ones have figures of their own: one opens the file by way of `pathlib` and
`open`, which touches so much memory that it takes 80 us, and one parses its JSON as well.

What a fork costs is the machine's: `floor` is a bare process with nothing but the same light check, which forks,
checks, leaves and is waited for; no deadline, no limits, no tree laid out, no result.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaos.child.target import PythonTarget, Roles
from chaos.disk import MODELS
from chaos.explore.exploration import Exploration
from chaos.explore.places import base_folder
from chaos.explore.settings import Isolation, Settings
from chaos.trace.model import Ack, InitialNode, Kind, Mark, NodeType, Op, Trace
from tests.benchmarks.figures import Figure, interleave, spread

__all__ = ["measure"]

LIGHT = """
import os
def recover(disk):
    handle = os.open(os.path.join(disk, "state.json"), os.O_RDONLY)
    try:
        return os.read(handle, 4096)
    finally:
        os.close(handle)
"""
OPENED = """
def recover(disk):
    with open(disk / "state.json", "rb") as file:
        return file.read()
"""
PARSED = """
import json
def recover(disk):
    with open(disk / "state.json", "rb") as file:
        return json.load(file)
"""
HEAVY = "import numpy\n" + LIGHT
FLOOR = """
import gc, os, sys, time
from pathlib import Path
from light_target import recover
disk, rounds = Path(sys.argv[1]), int(sys.argv[2])
gc.collect(); gc.freeze(); gc.disable()
began = time.perf_counter()
for _ in range(rounds):
    pid = os.fork()
    if pid == 0:
        try:
            recover(disk)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
print(rounds / (time.perf_counter() - began))
"""
RESPAWN = "import sys, pathlib; from light_target import recover; print(recover(pathlib.Path(sys.argv[1])))"


def measure(quick: bool) -> list[Figure]:
    """States per second of each way, taken in turn."""
    states, rounds = (300, 3) if quick else (1500, 7)
    with tempfile.TemporaryDirectory(dir=base_folder(), prefix="chaos-benchmark-") as folder:
        Path(folder, "light_target.py").write_text(LIGHT)
        Path(folder, "opened_target.py").write_text(OPENED)
        Path(folder, "parsed_target.py").write_text(PARSED)
        Path(folder, "heavy_target.py").write_text(HEAVY)
        Path(folder, "state.json").write_bytes(text(1))

        def explorer(module: str, isolation: Isolation, jobs: int, least: int = 1) -> Callable[[], float]:
            target = PythonTarget(ref=f"{module}:recover", search=(folder,))
            settings = Settings(models=(MODELS["kill"],), isolation=isolation, jobs=jobs)
            roles = Roles(workload=target, recover=target)
            recorded = trace(states * least)
            return lambda: explored(recorded, roles, settings)

        samples = interleave(
            {
                "fork": explorer("light_target", Isolation.FORK, 1),
                "fork, two workers": explorer("light_target", Isolation.FORK, 2),
                "batch": explorer("light_target", Isolation.BATCH, 1, least=4),
                "fork, pathlib": explorer("opened_target", Isolation.FORK, 1),
                "fork, JSON parsed": explorer("parsed_target", Isolation.FORK, 1),
                "fork, numpy imported": explorer("heavy_target", Isolation.FORK, 1),
                "floor": lambda: floor(folder, states),
                "respawn": lambda: respawned(folder, max(10, states // 50)),
            },
            rounds,
        )
    return figures(samples)


def figures(samples: dict[str, list[float]]) -> list[Figure]:
    """The samples as figures, with ratios against the peers of the same round."""
    middle = {name: spread(values)[0] for name, values in samples.items()}
    peers = {
        "fork": ("floor", "respawn"),
        "fork, two workers": ("fork",),
        "batch": ("fork", "respawn"),
        "fork, pathlib": ("fork", "respawn"),
        "fork, JSON parsed": ("fork", "respawn"),
        "fork, numpy imported": ("fork", "respawn"),
        "floor": ("respawn",),
    }
    aims = {"fork": (1000.0, "1,000 states/s and core"), "batch": (8000.0, "8,000 states/s and core")}
    found = []
    for name, values in samples.items():
        value, low, high = spread(values)
        ratios = {peer: value / middle[peer] for peer in peers.get(name, ())}
        least, aim = aims.get(name, (0.0, ""))
        holds = value >= least if aim else None
        if name == "fork, two workers":
            aim, holds = "1.8 x one worker", ratios["fork"] >= 1.8
        found.append(
            Figure(
                name=f"explore, {name}",
                unit="states/s",
                value=value,
                low=low,
                high=high,
                aim=aim,
                holds=holds,
                ratios=ratios,
            )
        )
    return found


def explored(recorded: Trace, roles: Roles, settings: Settings) -> float:
    """States per second of one pass over all states; starting the workers is not counted."""
    with Exploration(recorded, roles, settings) as exploration:
        count = sum(1 for _ in exploration.observations())
        statistics = exploration.statistics()
    assert statistics.complete
    assert statistics.states == count > 0
    return (statistics.states - statistics.reused) / statistics.seconds  # an answer that was known is no merit here


def floor(folder: str, rounds: int) -> float:
    """A process with the check and nothing else, forked again and again."""
    command = [sys.executable, "-c", FLOOR, folder, str(rounds)]
    return float(subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout)


def respawned(folder: str, rounds: int) -> float:
    """A new interpreter for each state, as a kill-and-respawn loop has it."""
    began = time.perf_counter()
    for _ in range(rounds):
        subprocess.run([sys.executable, "-c", RESPAWN, folder], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return rounds / (time.perf_counter() - began)


def text(number: int) -> bytes:
    """A state of about 100 bytes."""
    return json.dumps({"count": number, "log": "x" * 80}).encode()


def trace(states: int) -> Trace:
    """A file replaced again and again; about `states` crash states, each of them whole."""
    ops: list[Op] = []
    acks: list[Ack] = []
    for number in range(1, states // 2 + 1):
        node, at = number + 1, len(ops)
        tmp = {"path": "tmp", "parent": 0, "name": "tmp", "node": node}
        ops.append(Op(seq=at, kind=Kind.CREATE, call="openat", mode=0o644, data=b"", **tmp))  # type: ignore[arg-type]
        replaced = {"to_parent": 0, "to_name": "state.json", "to_path": "state.json", "victim": number}
        ops.append(Op(seq=at + 1, kind=Kind.WRITE, call="write", node=node, path="tmp", data=text(number)))
        ops.append(Op(seq=at + 2, kind=Kind.RENAME, call="rename", **tmp, **replaced))  # type: ignore[arg-type]
        acks.append(Ack(after=len(ops), process=0, value=str(number)))
    initial = (
        InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755),
        InitialNode(node=1, type=NodeType.FILE, mode=0o644, data=text(0), names=((0, "state.json"),)),
    )
    ended_ns = time.time_ns()
    marks = tuple(Mark(node=node, changed_ns=ended_ns) for node in (0, states // 2 + 1))  # as a recorded run has them
    return Trace(
        engine="syscalls",
        command="by hand",
        initial=initial,
        ops=tuple(ops),
        acks=tuple(acks),
        marks=marks,
        began_ns=ended_ns - 1_000_000_000,
        ended_ns=ended_ns,
    )
