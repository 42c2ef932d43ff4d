"""The kind `inject` in a scenario file. Read `faults.py` for its `[[fault]]`, `chaos/scenario/layout.py` next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.scenario.fields.explore import EXCLUDE, TARGET_TABLE, roles_from
from chaos.scenario.fields.faults import FAULT, faults_from
from chaos.scenario.fields.pieces import BOUNDS, COUNT, DURATION, SIZE, Kind, bounds_from, expect, model_of, oracles
from chaos.scenario.kinds.inject import INJECT_MODEL, Inject
from chaos.scenario.model import MODELS, ORACLES
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, each

__all__ = ["INJECT"]

_SETTINGS = {
    "models": "models",
    "oracles": "oracles",
    "exclude": "exclude",
    "deadline": "deadline_s",
    "workload_deadline": "workload_deadline_s",
    "memory": "memory_bytes",
    "runs": "runs",
}
_FIELDS = (
    TARGET_TABLE,
    FAULT,
    Field(
        key="models",
        shape=each(model_of(MODELS), "a list of persistence models", at_least=1, unique=True),
        about="what each run leaves is crashed under these as well",
    ),
    oracles(ORACLES),
    EXCLUDE,
    Field(key="deadline", shape=DURATION, about="for one recovery"),
    Field(key="workload_deadline", shape=DURATION, about="for one run of the workload, and for the set-up before it"),
    Field(key="memory", shape=SIZE, about="memory limit of one recovery"),
    Field(key="runs", shape=COUNT, about="how many runs there are when faults are drawn by chance"),
    BOUNDS,
    expect(ORACLES, [INJECT_MODEL, *MODELS], own_models=True),
)


def _build(reader: Reader, values: Mapping[str, Any], folder: Path) -> Inject | None:
    roles = roles_from(reader, values.get("target", {}), folder)
    faults = faults_from(reader, values.get("fault", []))
    if "fault" in values and not values["fault"]:
        reader.report(("fault",), "there is no fault", "add [[fault]]")
    if roles is None or not faults:
        return None
    settings = {_SETTINGS[key]: value for key, value in values.items() if key in _SETTINGS}
    return Inject(roles=roles, faults=faults, bounds=bounds_from(values), **settings)


INJECT = Kind(fields=_FIELDS, build=_build)
