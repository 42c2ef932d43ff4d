"""The one hallway behind all doors: from a scenario to its result.

Read `run.py` for a whole run, `course.py` for one scenario, `recording.py` and `exploring.py` for its two halves,
`second.py` for a second crash.
"""

from chaos.scenario.runner.killing import LiveKills, kill_for_real
from chaos.scenario.runner.recording import record_command
from chaos.scenario.runner.replaying import Replayed, find_finding, rebuilt_state, replay_roles, replay_state
from chaos.scenario.runner.run import Run

__all__ = [
    "LiveKills",
    "Replayed",
    "Run",
    "find_finding",
    "kill_for_real",
    "rebuilt_state",
    "record_command",
    "replay_roles",
    "replay_state",
]
