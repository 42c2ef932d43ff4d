"""Several live processes that are hurt: a plan drawn by seed, one loop that carries it out, and what is left to judge.

Read `faults.py` for what may be done, `plan.py` for when, `running.py` for the loop, `chaos/child/tender.py` for the
process above the workers. Nothing of a fleet outlives the harness, however that ends.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

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

__getattr__ = lazy(
    __name__,
    {
        "faults": "Fault FaultKind Restart RestartPolicy",
        "plan": "Plan Strike draw parse_plan",
        "running": "run_fleet",
        "settings": "Course Crewman FleetRoles FleetSettings",
    },
)
