"""An injection's settings in other terms: as an exploration records and judges, and as a replay file has them.

Read `injecting.py` for who asks.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from chaos.child.target import Roles, Target
from chaos.errors import UsageError
from chaos.faults.plan import parse_plan
from chaos.observations import Bounds
from chaos.oracles import ORACLES, choose
from chaos.report.live_replay import LiveReplay
from chaos.scenario.kinds.inject import Inject
from chaos.scenario.model import Explore
from chaos.scenario.runner.recording import WORKLOAD_DEADLINE_S

__all__ = ["base_of", "inject_from", "inject_settings", "inject_targets", "oracles_of", "patient"]

_LEAST_DEADLINE_S = 10.0  # on a busy machine the start of an interpreter takes a second


def base_of(drive: Inject) -> Explore:
    """The workload as an exploration records it."""
    return Explore(
        roles=drive.roles,
        models=drive.models or ("kill",),
        oracles=drive.oracles,
        exclude=drive.exclude,
        deadline_s=drive.deadline_s,
        workload_deadline_s=drive.workload_deadline_s,
        memory_bytes=drive.memory_bytes,
        engine="syscalls",
        bounds=drive.bounds,
    )


def patient(base: Explore, clean_s: float) -> Explore:
    """How struck runs are recorded: unless told otherwise, they have ten times what a run without faults takes."""
    if base.workload_deadline_s is not None:
        return base
    return replace(base, workload_deadline_s=min(WORKLOAD_DEADLINE_S, max(_LEAST_DEADLINE_S, 10 * clean_s)))


def oracles_of(drive: Inject) -> tuple[str, ...]:
    """What must hold: what is asked for, or the usual, the end of all runs, and the bounds that are given."""
    roles = drive.roles
    chosen = choose(drive.oracles, checked=roles.check is not None, resumes=roles.resume is not None)
    more = set() if drive.oracles is not None else {"terminates"} | ({"bounded"} if _bounded(drive.bounds) else set())
    return tuple(name for name in ORACLES if name in chosen or name in more)


def _bounded(bounds: Bounds) -> bool:
    return bounds != Bounds(rounds=bounds.rounds)


def inject_targets(drive: Inject) -> dict[str, Target]:
    """The targets by the names that they have in a replay file."""
    named = {role.name: getattr(drive.roles, role.name) for role in fields(Roles)}
    return {name: target for name, target in named.items() if target is not None}


def inject_from(replay: LiveReplay, targets: Mapping[str, Target]) -> Inject:
    """The drive that a replay file tells of.

    Raises:
        UsageError: the file lacks something.
    """
    given = replay.settings
    try:
        return Inject(
            roles=Roles(**targets),
            faults=parse_plan(replay.recipe).faults,
            oracles=replay.oracles,
            deadline_s=_number(given.get("deadline_s")),
            workload_deadline_s=_number(given.get("workload_deadline_s")),
            exclude=tuple(json.loads(given.get("exclude", "[]"))),
            memory_bytes=int(given["memory_bytes"]) if "memory_bytes" in given else None,
            bounds=Bounds(**json.loads(given.get("bounds", "{}"))),
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"the replay file can't be read: {error}", "the file is damaged") from None


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def inject_settings(drive: Inject) -> dict[str, str]:
    """The settings that a replay needs, as texts."""
    bounds = {name: value for name, value in asdict(drive.bounds).items() if value is not None}
    given = {
        "exclude": json.dumps(drive.exclude) if drive.exclude else None,
        "bounds": json.dumps(bounds) if bounds else None,
        "deadline_s": drive.deadline_s,
        "workload_deadline_s": drive.workload_deadline_s,
        "memory_bytes": drive.memory_bytes,
    }
    return {name: str(value) for name, value in given.items() if value is not None}
