"""Loops that end."""

from pytest_guardrails.reliability.loops.stuck import StuckDetector
from pytest_guardrails.reliability.loops.stuck_model import (
    Ladder,
    Level,
    Pattern,
    Step,
    StepKind,
    StuckSettings,
    Verdict,
)

__all__ = ["Ladder", "Level", "Pattern", "Step", "StepKind", "StuckDetector", "StuckSettings", "Verdict"]
