"""Short ways to make outcomes, references and observations for the tests of oracles and reports."""

from typing import Any

from chaos.child import values
from chaos.observations import Ending, Observation, Outcome, Reference
from chaos.trace.model import Ack

__all__ = ["acks", "raised", "reference", "returned", "seen"]


def returned(value: object, **more: Any) -> Outcome:
    more["acks"] = tuple(values.encode(one) for one in more.get("acks", ()))
    return Outcome(ending=Ending.RETURNED, value=values.encode(value), **more)


def raised(error_type: str = "ValueError", error: str = "bad", ending: Ending = Ending.RAISED, **more: Any) -> Outcome:
    return Outcome(ending=ending, error_type=error_type, error=error, **more)


def acks(*of: object) -> tuple[Ack, ...]:
    return tuple(Ack(after=2 * index, process=0, value=values.encode(one)) for index, one in enumerate(of, start=1))


def reference(*steps: object, acked: tuple[object, ...] = (), writers: int = 1, **more: Any) -> Reference:
    """Undamaged steps from values or outcomes; as many acknowledgements as there are steps between first and last."""
    outcomes = tuple(step if isinstance(step, Outcome) else returned(step) for step in steps)
    return Reference(steps=outcomes, acks=acks(*(acked or range(1, len(steps) - 1))), writers=writers, **more)


def seen(outcome: object, *, acked: int = 1, state: str = "s", **more: Any) -> Observation:
    shown = outcome if isinstance(outcome, Outcome) else returned(outcome)
    return Observation(
        state=state, model=more.pop("model", "kill"), point=more.pop("point", 4), acked=acked, outcome=shown, **more
    )
