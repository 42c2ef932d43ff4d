"""The kind `explore` in a scenario file. Read `race.py` next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.child.target import CommandTarget, Roles
from chaos.scenario.fields.pieces import (
    BOUNDS,
    COUNT,
    DURATION,
    ENV,
    SIZE,
    TARGET,
    Kind,
    bounds_from,
    check_env,
    expect,
    made,
    model_of,
    oracles,
)
from chaos.scenario.model import DEPTHS, ENGINES, MODELS, ORACLES, Explore
from chaos.scenario.quantities import depth
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Table, choice, each, measured, text

__all__ = ["EXCLUDE", "EXPLORE", "TARGET_TABLE", "roles_from"]

_ROLES = ("setup", "workload", "recover", "check", "resume")
_SETTINGS = {
    "models": "models",
    "isolation": "isolation",
    "oracles": "oracles",
    "exclude": "exclude",
    "deadline": "deadline_s",
    "workload_deadline": "workload_deadline_s",
    "memory": "memory_bytes",
    "engine": "engine",
    "depth": "depth",
    "failed_sync": "failed_sync",
}

_TARGET_FIELDS = (
    Field(key="setup", shape=TARGET, about="makes the files before the run; they count as durable"),
    Field(
        key="workload",
        shape=TARGET,
        about="what is recorded: workload(disk, ack)",
        required=True,
        example='workload = "targets:save"',
    ),
    Field(
        key="recover",
        shape=TARGET,
        about="the target's own start-up on what a crash left: recover(disk) -> value",
        required=True,
        example='recover = "targets:load"',
    ),
    Field(key="check", shape=TARGET, about="the user's own predicate: check(value, acked) raises"),
    Field(key="resume", shape=TARGET, about="how the workload goes on after a crash, if not as it began"),
    ENV,
)

TARGET_TABLE = Field(
    key="target",
    shape=Table(fields=_TARGET_FIELDS),
    about='the program under test: "module:object" beside this file, or lists of commands',
    required=True,
    example="[target]",
)
EXCLUDE = Field(
    key="exclude",
    shape=each(text("a glob pattern", r"^[^\x00]+$"), "a list of glob patterns"),
    about="files that are not watched",
)
_FIELDS = (
    TARGET_TABLE,
    Field(
        key="models",
        shape=each(model_of(MODELS), "a list of persistence models", at_least=1, unique=True),
        about='which crashes: "kill" for a killed process, the others for a power cut; "real:ext4" for real images; '
        '"xfs fsync_keeps_data=false" for a model of your own',
    ),
    Field(key="isolation", shape=choice(["fork", "batch", "command"]), about="how recoveries are kept apart"),
    oracles(ORACLES),
    EXCLUDE,
    Field(key="deadline", shape=DURATION, about="for one recovery"),
    Field(key="workload_deadline", shape=DURATION, about="for the recorded run, and for the set-up before it"),
    Field(key="memory", shape=SIZE, about="memory limit of one recovery"),
    Field(
        key="depth",
        shape=measured({"type": "integer", "minimum": DEPTHS[0], "maximum": DEPTHS[-1]}, depth),
        about="2: what follows each crash, recovery and the workload going on, is recorded and crashed as well",
    ),
    Field(
        key="engine",
        shape=choice(ENGINES),
        about="what records; portable sees Python code only",
    ),
    Field(
        key="failed_sync",
        shape=COUNT,
        about="this one of the workload's fsyncs fails once with EIO, and the next one succeeds",
    ),
    BOUNDS,
    expect(ORACLES, MODELS, own_models=True),
)


def _build(reader: Reader, values: Mapping[str, Any], folder: Path) -> Explore | None:
    roles = roles_from(reader, values.get("target", {}), folder)
    _check_isolation(reader, values, roles)
    if roles is None:
        return None
    settings = {_SETTINGS[key]: value for key, value in values.items() if key in _SETTINGS}
    return Explore(roles=roles, bounds=bounds_from(values), **settings)


def roles_from(reader: Reader, values: Mapping[str, Any], folder: Path) -> Roles | None:
    """The roles of a target; None where one that is needed is missing, which the reader has reported."""
    env = values.get("env", ())
    targets = {role: made(values[role], folder, env) for role in _ROLES if role in values}
    check_env(reader, env, targets.values())
    if not {"workload", "recover"} <= set(targets):
        return None
    return Roles(**targets)


def _check_isolation(reader: Reader, values: Mapping[str, Any], roles: Roles | None) -> None:
    isolation = values.get("isolation")
    if roles is None or isolation is None:
        return
    if isinstance(roles.recover, CommandTarget) and isolation != "command":
        reader.report(
            ("isolation",),
            f'"{isolation}" needs a recover of the form "module:object"',
            'use "command" or remove the key',
        )


EXPLORE = Kind(fields=_FIELDS, build=_build)
