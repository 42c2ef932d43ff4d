"""The one hallway behind all doors: from a scenario to its result.

Read `run.py` for a whole run, `course.py` for one scenario, `crashing.py` and `racing.py` for its kinds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.faults.policy import check_single
    from chaos.scenario.runner.calling import Called, call_with_faults
    from chaos.scenario.runner.killing import LiveKills, kill_for_real
    from chaos.scenario.runner.recording import record_command
    from chaos.scenario.runner.replaying import (
        Replayed,
        find_finding,
        live_drive,
        rebuilt_state,
        replay_live,
        replay_roles,
        replay_state,
    )
    from chaos.scenario.runner.run import Run
    from chaos.trace.engines import supervisor_missing

__all__ = [
    "Called",
    "LiveKills",
    "Replayed",
    "Run",
    "call_with_faults",
    "check_single",
    "find_finding",
    "kill_for_real",
    "live_drive",
    "rebuilt_state",
    "record_command",
    "replay_live",
    "replay_roles",
    "replay_state",
    "supervisor_missing",
]

# Each name is loaded from its module when it is first asked for: see `chaos/__init__.py`.
_HOMES = {
    "chaos.faults.policy": "check_single",
    "chaos.scenario.runner.calling": "Called call_with_faults",
    "chaos.scenario.runner.killing": "LiveKills kill_for_real",
    "chaos.scenario.runner.recording": "record_command",
    "chaos.scenario.runner.replaying": "Replayed find_finding live_drive rebuilt_state replay_live"
    " replay_roles replay_state",
    "chaos.scenario.runner.run": "Run",
    "chaos.trace.engines": "supervisor_missing",
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
