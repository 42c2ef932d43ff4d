"""Hook states for tests: on both backends, with a clock that is moved by hand or the real one."""

from pathlib import Path

from pytest_guardrails.clock import Clock
from pytest_guardrails.reliability.breakers.book import DisabledBook
from pytest_guardrails.reliability.breakers.hook_document import HookDocument
from pytest_guardrails.reliability.breakers.hook_state import HookState
from pytest_guardrails.reliability.breakers.model import BreakerSettings
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, Incident, open_store

INCIDENTS: list[Incident] = []  # of documents that were found damaged
BACKENDS: tuple[BackendKind, ...] = ("sqlite", "json")
FIELDS = [  # of a hook in the document, in their order
    "state",
    "failure_count",
    "consecutive_failures",
    "consecutive_successes",
    "first_failure",
    "last_failure",
    "last_success",
    "last_error",
    "disabled_at",
    "retry_after",
]


def hook_state(
    folder: Path, backend: BackendKind, clock: Clock | None = None, settings: BreakerSettings | None = None
) -> HookState:
    path = folder / ("hooks.rest" if backend == "json" else "hooks.store")
    store = open_store(path, backend=backend, settings=BackendSettings(durability="process"))
    document = None
    if backend == "json":
        document = HookDocument(folder / "hooks.json", listener=INCIDENTS.append, clock=clock, durability="process")
    book = DisabledBook(folder / "hooks.disabled", "process")
    return HookState(store, settings, book=book, document=document, clock=clock)
