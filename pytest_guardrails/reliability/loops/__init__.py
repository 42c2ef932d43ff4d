"""Loops that end: a controller that survives its process, conditions, and a detector of loops that go round.

`LoopController` is where to begin; `conditions.py` says when a loop ends, `stuck.py` how one that goes round is known,
`child_step.py` how a step is made to end, `recovery.py` what is done about errors. Pure parts: `facts.py`,
`conditions.py`, `course.py`, `error_classes.py`, `strategies.py` and all of the detector.
"""

from pytest_guardrails.reliability.loops.child_step import ChildStep, ChildStepError
from pytest_guardrails.reliability.loops.conditions import (
    AllOf,
    AnyOf,
    Condition,
    ConsecutiveFailures,
    Custom,
    ErrorRate,
    External,
    MaxIterations,
    NoProgress,
    ResourceLimit,
    Timeout,
    parse_condition,
)
from pytest_guardrails.reliability.loops.controller import LoopController
from pytest_guardrails.reliability.loops.error_classes import ErrorClass, ErrorRule, classify
from pytest_guardrails.reliability.loops.facts import Ending, Facts, LoopState, Outcome, Reason, Usage
from pytest_guardrails.reliability.loops.interrupting import StepHungError, StepInterrupted, StepTimeoutError
from pytest_guardrails.reliability.loops.ledger import Iteration
from pytest_guardrails.reliability.loops.recovery import RecoveryManager
from pytest_guardrails.reliability.loops.recovery_model import (
    Attempt,
    AuditEntry,
    Recovery,
    RecoveryBusyError,
    RecoveryFailedError,
    RecoveryState,
)
from pytest_guardrails.reliability.loops.report import LoopReport, LoopSettings
from pytest_guardrails.reliability.loops.stepping import DependencyError, StepContext, StepFunction, StepResult
from pytest_guardrails.reliability.loops.strategies import Backoff, Plan, RecoveryPolicy, Rung, Strategy
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

__all__ = [
    "AllOf",
    "AnyOf",
    "Attempt",
    "AuditEntry",
    "Backoff",
    "ChildStep",
    "ChildStepError",
    "Condition",
    "ConsecutiveFailures",
    "Custom",
    "DependencyError",
    "Ending",
    "ErrorClass",
    "ErrorRate",
    "ErrorRule",
    "External",
    "Facts",
    "Iteration",
    "Ladder",
    "Level",
    "LoopController",
    "LoopReport",
    "LoopSettings",
    "LoopState",
    "MaxIterations",
    "NoProgress",
    "Outcome",
    "Pattern",
    "Plan",
    "Reason",
    "Recovery",
    "RecoveryBusyError",
    "RecoveryFailedError",
    "RecoveryManager",
    "RecoveryPolicy",
    "RecoveryState",
    "ResourceLimit",
    "Rung",
    "Step",
    "StepContext",
    "StepFunction",
    "StepHungError",
    "StepInterrupted",
    "StepKind",
    "StepResult",
    "StepTimeoutError",
    "Strategy",
    "StuckDetector",
    "StuckSettings",
    "Timeout",
    "Usage",
    "Verdict",
    "classify",
    "parse_condition",
]
