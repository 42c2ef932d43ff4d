"""The breaker's policy: (circuit, event, settings, now) -> (circuit, actions). Pure; every shell stands around it.

    closed --failures in a row, or a rate--> open --cool-down over, somebody asks--> half open
    half open --a probe fails--> open        half open --enough probes succeed--> closed

**Guarantees.** While half open never more calls are admitted than `probes`. A result counts only in the epoch of its
admission, and a probe's only while its permit is its own: so a late success closes nothing. Abandoned calls change no
verdict. The same arguments give the same answer; no clock, chance or process is asked here.

A circuit that is `at_rest` is not changed by a call that succeeds: shells need not come here for it. Read `model.py`
for the words, `memory.py` and `hook_state.py` for the shells.
"""

from collections.abc import Callable, Mapping
from math import inf

from pytest_guardrails.hints import Any
from pytest_guardrails.reliability.breakers.model import (
    Abandoned,
    Action,
    Admitted,
    Ask,
    BreakerSettings,
    Changed,
    Circuit,
    Control,
    ControlEnded,
    Event,
    Failed,
    Hold,
    Late,
    Permit,
    Phase,
    Probe,
    Refusal,
    Refused,
    Release,
    Reset,
    Succeeded,
)
from pytest_guardrails.reliability.breakers.window import counted, verdict

__all__ = ["after_reboot", "at_rest", "cooldown_of", "refuses_until_s", "step"]

_Answer = tuple[Circuit, tuple[Action, ...]]
_REFUSALS: Mapping[str, Refusal] = {"open": "forced open", "disabled": "disabled", "isolated": "isolated"}
_PLAIN = Failed()  # for openings that no failure with words of its own has caused
_GROWN = 64  # further growth is above every maximum, and would end in an infinite number


def step(circuit: Circuit, event: Event, settings: BreakerSettings, now_s: float) -> _Answer:
    """What becomes of a circuit.

    Args:
        circuit: as it is.
        event: what happened.
        settings: how to decide.
        now_s: the time, monotonic.

    Returns:
        The circuit afterwards (the same object when nothing changed), and what follows, in order; for `Ask` the last
        action is `Admitted` or `Refused`.
    """
    ended: tuple[Action, ...] = ()
    control = circuit.control
    if control is not None and control.until_s is not None and now_s >= control.until_s:
        circuit, ended = _lift(circuit, control, now_s)
    circuit, actions = _STEPS[type(event)](circuit, event, settings, now_s)
    return circuit, (*ended, *actions)


def at_rest(circuit: Circuit, settings: BreakerSettings) -> bool:
    """Whether a call that is asked for now and succeeds changes nothing: closed, nothing counted, nothing ordered."""
    return circuit.phase == "closed" and circuit.control is None and not circuit.failures and settings.window is None


def refuses_until_s(circuit: Circuit) -> float:
    """Until when the circuit refuses whoever asks, as far as that needs no `step`; minus infinity if it needs one."""
    return circuit.retry_at_s if circuit.phase == "open" and circuit.control is None else -inf


def after_reboot(circuit: Circuit, now_s: float) -> Circuit:
    """The circuit when its times come from before a reboot, and so mean nothing.

    Cool-downs and permits are over: one probe will tell. An operator's word holds, its time is counted from now again,
    for it must not end too early.
    """
    control = circuit.control
    if control is not None and control.lasts_s is not None:
        control = control._replace(until_s=now_s + control.lasts_s)
    return circuit._replace(retry_at_s=now_s, closed_at_s=now_s, permits=(), window=(), control=control)


def cooldown_of(settings: BreakerSettings, openings: int, chance: float) -> float:
    """How long the circuit stays open at its `openings`-th opening in a row, in seconds.

    The first one lasts exactly as long as is set; `chance`, from 0 to 1, shortens the later ones.
    """
    if openings <= 1:
        return settings.cooldown_s
    grown = settings.cooldown_s * settings.growth.factor ** min(openings - 1, _GROWN)
    return min(grown, settings.cooldown_max_s) * (1.0 - settings.growth.jitter * chance)


def _ask(circuit: Circuit, event: Ask, settings: BreakerSettings, now_s: float) -> _Answer:
    control = circuit.control
    if control is not None and control.kind != "closed":
        left_s = None if control.until_s is None else control.until_s - now_s
        return circuit, (Refused(_REFUSALS[control.kind], left_s),)
    if circuit.phase == "closed" or control is not None:
        return circuit, (Admitted(circuit.epoch),)
    if circuit.phase == "open":
        if now_s < circuit.retry_at_s:
            return circuit, (Refused("open", circuit.retry_at_s - now_s),)
        circuit, actions = _enter_half_open(circuit, "the cool-down is over")
    else:
        actions = ()
    permits = tuple(permit for permit in circuit.permits if permit.until_s > now_s and permit.holder not in event.gone)
    if len(permits) >= settings.probes:
        return circuit, (*actions, Refused("probing", min(permit.until_s for permit in permits) - now_s))
    granted = Permit(event.permit, now_s + settings.probe_lease_s, event.holder)
    circuit = circuit._replace(permits=(*permits, granted))
    return circuit, (*actions, Admitted(circuit.epoch, granted.id))


def _succeeded(circuit: Circuit, event: Succeeded, settings: BreakerSettings, now_s: float) -> _Answer:
    if _is_late(circuit, event.epoch, event.permit):
        return _give_back(circuit, event.permit), (Late(),)
    rule = settings.window
    if circuit.phase == "half_open":
        if rule is not None and rule.slow_rate is not None and event.duration_s > rule.slow_call_s:
            return _open(circuit, settings, now_s, f"a probe took longer than {rule.slow_call_s:g} s")
        circuit = _give_back(circuit, event.permit)._replace(successes=circuit.successes + 1)
        if circuit.successes >= settings.success_threshold:
            return _enter_closed(circuit, now_s, f"{circuit.successes} probes succeeded")
        return circuit, ()
    if circuit.phase == "open":
        return circuit, ()
    if circuit.failures:
        circuit = circuit._replace(failures=0)
    return _judge(circuit, settings, now_s, event.duration_s, failed=False) if rule is not None else (circuit, ())


def _failed(circuit: Circuit, event: Failed, settings: BreakerSettings, now_s: float) -> _Answer:
    if _is_late(circuit, event.epoch, event.permit):
        return _give_back(circuit, event.permit), (Late(),)
    if circuit.phase == "open":
        return circuit, ()
    if circuit.phase == "half_open":
        return _open(circuit, settings, now_s, "a probe failed", event)
    circuit = circuit._replace(failures=circuit.failures + 1)
    if circuit.failures >= settings.failure_threshold and circuit.control is None:
        return _open(circuit, settings, now_s, f"{circuit.failures} failures in a row", event)
    if settings.window is None:
        return circuit, ()
    return _judge(circuit, settings, now_s, event.duration_s, failed=True, event=event)


def _judge(
    circuit: Circuit,
    settings: BreakerSettings,
    now_s: float,
    duration_s: float,
    *,
    failed: bool,
    event: Failed = _PLAIN,
) -> _Answer:
    rule = settings.window
    assert rule is not None
    circuit = circuit._replace(window=counted(circuit.window, rule, now_s, duration_s, failed=failed))
    why = verdict(circuit.window, rule, now_s)
    if why and circuit.control is None:
        return _open(circuit, settings, now_s, why, event)
    return circuit, ()


def _abandoned(circuit: Circuit, event: Abandoned, _settings: BreakerSettings, _now_s: float) -> _Answer:
    return _give_back(circuit, event.permit), ()


def _probe(circuit: Circuit, _event: Probe, _settings: BreakerSettings, _now_s: float) -> _Answer:
    if circuit.phase == "half_open":
        return circuit, ()
    return _enter_half_open(circuit, "an operator asked for a probe")


def _reset(circuit: Circuit, _event: Reset, _settings: BreakerSettings, now_s: float) -> _Answer:
    control = circuit.control
    ended: tuple[Action, ...] = ()
    if control is not None and control.kind in ("open", "closed"):
        circuit, ended = circuit._replace(control=None), (ControlEnded(control),)
    circuit, actions = _enter_closed(circuit, now_s, "an operator reset it")
    return circuit._replace(openings=0), (*ended, *actions)


def _hold(circuit: Circuit, event: Hold, _settings: BreakerSettings, now_s: float) -> _Answer:
    control = event.control
    until_s = None if control.lasts_s is None else now_s + control.lasts_s
    old = circuit.control
    ended: tuple[Action, ...] = () if old is None else (ControlEnded(old),)
    return circuit._replace(control=control._replace(until_s=until_s), epoch=circuit.epoch + 1), ended


def _release(circuit: Circuit, _event: Release, _settings: BreakerSettings, now_s: float) -> _Answer:
    return (circuit, ()) if circuit.control is None else _lift(circuit, circuit.control, now_s)


def _lift(circuit: Circuit, control: Control, now_s: float) -> _Answer:
    """What the circuit is when an operator's word has ended; see `Control`."""
    circuit = circuit._replace(control=None, epoch=circuit.epoch + 1)
    actions: tuple[Action, ...] = (ControlEnded(control),)
    if control.kind == "disabled":
        return circuit, actions
    if control.kind == "closed":
        circuit, more = _enter_closed(circuit, now_s, "it was held closed")
    else:
        more = () if circuit.phase == "open" else (Changed(circuit.phase, "open", "it was held open"),)
        circuit = circuit._replace(phase="open", retry_at_s=now_s, permits=(), window=(), failures=0)
    return circuit, (*actions, *more)


def _is_late(circuit: Circuit, epoch: int | None, permit: str) -> bool:
    if epoch is None:
        return False
    if epoch != circuit.epoch:
        return True
    return circuit.phase == "half_open" and all(held.id != permit for held in circuit.permits)


def _give_back(circuit: Circuit, permit: str) -> Circuit:
    kept = tuple(held for held in circuit.permits if held.id != permit)
    return circuit if len(kept) == len(circuit.permits) else circuit._replace(permits=kept)


def _open(circuit: Circuit, settings: BreakerSettings, now_s: float, why: str, event: Failed = _PLAIN) -> _Answer:
    soon = circuit.phase == "half_open" or now_s - circuit.closed_at_s < circuit.cooldown_s
    openings = circuit.openings + 1 if soon else 1
    cooldown_s = cooldown_of(settings, openings, event.chance)
    cooldown_s = max(cooldown_s, min(event.retry_after_s, settings.cooldown_max_s))
    opened = circuit._replace(
        phase="open",
        epoch=circuit.epoch + 1,
        successes=0,
        openings=openings,
        cooldown_s=cooldown_s,
        retry_at_s=now_s + cooldown_s,
        permits=(),
        window=(),
    )
    return opened, (Changed(circuit.phase, "open", why),)


def _enter_half_open(circuit: Circuit, why: str) -> _Answer:
    entered = circuit._replace(phase="half_open", epoch=circuit.epoch + 1, failures=0, successes=0, permits=())
    return entered, (Changed(circuit.phase, "half_open", why),)


def _enter_closed(circuit: Circuit, now_s: float, why: str) -> _Answer:
    closed = circuit._replace(
        phase="closed", epoch=circuit.epoch + 1, failures=0, successes=0, closed_at_s=now_s, permits=(), window=()
    )
    old: Phase = circuit.phase
    return closed, () if old == "closed" else (Changed(old, "closed", why),)


_STEPS: Mapping[type, Callable[[Circuit, Any, BreakerSettings, float], _Answer]] = {
    Ask: _ask,
    Succeeded: _succeeded,
    Failed: _failed,
    Abandoned: _abandoned,
    Probe: _probe,
    Reset: _reset,
    Hold: _hold,
    Release: _release,
}
