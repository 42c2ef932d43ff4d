"""The kinds of scenarios beside exploration, one module each: its settings as data, its keys in a scenario file.

Read `race.py` for one, `chaos/scenario/layout.py` for the table of them.
"""

from chaos.scenario.kinds.agent import AGENT_MODEL, AGENT_ORACLES, Agent
from chaos.scenario.kinds.fleet import FLEET_MODEL, FLEET_ORACLES, FLEET_ROLES, Fleet
from chaos.scenario.kinds.race import HISTORIES, RACE_MODEL, RACE_ORACLES, Race

__all__ = [  # noqa: RUF022 - in plain order, as everywhere in this house
    "AGENT_MODEL",
    "AGENT_ORACLES",
    "Agent",
    "FLEET_MODEL",
    "FLEET_ORACLES",
    "FLEET_ROLES",
    "Fleet",
    "HISTORIES",
    "RACE_MODEL",
    "RACE_ORACLES",
    "Race",
]
