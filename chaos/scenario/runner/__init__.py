"""The one hallway behind all doors: from a scenario to its result.

Read `run.py` for a whole run, `course.py` for one scenario, `crashing.py` and `racing.py` for its kinds.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

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

__getattr__ = lazy(
    __name__,
    {
        "chaos.faults.policy": "check_single",
        "calling": "Called call_with_faults",
        "killing": "LiveKills kill_for_real",
        "recording": "record_command",
        "replaying": "Replayed find_finding live_drive rebuilt_state replay_live replay_roles replay_state",
        "run": "Run",
        "chaos.trace.engines": "supervisor_missing",
    },
)
