"""One finding once more: its crash state is rebuilt from trace and recipe, recovery runs on it, the oracles judge.

What a replay file points to is read, never run on loading; the target named in it is run, as by any scenario. Of the
kinds of scenarios only the finding's own is imported.
"""

# ruff: noqa: PLC0415 - see above

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from chaos.child.target import Roles
from chaos.disk import Times, materialise, model_named
from chaos.errors import UsageError
from chaos.explore.exploration import Exploration
from chaos.explore.roots import make_root, remove_root
from chaos.explore.settings import Isolation, Settings
from chaos.observations import Outcome, Reference, Violation
from chaos.oracles import ORACLES, Panel
from chaos.report.live_replay import LiveReplay, load_live_targets
from chaos.report.replay import Replay, load_replay, read_any
from chaos.scenario.kinds import Agent, Fleet, Race
from chaos.scenario.kinds.inject import Inject
from chaos.scenario.model import Drive
from chaos.scenario.runner.crashing import point_of, tree_of
from chaos.scenario.runner.exploring import ask_for
from chaos.scenario.runner.faulty import reference_of
from chaos.scenario.runner.second import second_reference
from chaos.trace.file import load
from chaos.trace.model import Trace
from chaos.trace.overlaps import beside

__all__ = [
    "Replayed",
    "find_finding",
    "live_drive",
    "rebuilt_state",
    "replay_live",
    "replay_roles",
    "replay_state",
]

_REPLAY_FILE = "replay.json"
_ID = re.compile(r"[0-9a-f]{12}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it.

    Attributes:
        replay: what was replayed.
        outcome: recovery on the state.
        violations: the objections.
        shows: whether the oracle that objected then still does.
    """

    replay: Replay
    outcome: Outcome
    violations: tuple[Violation, ...]
    shows: bool


def find_finding(wanted: str, report_dir: Path) -> tuple[Path, Replay | LiveReplay]:
    """The replay file that `wanted` means, and what is in it.

    Args:
        wanted: a finding's folder, its replay file, or its id.
        report_dir: where run folders are kept, for an id; the newest run that has it counts.

    Raises:
        UsageError: there is none, or it can't be read.
    """
    path = Path(wanted)
    if path.is_dir():
        path = path / _REPLAY_FILE
    elif not path.exists() and _ID.fullmatch(wanted):
        kept = sorted(report_dir.glob(f"runs/*/findings/*-{wanted}/{_REPLAY_FILE}"), key=lambda one: one.parts[-4])
        if not kept:
            raise UsageError(f"no finding {wanted} is kept in {report_dir}", "run the scenario or the test again")
        path = kept[-1]
    return path, read_any(_content(path), str(path))


def replay_roles(path: Path) -> Roles:
    """The target that a replay file names.

    Raises:
        UsageError: it is a function inside a test, or the file is damaged.
    """
    return load_replay(_content(path), str(path))[1]


def replay_state(path: Path, replay: Replay, roles: Roles) -> Replayed:
    """Run recovery on the state once more and judge.

    Args:
        path: the replay file; the trace's path is relative to it.
        replay: its content.
        roles: the target.

    Raises:
        UsageError: the trace can't be read, or the target can't be imported.
        HarnessFault: a worker failed.
    """
    oracles = tuple(name for name in replay.oracles or (replay.oracle,) if name in ORACLES)
    trace = load(path.parent / replay.trace)
    model = model_named(replay.model)
    limits = {"deadline_s": replay.deadline_s, "memory_bytes": replay.memory_bytes, "bound": replay.bound}
    settings = Settings(
        models=(model,),
        isolation=Isolation.FORK,
        seed=replay.seed,
        ask=ask_for(oracles),
        **{name: value for name, value in limits.items() if value is not None},  # type: ignore[arg-type]
    )
    settings = replace(settings, against=_struck_reference(trace, path, replay, roles, settings))
    with Exploration(trace, roles, settings) as exploration:
        reference = _reference(exploration.reference, trace, path, replay, roles, settings)
        panel = Panel(reference, oracles, operations=len(trace.ops))
        if replay.recipe:
            observation = exploration.observe(replay.recipe, model)
            outcome, violations = observation.outcome, panel.judge(observation)
        else:
            acks = [ack.after for ack in trace.acks]
            step = len(acks) + 1 if replay.point >= len(trace.ops) else sum(after <= replay.point for after in acks)
            outcome, violations = reference.steps[step], panel.judge_reference()
    return Replayed(
        replay=replay,
        outcome=outcome,
        violations=violations,
        shows=any(violation.oracle == replay.oracle for violation in violations),
    )


def _reference(own: Reference, trace: Trace, path: Path, replay: Replay, roles: Roles, settings: Settings) -> Reference:
    """What the run is judged against; a second run also against what its first one had acknowledged."""
    first = replay.first
    if first is None:
        return own
    with Exploration(load(path.parent / first.trace), roles, settings) as exploration:
        side = beside(trace, first.acked)
        return second_reference(exploration.reference, first.acked, own.acks, own.steps[first.acked :], side)


def _struck_reference(trace: Trace, path: Path, replay: Replay, roles: Roles, settings: Settings) -> Reference | None:
    """What a run that faults struck is judged against; None for any other."""
    if not replay.clean:
        return None
    with Exploration(load(path.parent / replay.clean), roles, settings) as exploration:
        return reference_of(trace, exploration.reference)


def live_drive(path: Path, replay: LiveReplay) -> Drive:
    """How the processes that a replay file tells of are driven.

    Raises:
        UsageError: a target is a function inside a test, or the file is damaged.
    """
    targets = load_live_targets(_content(path), str(path))
    if replay.kind == Inject.kind:
        from chaos.scenario.runner.inject_terms import inject_from

        return inject_from(replay, targets)
    if replay.kind == Race.kind:
        from chaos.scenario.runner.racing import race_from

        return race_from(replay, targets)
    if replay.kind == Fleet.kind:
        from chaos.scenario.runner.fleeting import fleet_from

        return fleet_from(replay, targets)
    from chaos.scenario.runner.agent import agent_from

    return agent_from(replay, targets)


def replay_live(replay: LiveReplay, drive: Drive) -> tuple[bool, tuple[str, ...]]:
    """Let living processes go wrong once more.

    Returns:
        whether the same oracle still objects, and what happened, line by line.

    Raises:
        ChaosError: a target can't be imported, the drive is of another kind, or the harness failed.
    """
    if isinstance(drive, Inject):
        from chaos.scenario.runner.injecting import replay_injection

        return replay_injection(replay, drive)
    if isinstance(drive, Race):
        from chaos.scenario.runner.racing import replay_race

        return replay_race(replay, drive)
    if isinstance(drive, Fleet) and replay.kind == Fleet.kind:
        from chaos.scenario.runner.fleeting import replay_fleet

        return replay_fleet(replay, drive)
    if isinstance(drive, Agent) and replay.kind == Agent.kind:
        from chaos.scenario.runner.agent import replay_agent

        return replay_agent(replay, drive)
    raise UsageError(f"finding {replay.finding} is of kind {replay.kind}, and this is of kind {drive.kind}")


@contextmanager
def rebuilt_state(path: Path, replay: Replay) -> Iterator[str]:
    """The crash state as a folder of its own, which is gone afterwards.

    Raises:
        UsageError: the trace can't be read.
    """
    trace = load(path.parent / replay.trace)
    tree = tree_of(replay, trace)
    root = make_root()
    try:
        disk = os.path.join(root, "disk")
        os.mkdir(disk)
        materialise(tree, disk, Times(trace).at(point_of(replay)))
        yield disk
    finally:
        remove_root(root)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}", "name a finding's folder, its replay.json, or its id"
        ) from None
