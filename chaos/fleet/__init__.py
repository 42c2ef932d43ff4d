"""Several live processes that are hurt: a plan drawn by seed, one loop that carries it out, and what is left to judge.

Read `faults.py` for what may be done, `plan.py` for when, `running.py` for the loop, `chaos/child/tender.py` for the
process above the workers. Nothing of a fleet outlives the harness, however that ends.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.fleet.faults import Fault, FaultKind, Restart, RestartPolicy
    from chaos.fleet.plan import Plan, Strike, draw, parse_plan
    from chaos.fleet.running import run_fleet
    from chaos.fleet.settings import Course, Crewman, FleetRoles, FleetSettings

__all__ = [
    "Course",
    "Crewman",
    "Fault",
    "FaultKind",
    "FleetRoles",
    "FleetSettings",
    "Plan",
    "Restart",
    "RestartPolicy",
    "Strike",
    "draw",
    "parse_plan",
    "run_fleet",
]

# Each name is loaded from its module when it is first asked for: see `chaos/__init__.py`.
_HOMES = {
    "chaos.fleet.faults": "Fault FaultKind Restart RestartPolicy",
    "chaos.fleet.plan": "Plan Strike draw parse_plan",
    "chaos.fleet.running": "run_fleet",
    "chaos.fleet.settings": "Course Crewman FleetRoles FleetSettings",
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
