"""Breakers: what fails again and again is left alone for a while, then tried by exactly one.

`policy.py` decides, and does nothing else. Around it stand `breaker.py` for Python callables, `guard.py` for HTTP and
language models, and `hook_run.py` for commands, which keep their state in `hook_state.py`.
"""

from pytest_guardrails.faces import lazy
from pytest_guardrails.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_guardrails.reliability.breakers.book import DisabledBook
    from pytest_guardrails.reliability.breakers.breaker import Breaker, Judge, failed_by_exception
    from pytest_guardrails.reliability.breakers.document import export_hooks, import_hooks
    from pytest_guardrails.reliability.breakers.guard import judge_http
    from pytest_guardrails.reliability.breakers.hook_state import (
        Admission,
        GlobalStats,
        HealthReport,
        HookState,
        Outcome,
    )
    from pytest_guardrails.reliability.breakers.keeping import CircuitOpenError, Keeper, MemoryKeeper, StoredKeeper
    from pytest_guardrails.reliability.breakers.model import BreakerSettings, Circuit, Control, Growth, WindowRule
    from pytest_guardrails.reliability.breakers.policy import step
    from pytest_guardrails.reliability.breakers.record import HookRecord

__all__ = [
    "Admission",
    "Breaker",
    "BreakerSettings",
    "Circuit",
    "CircuitOpenError",
    "Control",
    "DisabledBook",
    "GlobalStats",
    "Growth",
    "HealthReport",
    "HookRecord",
    "HookState",
    "Judge",
    "Keeper",
    "MemoryKeeper",
    "Outcome",
    "StoredKeeper",
    "WindowRule",
    "export_hooks",
    "failed_by_exception",
    "import_hooks",
    "judge_http",
    "step",
]

__getattr__ = lazy(
    __name__,
    {
        "book": "DisabledBook",
        "breaker": "Breaker Judge failed_by_exception",
        "document": "export_hooks import_hooks",
        "guard": "judge_http",
        "hook_state": "Admission GlobalStats HealthReport HookState Outcome",
        "keeping": "CircuitOpenError Keeper MemoryKeeper StoredKeeper",
        "model": "BreakerSettings Circuit Control Growth WindowRule",
        "policy": "step",
        "record": "HookRecord",
    },
)
