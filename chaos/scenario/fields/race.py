"""The kind `race` in a scenario file. Read `chaos/scenario/layout.py` next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.scenario.fields.explore import EXCLUDE
from chaos.scenario.fields.pieces import COUNT, DURATION, ENV, TARGET, Kind, check_env, expect, made, oracles
from chaos.scenario.kinds.race import HISTORIES, RACE_MODEL, RACE_ORACLES, Race, unread_initial
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Table, anything, choice, each

__all__ = ["RACE"]

_REF = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_TARGET_FIELDS = (
    Field(key="setup", shape=TARGET, about="makes the files that every episode begins with: setup(disk)"),
    Field(
        key="workers",
        shape=each(TARGET, "a list of workers, two or more", at_least=2),
        about="the processes that race: worker(disk, witness) each",
        required=True,
        example='workers = ["targets:worker", "targets:worker"]',
    ),
    Field(key="check", shape=TARGET, about="the user's own predicate after each episode: check(disk, results) raises"),
    ENV,
)
_SETTINGS = {
    "oracles": "oracles",
    "history": "history",
    "initial": "initial",
    "deadline": "deadline_s",
    "steps": "steps",
    "exclude": "exclude",
}
_FIELDS = (
    Field(
        key="target",
        shape=Table(fields=_TARGET_FIELDS),
        about='the program under test: "module:object" beside this file, or lists of commands',
        required=True,
        example="[target]",
    ),
    oracles(RACE_ORACLES),
    Field(
        key="history",
        shape=choice(HISTORIES, _REF),
        about='what the workers\' calls are held against: a model, or "module:object" of your own',
    ),
    Field(key="initial", shape=anything("a value"), about="the first value of each thing in the history"),
    Field(key="deadline", shape=DURATION, about="how long a worker may compute between two calls"),
    Field(key="steps", shape=COUNT, about="how many calls an episode may take"),
    Field(
        key="exclude",
        shape=EXCLUDE.shape,
        about="files that may be changed through memory without the race being called not measured; *-shm unless given",
    ),
    expect(RACE_ORACLES, [RACE_MODEL]),
)


def _build(reader: Reader, values: Mapping[str, Any], folder: Path) -> Race | None:
    given = values.get("target", {})
    env = given.get("env", ())
    workers = tuple(made(one, folder, env) for one in given.get("workers", ()))
    setup, check = (made(given[name], folder, env) if name in given else None for name in ("setup", "check"))
    check_env(reader, env, [target for target in (*workers, setup, check) if target is not None])
    counted = "no_lost_update" in (values.get("oracles") or ())
    if unread := unread_initial(values.get("initial"), values.get("history"), counted=counted):
        reader.report(("initial",), *unread)
    if not workers:
        return None
    settings = {_SETTINGS[key]: value for key, value in values.items() if key in _SETTINGS}
    return Race(workers=workers, setup=setup, check=check, search=(str(folder),), **settings)


_COUNTS = {"required": ["oracles"], "properties": {"oracles": {"contains": {"const": "no_lost_update"}}}}
_FIRST_VALUE_IS_READ = {"anyOf": [{"not": {"required": ["initial"]}}, {"required": ["history"]}, _COUNTS]}
RACE = Kind(fields=_FIELDS, build=_build, rule=_FIRST_VALUE_IS_READ)
