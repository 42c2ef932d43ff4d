"""The kind `fleet` in a scenario file. Read `chaos/scenario/layout.py` next."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.child.target import CommandTarget
from chaos.errors import UsageError
from chaos.fleet.faults import Fault, FaultKind, Restart, RestartPolicy
from chaos.observations import Bounds
from chaos.scenario.fields.faults import FAULT
from chaos.scenario.fields.faults import faults_from as call_faults_from
from chaos.scenario.fields.network import CONNECTION_FIELDS, rules_of
from chaos.scenario.fields.pieces import (
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
    oracles,
)
from chaos.scenario.kinds.fleet import FLEET_MODEL, FLEET_ORACLES, FLEET_ROLES, Fleet
from chaos.scenario.kinds.race import HISTORIES, unread_initial
from chaos.scenario.quantities import DURATION_PATTERN, SIZE_PATTERN, duration_s, size_bytes
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Table, Tables, anything, choice, measured

__all__ = ["FLEET", "fault_from", "fleet_bounds_from", "restart_from"]

_REF = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_SHIFT_PATTERN = rf"^-?{DURATION_PATTERN[1:]}"


def _workers_struck(value: object) -> int:
    if value == "all":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError('a number of workers, or "all"')


def _amount(value: object) -> int:
    if isinstance(value, str):
        return size_bytes(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('a number, or a size such as "64MB"')


def _shift(value: object) -> float | None:
    if value == "frozen":
        return None
    if isinstance(value, str) and re.fullmatch(_SHIFT_PATTERN[1:-1], value):
        return -duration_s(value[1:]) if value.startswith("-") else duration_s(value)
    raise ValueError('a shift such as "1h" or "-30s", or "frozen"')


_TARGET_FIELDS = (
    Field(
        key="worker",
        shape=TARGET,
        about="what each worker runs, as a process of its own: worker(disk, witness)",
        required=True,
        example='worker = "targets:worker"',
    ),
    Field(key="recover", shape=TARGET, about="what is there in the end: recover(disk) -> value"),
    Field(key="setup", shape=TARGET, about="makes the files before the run: setup(disk)"),
    Field(key="check", shape=TARGET, about="the user's own predicate: check(value, acked) raises"),
    Field(
        key="service",
        shape=TARGET,
        about="what the workers talk to, at the address in CHAOS_SERVICE: service(disk, listening_socket)",
    ),
    ENV,
)
_FAULT_FIELDS = (
    Field(
        key="kind",
        shape=choice([kind.value for kind in FaultKind]),
        about="what is done",
        required=True,
        example='kind = "kill"',
    ),
    Field(
        key="workers",
        shape=measured({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["all"]}]}, _workers_struck),
        about='to how many at a time, drawn anew each time; or "all"',
    ),
    Field(key="every", shape=DURATION, about="mean time between two; or `statements`"),
    Field(key="statements", shape=COUNT, about="mean number of the fleet's statements between two; or `every`"),
    Field(key="first", shape=DURATION, about="none comes before"),
    Field(key="count", shape=COUNT, about="at most so many"),
    Field(key="lasts", shape=DURATION, about="how long a pause, limit, clock or full disk lasts; else to the end"),
    Field(
        key="amount",
        shape=measured(
            {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}]}, _amount
        ),
        about='"64MB" of memory or room on the disk, 20 open files, 2 seconds of processor time',
    ),
    Field(
        key="clock",
        shape=choice(["wall", "steady", "kernel"]),
        about="which clock is set: as Python sees it, or the kernel's monotonic one for lives that begin meanwhile",
    ),
    Field(
        key="shift",
        shape=measured({"anyOf": [{"enum": ["frozen"]}, {"type": "string", "pattern": _SHIFT_PATTERN}]}, _shift),
        about='by how much it jumps, such as "-1h"; or "frozen"',
    ),
    *CONNECTION_FIELDS,
)
_RESTART_FIELDS = (
    Field(
        key="policy",
        shape=choice([policy.value for policy in RestartPolicy]),
        about="whether workers that died come back",
        required=True,
        example='policy = "always"',
    ),
    Field(key="most", shape=COUNT, about="for at_most: how many times for each worker"),
    Field(key="backoff", shape=DURATION, about="after how long; doubled with each death that no progress came before"),
)
_BOUND_FIELDS = (
    Field(key="memory", shape=SIZE, about="of any worker"),
    Field(key="file", shape=SIZE, about="of any file in the end"),
    Field(key="disk", shape=SIZE, about="of all files in the end"),
    Field(key="recovery", shape=DURATION, about="of recovery"),
)
_SETTINGS = {
    "workers": "workers",
    "duration": "duration_s",
    "progress": "progress_s",
    "finish": "finish_s",
    "deadline": "deadline_s",
    "disk": "disk_bytes",
    "oracles": "oracles",
    "history": "history",
    "initial": "initial",
}
_FIELDS = (
    Field(
        key="target",
        shape=Table(fields=_TARGET_FIELDS),
        about='the program under test: "module:object" beside this file, or lists of commands',
        required=True,
        example="[target]",
    ),
    Field(key="workers", shape=COUNT, about="how many processes there are"),
    Field(key="duration", shape=DURATION, about="how long one run is hurt at most"),
    Field(key="progress", shape=DURATION, about="how long each worker may take to go on once the faults are over"),
    Field(key="finish", shape=DURATION, about="how long is waited for workers to return; without it they are killed"),
    Field(key="deadline", shape=DURATION, about="for setting up, and for recovery"),
    Field(key="disk", shape=SIZE, about="give them a disk of this size"),
    oracles(FLEET_ORACLES),
    Field(
        key="history",
        shape=choice(HISTORIES, _REF),
        about='what the workers\' calls are held against: a model, or "module:object" of your own',
    ),
    Field(key="initial", shape=anything("a value"), about="the first value of each thing in the history"),
    Field(key="fault", shape=Tables(fields=_FAULT_FIELDS), about="what is done to the workers"),
    Field(
        key="call_fault",
        shape=FAULT.shape,
        about="what is done to which system calls on the shared folder, as [[fault]] of the kind inject says",
    ),
    Field(key="restart", shape=Table(fields=_RESTART_FIELDS), about="what becomes of workers that died"),
    Field(key="bounds", shape=Table(fields=_BOUND_FIELDS), about="what may not be exceeded"),
    expect(FLEET_ORACLES, [FLEET_MODEL]),
)
_NETWORK = {field.key for field in CONNECTION_FIELDS}
_FAULT_SETTINGS = {"every": "every_s", "first": "first_s", "lasts": "lasts_s", "shift": "shift_s"}


def _build(reader: Reader, values: Mapping[str, Any], folder: Path) -> Fleet | None:
    given = values.get("target", {})
    env = given.get("env", ())
    targets: Any = {name: made(given[name], folder, env) for name in FLEET_ROLES if name in given}
    check_env(reader, env, list(targets.values()))
    settings = {_SETTINGS[key]: value for key, value in values.items() if key in _SETTINGS}
    faults = [_fault(reader, entry, number) for number, entry in enumerate(values.get("fault", ()))]
    calls = call_faults_from(reader, values.get("call_fault", []), "call_fault")
    for number, call in enumerate(calls):
        if call.is_each:
            hint = "give nth, every or probability"
            reader.report(("call_fault", number), "each call in turn takes many runs, and a fleet is one", hint)
    if calls and "disk" in values:
        reader.report(("disk",), "the supervisor can't see into a disk of the fleet's own", "leave one of the two out")
    if any(fault is not None and fault.kind is FaultKind.DISK_FULL for fault in faults) and "disk" not in values:
        reader.report(("fault",), "a full disk must be one of its own", 'say how large it is: disk = "16MB"')
    if any(fault is not None and fault.kind is FaultKind.NETWORK for fault in faults) and "service" not in targets:
        reader.report(("fault",), "a fault of the network needs something to talk to", "name it: service in [target]")
    if isinstance(targets.get("service"), CommandTarget):
        reader.report(("target", "service"), "a service gets a socket, which a command can't", "name a function")
    if unread := unread_initial(values.get("initial"), values.get("history")):
        reader.report(("initial",), *unread)
    if "worker" not in targets or None in faults:
        return None
    return Fleet(
        **targets,
        faults=tuple(fault for fault in faults if fault is not None),
        call_faults=calls,
        restart=_made_restart(values.get("restart", {})),
        bounds=bounds_from(values),
        search=(str(folder),),
        **settings,
    )


def _fault(reader: Reader, entry: Mapping[str, Any], number: int) -> Fault | None:
    if "kind" not in entry:
        return None
    try:
        return _made_fault(entry)
    except UsageError as error:
        reader.report(("fault", number), error.message, error.hint)
        return None


def _made_fault(entry: Mapping[str, Any]) -> Fault:
    network = {key: value for key, value in entry.items() if key in _NETWORK}
    own = {key: value for key, value in entry.items() if key != "kind" and key not in network}
    settings = {_FAULT_SETTINGS.get(key, key): value for key, value in own.items()}
    return Fault(kind=FaultKind(entry["kind"]), rules=rules_of(network) if network else (), **settings)


def _made_restart(entry: Mapping[str, Any]) -> Restart:
    names = {"most": "most", "backoff": "backoff_s"}
    settings = {names[key]: value for key, value in entry.items() if key in names}
    return Restart(policy=RestartPolicy(entry.get("policy", "always")), **settings)


def fault_from(table: Mapping[str, Any]) -> Fault:
    """A fault from a table as it stands below [[fault]] in a file.

    Raises:
        UsageError: what is wrong with it.
    """
    return _made_fault(_typed(table, _FAULT_FIELDS, "fault"))


def restart_from(table: Mapping[str, Any]) -> Restart:
    """The restart policy from a table as it stands below [restart] in a file.

    Raises:
        UsageError: what is wrong with it.
    """
    return _made_restart(_typed(table, _RESTART_FIELDS, "restart"))


def fleet_bounds_from(table: Mapping[str, Any]) -> Bounds:
    """The bounds from a table as it stands below [bounds] in a file.

    Raises:
        UsageError: what is wrong with it.
    """
    return bounds_from({"bounds": _typed(table, _BOUND_FIELDS, "bounds")})


def _typed(table: Mapping[str, Any], fields: tuple[Field, ...], name: str) -> dict[str, Any]:
    reader = Reader("", lambda: {(): 0}, {})
    values = reader.table(dict(table), (), fields)
    for problem in reader.problems[:1]:
        key = f"{name}.{problem.key}" if problem.key else name
        raise UsageError(f"{key}: {problem.message}", problem.hint)
    return values


FLEET = Kind(fields=_FIELDS, build=_build, rule={"dependentRequired": {"initial": ["history"]}})
