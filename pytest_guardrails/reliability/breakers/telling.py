"""Events of breakers: written in the transaction that changed the hook, so that neither is there without the other.

Kinds: `breaker.opened`, `breaker.half_open`, `breaker.closed` (with why), `breaker.held` (an operator's word: forced
open or closed, disabled, isolated, with author and reason), `breaker.released`, `breaker.enabled` (by whom, and why),
`breaker.edited` (a document said so), `breaker.document_damaged`. Source is "breakers", scope the hook's key in the
store; its command is in the detail.

Loaded only when there is something to tell, since telemetry costs more to load than a hook's whole bookkeeping. Read
`hook_state.py` for who tells.
"""

from collections.abc import Mapping, Sequence

from pytest_guardrails.reliability.breakers.commands import key_of
from pytest_guardrails.reliability.breakers.model import Action, Changed, Control, ControlEnded
from pytest_guardrails.reliability.breakers.record import HookRecord, bounded
from pytest_guardrails.reliability.state.model import Incident
from pytest_guardrails.reliability.state.store import StateStore
from pytest_guardrails.reliability.state.transaction import Transaction
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Severity

__all__ = ["tell_change", "tell_document_damage", "tell_edit", "tell_enabled", "tell_store_damage"]

_SOURCE = "breakers"
_KEPT = 500  # events; with the backend json each commit writes all of them
_KINDS = {"open": "breaker.opened", "half_open": "breaker.half_open", "closed": "breaker.closed"}


def tell_change(
    store: StateStore, transaction: Transaction, before: HookRecord, after: HookRecord, actions: Sequence[Action]
) -> None:
    """What an operation did: each change of phase, an operator's word that began or ended."""
    drafts = []
    for action in actions:
        if isinstance(action, Changed):
            detail = {"old": action.old, "new": action.new, "why": action.why, "error": after.last_error}
            severity = Severity.WARNING if action.new == "open" else Severity.INFO
            drafts.append(_draft(_KINDS[action.new], after, action.why, severity, detail))
        elif isinstance(action, ControlEnded):
            said = action.control
            drafts.append(_draft("breaker.released", after, f"no longer {_word(said)}", Severity.INFO, said._asdict()))
    control = after.circuit.control
    if control is not None and control != before.circuit.control:
        message = f"{_word(control)} by {control.author}: {control.reason}"
        drafts.append(_draft("breaker.held", after, message, Severity.WARNING, control._asdict()))
    _log(store).append(transaction, *drafts)


def tell_enabled(store: StateStore, transaction: Transaction, after: HookRecord, author: str, reason: str) -> None:
    """An operator has set a hook free."""
    detail = {"author": author, "reason": reason}
    message = f"enabled by {author or 'somebody'}: {reason or 'no reason given'}"
    _log(store).append(transaction, _draft("breaker.enabled", after, message, Severity.INFO, detail))


def tell_edit(store: StateStore, transaction: Transaction, before: HookRecord, after: HookRecord, where: str) -> None:
    """A document made a hook another one."""
    detail = {"old": before.state, "new": after.state, "document": where}
    message = f"{where} says {after.state}, it was {before.state}"
    _log(store).append(transaction, _draft("breaker.edited", after, message, Severity.WARNING, detail))


def tell_document_damage(store: StateStore, transaction: Transaction, incident: Incident) -> None:
    """The document that is the store was found damaged, and is written anew."""
    message = f"{incident.reason}; it is written anew, the damaged file is in {incident.quarantine}"
    draft = Draft(source=_SOURCE, kind="breaker.document_damaged", severity=Severity.CRITICAL, message=message)
    _log(store).append(transaction, draft)


def tell_store_damage(store: StateStore) -> None:
    """The store was found damaged and restored: tell it, unless that was done."""
    _log(store).tell_incidents()


def _log(store: StateStore) -> EventLog:
    return EventLog(store, capacity=_KEPT)


def _draft(kind: str, record: HookRecord, message: str, severity: Severity, detail: Mapping[str, object]) -> Draft:
    command = bounded(record.command)
    return Draft(
        source=_SOURCE,
        kind=kind,
        severity=severity,
        scope=key_of(record.command),
        message=f"{command}: {message}",
        detail={"command": command, "epoch": record.circuit.epoch, "retry_after": record.retry_after, **detail},
    )


def _word(control: Control) -> str:
    return f"forced {control.kind}" if control.kind in ("open", "closed") else control.kind
