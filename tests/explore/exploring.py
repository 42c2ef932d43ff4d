"""Ways in, shared by the explorer's tests."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from chaos.child.target import CallableTarget, PythonTarget, Roles, Target
from chaos.disk import MODELS
from chaos.explore.exploration import Exploration
from chaos.explore.places import base_folder
from chaos.explore.settings import Settings
from chaos.observations import Observation, Outcome
from chaos.trace.model import Trace
from tests.explore import targets, traces

HERE = str(Path(__file__).parent)
KILL = MODELS["kill"]
NEVER_S = 60.0  # a deadline that only a broken harness meets


def target(name: str) -> PythonTarget:
    return PythonTarget(ref=f"targets:{name}", search=(HERE,))


def closure(name: str) -> CallableTarget:
    """The same target as a callable of this process."""
    return CallableTarget(function=getattr(targets, name))


def roles(recover: str | Target, **others: str | Target | None) -> Roles:
    parts: dict[str, Any] = {"workload": "save", "recover": recover, **others}
    return Roles(**{name: target(part) if isinstance(part, str) else part for name, part in parts.items()})


def settings(**changes: Any) -> Settings:
    return dataclasses.replace(Settings(models=(KILL,), deadline_s=NEVER_S, memory_bytes=128 << 20), **changes)


def explore(parts: Roles, trace: Trace | None = None, **changes: Any) -> list[Observation]:
    with Exploration(trace or traces.overwrite(), parts, settings(**changes)) as exploration:
        return list(exploration.observations())


def start(recover: str | Target, **changes: Any) -> Outcome:
    """Recovery on the tree before the run."""
    others = {name: changes.pop(name) for name in ("check", "resume", "workload") if name in changes}
    with Exploration(traces.overwrite(1), roles(recover, **others), settings(**changes)) as exploration:
        return exploration.reference.steps[0]


def plain(outcome: Outcome | None) -> Outcome | None:
    """Without what differs from run to run."""
    return None if outcome is None else dataclasses.replace(outcome, duration_s=0.0)


def plainly(observations: list[Observation]) -> list[Observation]:
    return [
        dataclasses.replace(o, outcome=plain(o.outcome), again=plain(o.again), resumed=plain(o.resumed))  # type: ignore[arg-type]
        for o in observations
    ]


def folders_left() -> list[str]:
    return [name for name in os.listdir(base_folder()) if name.startswith(f"chaos-explore-{os.getpid()}-")]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
