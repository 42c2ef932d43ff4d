"""Health: thresholds with the worst of all signals, alerts, probes, and the monitor of an agent.

`levels.py` is where to begin.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

if TYPE_CHECKING:
    from pytest_guardrails.reliability.health.agent_monitor import AgentAnswer, AgentMonitor
    from pytest_guardrails.reliability.health.alerts import Alert, AlertPolicy, Alerts, AlertStatistics
    from pytest_guardrails.reliability.health.levels import Assessment, HealthThresholds, Hysteresis, Level, assess
    from pytest_guardrails.reliability.health.probes import (
        Probe,
        ProbeReport,
        disk_space,
        level_of,
        run_probes,
        store_usable,
    )
    from pytest_guardrails.reliability.health.senders import to_command, to_file, to_log, to_webhook

__all__ = [
    "AgentAnswer",
    "AgentMonitor",
    "Alert",
    "AlertPolicy",
    "AlertStatistics",
    "Alerts",
    "Assessment",
    "HealthThresholds",
    "Hysteresis",
    "Level",
    "Probe",
    "ProbeReport",
    "assess",
    "disk_space",
    "level_of",
    "run_probes",
    "store_usable",
    "to_command",
    "to_file",
    "to_log",
    "to_webhook",
]

__getattr__ = lazy(
    __name__,
    {
        "agent_monitor": "AgentAnswer AgentMonitor",
        "alerts": "Alert AlertPolicy AlertStatistics Alerts",
        "levels": "Assessment HealthThresholds Hysteresis Level assess",
        "probes": "Probe ProbeReport disk_space level_of run_probes store_usable",
        "senders": "to_command to_file to_log to_webhook",
    },
)
