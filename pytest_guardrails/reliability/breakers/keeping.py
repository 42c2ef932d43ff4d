"""Where a breaker for Python callables keeps its circuit: in memory, or in the store for all processes of a host.

A keeper answers whether a call may begin and is told how it ended; it holds no lock in between. Two answers cost next
to nothing: `resting` is the circuit while calls that succeed change nothing, so that nobody need ask; `shut_for_s` says
how long nobody will be let in, whoever asks. Read `breaker.py` for the calls.
"""

import os
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.hook_state import Admission, HookState
from pytest_guardrails.reliability.breakers.model import (
    Abandoned,
    Action,
    Admitted,
    Ask,
    BreakerSettings,
    Circuit,
    Event,
    Failed,
    Refused,
    Succeeded,
)
from pytest_guardrails.reliability.breakers.policy import at_rest, refuses_until_s, step
from pytest_guardrails.reliability.durability.forking import renew_in_children

__all__ = ["CircuitOpenError", "Keeper", "Listener", "MemoryKeeper", "StoredKeeper", "Ticket"]

Listener = Callable[[str, Sequence[Action]], None]


def _nobody(_name: str, _actions: Sequence[Action]) -> None:
    return


@final
class CircuitOpenError(GuardrailsError):
    """The call was not made: (name of the breaker, reason, seconds until it makes sense to ask again or None).

    Reasons are "open", "probing", "forced open", "disabled" and "isolated".
    """

    # Its three arguments are kept by BaseException itself: refusing must cost next to nothing.

    @property
    def name(self) -> str:
        """Of the breaker."""
        return str(self.args[0])

    @property
    def reason(self) -> str:
        """Why."""
        return str(self.args[1])

    @property
    def retry_in_s(self) -> float | None:
        """When to ask again, in seconds; None if nobody knows."""
        left_s: float | None = self.args[2]
        return left_s

    def __str__(self) -> str:
        when = "" if self.retry_in_s is None else f"; ask again in {self.retry_in_s:.1f} s"
        return f"the call was not made: the breaker {self.name!r} lets nobody through ({self.reason}){when}"


@final
class Ticket(Record):
    """A call that was let in; to be handed back with how it ended.

    Attributes:
        epoch: see `Admitted`.
        permit: see `Admitted`.
        started_s: when, monotonic.
        admission: the stored breaker's own.
    """

    epoch: int
    permit: str = ""
    started_s: float = 0.0
    admission: Admission | None = None


class Keeper(Protocol):
    """See the module.

    Attributes:
        name: of the breaker.
        resting: the circuit, while there is no need to ask for a call or to tell that it succeeded; else None.
        blocks: its methods wait for a disk, and are kept out of event loops.
    """

    name: str
    resting: Circuit | None
    blocks: bool

    def shut_for_s(self) -> float:
        """How long nobody will be let in, in seconds, if that is known without a lock or a disk; else 0 or less."""
        ...

    def ask(self) -> Ticket:
        """Let a call in, or raise `CircuitOpenError`."""
        ...

    def succeeded(self, ticket: Ticket) -> None:
        """It ended well."""
        ...

    def failed(self, ticket: Ticket, error: str, retry_after_s: float) -> None:
        """It failed; the service may have asked to be left alone for some seconds."""
        ...

    def abandoned(self, ticket: Ticket) -> None:
        """It was cancelled or interrupted."""
        ...


@final
class MemoryKeeper:
    """A circuit of this process alone.

    Args:
        name: for messages and events.
        settings: how to decide.
        clock: see `Clock`.
        listener: told of what follows, outside of any lock.
    """

    blocks = False

    def __init__(
        self,
        name: str,
        settings: BreakerSettings | None = None,
        *,
        clock: Clock | None = None,
        listener: Listener = _nobody,
    ) -> None:
        self.name = name
        self.settings = settings or BreakerSettings()
        self.circuit = Circuit()
        self.resting: Circuit | None = self.circuit if at_rest(self.circuit, self.settings) else None
        self._refuses_until_s = refuses_until_s(self.circuit)
        self._now_s = (clock or SystemClock()).monotonic
        self._listener = listener
        self._mutex = threading.RLock()
        renew_in_children(self)
        self._numbers = count(1)

    def shut_for_s(self) -> float:
        """See `Keeper.shut_for_s`."""
        return self._refuses_until_s - self._now_s()

    def ask(self) -> Ticket:
        """See `Keeper.ask`."""
        now_s = self._now_s()
        last = self.apply(Ask(str(next(self._numbers))))[-1]
        if isinstance(last, Admitted):
            return Ticket(last.epoch, last.permit, now_s)
        assert isinstance(last, Refused)
        raise CircuitOpenError(self.name, last.reason, last.retry_in_s)

    def succeeded(self, ticket: Ticket) -> None:
        """See `Keeper.succeeded`."""
        self.apply(Succeeded(ticket.epoch, ticket.permit, self._now_s() - ticket.started_s))

    def failed(self, ticket: Ticket, error: str, retry_after_s: float) -> None:  # noqa: ARG002 - nobody reads it here
        """See `Keeper.failed`."""
        duration_s = self._now_s() - ticket.started_s
        self.apply(Failed(ticket.epoch, ticket.permit, duration_s, _chance(), retry_after_s))

    def abandoned(self, ticket: Ticket) -> None:
        """See `Keeper.abandoned`."""
        self.apply(Abandoned(ticket.epoch, ticket.permit))

    def apply(self, event: Event) -> tuple[Action, ...]:
        """What follows from any event of the policy; for operators: `Hold`, `Release`, `Reset`, `Probe`."""
        with self._mutex:
            while True:
                before = self.circuit
                after, actions = step(before, event, self.settings, self._now_s())
                if before is self.circuit:  # else a signal handler came in between, with an event of its own
                    break
            self.circuit = after
            self.resting = self.circuit if at_rest(self.circuit, self.settings) else None
            self._refuses_until_s = refuses_until_s(self.circuit)
        if actions:
            self._listener(self.name, actions)
        return actions


@final
class StoredKeeper:
    """A circuit that all processes of the host share, kept like a hook's under its name.

    Args:
        state: where.
        name: under which name.
        listener: told of what follows.
    """

    blocks = True
    resting: Circuit | None = None  # what other processes have done since is known to the store alone

    def __init__(self, state: HookState, name: str, *, listener: Listener = _nobody) -> None:
        self.name = name
        self._state = state
        self._listener = listener
        self._now_s = SystemClock().monotonic

    def shut_for_s(self) -> float:
        """Nothing is known without the store."""
        return 0.0

    def ask(self) -> Ticket:
        """See `Keeper.ask`."""
        admission = self._state.admit(self.name)
        if admission.actions:
            self._listener(self.name, admission.actions)
        if not admission.allowed:
            raise CircuitOpenError(self.name, admission.reason, admission.retry_in_s)
        return Ticket(admission.epoch, admission.permit, self._now_s(), admission)

    def succeeded(self, ticket: Ticket) -> None:
        """See `Keeper.succeeded`."""
        duration_s = self._now_s() - ticket.started_s
        self._tell(self._state.record_success(self.name, ticket.admission, duration_s=duration_s).actions)

    def failed(self, ticket: Ticket, error: str, retry_after_s: float) -> None:
        """See `Keeper.failed`."""
        duration_s = self._now_s() - ticket.started_s
        outcome = self._state.record_failure(
            self.name, error, ticket.admission, duration_s=duration_s, retry_after_s=retry_after_s
        )
        self._tell(outcome.actions)

    def abandoned(self, ticket: Ticket) -> None:
        """See `Keeper.abandoned`."""
        if ticket.admission is not None:
            self._state.record_abandoned(ticket.admission)

    def _tell(self, actions: Sequence[Action]) -> None:
        if actions:
            self._listener(self.name, actions)


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32
