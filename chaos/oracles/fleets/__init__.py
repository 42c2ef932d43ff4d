"""Oracles over a fleet that was hurt: pure functions of an `Aftermath`.

Read `aftermath.py` for what they are given, `registry.py` for their names and canaries.
"""

from chaos.oracles.fleets.aftermath import Aftermath
from chaos.oracles.fleets.registry import FLEET_CANARIES, FLEET_ORACLES, choose_fleet, prove_fleet

__all__ = [  # noqa: RUF022 - in plain order, as everywhere in this house
    "Aftermath",
    "FLEET_CANARIES",
    "FLEET_ORACLES",
    "choose_fleet",
    "prove_fleet",
]
