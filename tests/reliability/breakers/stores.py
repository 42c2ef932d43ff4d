"""Hook states for tests: on both backends, with a clock that is moved by hand or the real one."""

from pathlib import Path

from pytest_guardrails.clock import Clock
from pytest_guardrails.reliability.breakers.book import DisabledBook
from pytest_guardrails.reliability.breakers.hook_state import HookState
from pytest_guardrails.reliability.breakers.model import BreakerSettings
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, open_store

BACKENDS: tuple[BackendKind, ...] = ("sqlite", "json")


def hook_state(
    folder: Path, backend: BackendKind, clock: Clock | None = None, settings: BreakerSettings | None = None
) -> HookState:
    store = open_store(folder / "hooks.store", backend=backend, settings=BackendSettings(durability="process"))
    return HookState(store, settings, book=DisabledBook(folder / "hooks.disabled", "process"), clock=clock)
