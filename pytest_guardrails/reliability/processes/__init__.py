"""Processes: whether they get on, what they use, how they end, and what a dead one left behind.

`heartbeat.py` is where to begin.
"""

from typing import TYPE_CHECKING

from pytest_guardrails.faces import lazy

if TYPE_CHECKING:
    from pytest_guardrails.reliability.processes.handles import ProcessHandle, stop_process
    from pytest_guardrails.reliability.processes.heartbeat import (
        Beat,
        Heartbeat,
        ProcessHealth,
        is_process_healthy,
        last_beat,
    )
    from pytest_guardrails.reliability.processes.monitor import Exceeded, Limits, ProcessMonitor, Sample
    from pytest_guardrails.reliability.processes.registry import CleanUp, ProcessRegistry, Registration
    from pytest_guardrails.reliability.processes.shutdown import GracefulShutdown, Stage, StepReport

__all__ = [
    "Beat",
    "CleanUp",
    "Exceeded",
    "GracefulShutdown",
    "Heartbeat",
    "Limits",
    "ProcessHandle",
    "ProcessHealth",
    "ProcessMonitor",
    "ProcessRegistry",
    "Registration",
    "Sample",
    "Stage",
    "StepReport",
    "is_process_healthy",
    "last_beat",
    "stop_process",
]

__getattr__ = lazy(
    __name__,
    {
        "handles": "ProcessHandle stop_process",
        "heartbeat": "Beat Heartbeat ProcessHealth is_process_healthy last_beat",
        "monitor": "Exceeded Limits ProcessMonitor Sample",
        "registry": "CleanUp ProcessRegistry Registration",
        "shutdown": "GracefulShutdown Stage StepReport",
    },
)
