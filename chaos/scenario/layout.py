"""The format of a scenario file, as a table of fields.

    name = "json-overwrite"                 required, unique
    description = "..."
    kind = "explore"                        how it is driven
    models = ["kill"]                       which crashes
    isolation = "fork"                      how recoveries are kept apart
    oracles = ["recovers", "atomic"]        what must hold
    exclude = ["*-shm"]                     files that are not watched
    deadline = "10s"                        for one recovery
    workload_deadline = "60s"               for the recorded run
    memory = "512MB"                        for one recovery
    budget = "60s"                          or a number of states
    engine = "auto"
    failed_sync = 1                         this fsync of the workload fails once

    [target]                                "module:object", or a list of commands (lists of arguments)
    setup, workload*, recover*, check, resume
    [target.env]                            for commands

    [[expect]]                              findings that are meant to appear
    oracle*, model, damage, source

A scenario is data: a target is imported only when it is run. `loader.py` reads files by this table, `schema.py`
prints it as JSON schema.
"""

from typing import Any

from chaos.observations import Damage
from chaos.scenario.model import DEPTHS, ENGINES, MODEL_PATTERN, MODELS, ORACLES
from chaos.scenario.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    budget,
    count_from_1,
    depth,
    duration_s,
    size_bytes,
)
from chaos.scenario.shapes import Field, Mismatch, Table, Tables, Value, choice, each, measured, text, texts_by_name

__all__ = ["COMMON", "EXPLORE", "KINDS", "NAME_PATTERN"]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # it becomes a folder's name, and must not lead out of one
_NAME_LIMIT = 80
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_REF_PATTERN = rf"^{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}(\.{_IDENTIFIER})*$"
_TARGET = '"module:object" or a list of commands'
_COMMAND = 'a command as a list of arguments, such as ["git", "status"]'

_REF = text(_TARGET, _REF_PATTERN)
_ARGUMENT = text("a string without NUL")
_COMMANDS = each(each(_ARGUMENT, _COMMAND, at_least=1), "a list of commands", at_least=1)


def _parse_target(value: object) -> Any:
    if isinstance(value, str):
        return _REF.parse(value)
    if not isinstance(value, list) or not value:
        raise Mismatch(_TARGET, value)
    if all(isinstance(argument, str) for argument in value):
        raise Mismatch(_TARGET, value, "put the command in one more pair of brackets: [[...]]")
    return _COMMANDS.parse(value)


_TARGET_SHAPE = Value(schema={"anyOf": [dict(_REF.schema), dict(_COMMANDS.schema)]}, parse=_parse_target)
_DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": DURATION_PATTERN}]
}
_BUDGET_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": rf"{DURATION_PATTERN}|^[0-9]{{1,12}}$"}]
}
_DURATION = measured(_DURATION_SCHEMA, duration_s)
_SIZE = measured({"type": "string", "pattern": SIZE_PATTERN}, size_bytes)

_TARGET_FIELDS = (
    Field(key="setup", shape=_TARGET_SHAPE, about="makes the files before the run; they count as durable"),
    Field(
        key="workload",
        shape=_TARGET_SHAPE,
        about="what is recorded: workload(disk, ack)",
        required=True,
        example='workload = "targets:save"',
    ),
    Field(
        key="recover",
        shape=_TARGET_SHAPE,
        about="the target's own start-up on what a crash left: recover(disk) -> value",
        required=True,
        example='recover = "targets:load"',
    ),
    Field(key="check", shape=_TARGET_SHAPE, about="the user's own predicate: check(value, acked) raises"),
    Field(key="resume", shape=_TARGET_SHAPE, about="how the workload goes on after a crash, if not as it began"),
    Field(
        key="env",
        shape=texts_by_name("a table of strings", rf"^{_IDENTIFIER}$"),
        about="environment variables for the commands",
    ),
)

_EXPECT_FIELDS = (
    Field(
        key="oracle",
        shape=choice(ORACLES),
        about="which oracle objects",
        required=True,
        example='oracle = "recovers"',
    ),
    Field(key="model", shape=choice(MODELS, MODEL_PATTERN), about="the weakest persistence model that shows it"),
    Field(key="damage", shape=choice([damage.value for damage in Damage]), about="what kind of damage"),
    Field(
        key="source",
        shape=text('a file\'s name, with its line if wanted ("store.py:42")', r"^[^\x00]+$"),
        about='the line to blame: "store.py", "store.py:42", or the path of the file that was written to',
    ),
)

EXPLORE = (
    Field(
        key="target",
        shape=Table(fields=_TARGET_FIELDS),
        about='the program under test: "module:object" beside this file, or lists of commands',
        required=True,
        example="[target]",
    ),
    Field(
        key="models",
        shape=each(choice(MODELS, MODEL_PATTERN), "a list of persistence models", at_least=1, unique=True),
        about='which crashes: "kill" for a killed process, the others for a power cut; "real:ext4" for real images; '
        '"xfs fsync_keeps_data=false" for a model of your own',
    ),
    Field(key="isolation", shape=choice(["fork", "batch", "command"]), about="how recoveries are kept apart"),
    Field(
        key="oracles",
        shape=each(choice(ORACLES), "a list of oracles", at_least=1, unique=True),
        about="what must hold",
    ),
    Field(
        key="exclude",
        shape=each(text("a glob pattern", r"^[^\x00]+$"), "a list of glob patterns"),
        about="files that are not watched",
    ),
    Field(key="deadline", shape=_DURATION, about="for one recovery"),
    Field(key="workload_deadline", shape=_DURATION, about="for the recorded run, and for the set-up before it"),
    Field(key="memory", shape=_SIZE, about="memory limit of one recovery"),
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
        shape=measured({"type": "integer", "minimum": 1}, count_from_1),
        about="this one of the workload's fsyncs fails once with EIO, and the next one succeeds",
    ),
)

# Later kinds stand beside it, each with its own fields.
KINDS: dict[str, tuple[Field, ...]] = {"explore": EXPLORE}

COMMON = (
    Field(
        key="name",
        shape=text("a name of letters, digits, '.', '_' and '-'", NAME_PATTERN, _NAME_LIMIT),
        about="unique among the scenarios of a run",
        required=True,
        example='name = "json-overwrite"',
    ),
    Field(key="description", shape=text("a text"), about="for people"),
    Field(key="kind", shape=choice(list(KINDS)), about="how it is driven"),
    Field(key="budget", shape=measured(_BUDGET_SCHEMA, budget), about="where to stop: 1000 states, or a duration"),
    Field(key="expect", shape=Tables(fields=_EXPECT_FIELDS), about="findings that are meant to appear"),
)
