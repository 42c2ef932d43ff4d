"""What the breaker's policy speaks of, as data: the circuit, its settings, what can happen to it, what follows.

All times are seconds of a monotonic clock; nothing here knows a wall clock, a store or a thread. Records are named
tuples, not dataclasses, because `hook run` must start within milliseconds. Read `policy.py` next.
"""

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import Literal, NoReturn, TypeAlias, final
from pytest_guardrails.records import Record

__all__ = [
    "Abandoned",
    "Action",
    "Admitted",
    "Ask",
    "BreakerSettings",
    "Bucket",
    "Changed",
    "Circuit",
    "Control",
    "ControlEnded",
    "ControlKind",
    "Event",
    "Failed",
    "Growth",
    "Hold",
    "Late",
    "Permit",
    "Phase",
    "Probe",
    "Refusal",
    "Refused",
    "Release",
    "Reset",
    "Succeeded",
    "WindowRule",
]

Phase = Literal["closed", "open", "half_open"]
ControlKind = Literal["open", "closed", "disabled", "isolated"]
Refusal = Literal["open", "probing", "forced open", "disabled", "isolated"]


@final
class WindowRule(Record):
    """Opening by rate: over the last `span_s` seconds, once at least `least_calls` calls have ended.

    Attributes:
        span_s: length of the sliding window, in seconds.
        least_calls: below this many calls no rate means anything.
        failure_rate: opens from this share of failures on, above 0 to 1; None looks at failures in a row alone.
        slow_rate: opens from this share of slow calls on, above 0 to 1; None ignores slowness.
        slow_call_s: a call that takes longer is slow, in seconds. A slow probe counts as failed.
    """

    span_s: float = 60.0
    least_calls: int = 10
    failure_rate: float | None = 0.5
    slow_rate: float | None = None
    slow_call_s: float = 60.0


@final
class Growth(Record):
    """How cool-downs that follow each other grow.

    Attributes:
        factor: each lasts this many times longer than the one before, 1 to 10.
        most_s: but never longer than this, in seconds; the first cool-down if that is longer.
        jitter: a repeated one is shortened at random by up to this share, 0 to 1, so that many breakers of one service
            do not probe it at the same moment.
    """

    factor: float = 2.0
    most_s: float = 3600.0
    jitter: float = 0.1


_GROWTH = Growth()


@final
class BreakerSettings:
    """How a breaker decides; checked on construction, never changed. `cooldown_max_s` follows from the rest.

    Args:
        failure_threshold: this many failures in a row open the circuit, 1 to 100.
        cooldown_s: how long it stays open the first time, 0 to 86,400 seconds.
        success_threshold: this many probes in a row must succeed to close it, 1 to 100.
        growth: of cool-downs that follow each other soon.
        probes: how many calls are let through at a time while half open, 1 to 100.
        probe_lease_s: how long a prober may stay silent before its permit is given to another one, in seconds; a
            prober whose process died loses it at once.
        window: opening by rate as well; None for failures in a row only.

    Raises:
        ConfigurationError: names the setting, its value and its range.
    """

    __slots__ = (
        "cooldown_max_s",
        "cooldown_s",
        "failure_threshold",
        "growth",
        "probe_lease_s",
        "probes",
        "success_threshold",
        "window",
    )
    failure_threshold: int
    cooldown_s: float
    success_threshold: int
    growth: Growth
    cooldown_max_s: float
    probes: int
    probe_lease_s: float
    window: WindowRule | None

    def __init__(
        self,
        *,
        failure_threshold: int = 3,
        cooldown_s: float = 300.0,
        success_threshold: int = 2,
        growth: Growth = _GROWTH,
        probes: int = 1,
        probe_lease_s: float = 330.0,
        window: WindowRule | None = None,
    ) -> None:
        _number(growth.factor, "growth.factor", 1.0, 10.0)
        _number(growth.jitter, "growth.jitter", 0.0, 1.0)
        found = {
            "failure_threshold": _count(failure_threshold, "failure_threshold"),
            "cooldown_s": _number(cooldown_s, "cooldown_s", 0.0, 86_400.0),
            "success_threshold": _count(success_threshold, "success_threshold"),
            "growth": growth,
            "cooldown_max_s": max(_number(growth.most_s, "growth.most_s", 0.0, 1e9), float(cooldown_s)),
            "probes": _count(probes, "probes"),
            "probe_lease_s": _number(probe_lease_s, "probe_lease_s", 0.001, 1e9),
            "window": None if window is None else _checked_window(window),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"{name} is fixed: make other BreakerSettings")


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 1 <= value <= 100:
        raise ConfigurationError(f"{name} must be a whole number from 1 to 100, not {value!r}")
    return value


def _number(value: object, name: str, least: float, most: float) -> float:
    # NaN compares false with everything, and is refused by that.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigurationError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def _checked_window(rule: WindowRule) -> WindowRule:
    for name in ("failure_rate", "slow_rate"):
        rate = getattr(rule, name)
        if rate is not None:
            _number(rate, f"window.{name}", 1e-9, 1.0)
    _number(rule.span_s, "window.span_s", 0.001, 86_400.0)
    _number(rule.slow_call_s, "window.slow_call_s", 0.0, 86_400.0)
    if type(rule.least_calls) is not int or rule.least_calls < 1:
        raise ConfigurationError(f"window.least_calls must be a whole number from 1, not {rule.least_calls!r}")
    return rule


@final
class Bucket(Record):
    """Calls that ended in one slice of the sliding window."""

    slot: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


@final
class Permit(Record):
    """The right to be the probe.

    Attributes:
        id: of this grant; the result must name it.
        until_s: it is given to another one from then on.
        holder: who has it, in words that the shell can check; "" where only time can tell.
    """

    id: str
    until_s: float
    holder: str


@final
class Control(Record):
    """An operator's word, which stands above what the circuit says.

    "open" lets nobody through, and a probe when it ends. "closed" lets everybody through, and the circuit is closed
    when it ends. "disabled" lets nobody through, and the circuit is what it was when it ends. "isolated" is "open" that
    no reset lifts. Only `Release` ends the last two early.

    Attributes:
        kind: see above.
        author: who said it.
        reason: why.
        lasts_s: for how long, in seconds; None until it is lifted.
        until_s: when it ends; None with `lasts_s`.
        since: when it was said, for people.
    """

    kind: ControlKind
    author: str
    reason: str
    lasts_s: float | None = None
    until_s: float | None = None
    since: str = ""


@final
class Circuit(Record):
    """One breaker's state.

    Attributes:
        phase: closed, open or half open.
        epoch: raised with every change of phase and by every operator; results of calls that were admitted in an
            earlier one are late and decide nothing.
        failures: in a row, while closed.
        successes: of probes in a row, while half open.
        openings: how many openings followed each other; the cool-down grows with it.
        cooldown_s: how long the last one was.
        retry_at_s: when the next probe may be sent, while open.
        closed_at_s: when it closed; an opening within a cool-down of this is a repeated one.
        permits: of the probes under way.
        window: what ended lately, oldest first; empty where no rate is looked at.
        control: what an operator said.
    """

    phase: Phase = "closed"
    epoch: int = 0
    failures: int = 0
    successes: int = 0
    openings: int = 0
    cooldown_s: float = 0.0
    retry_at_s: float = 0.0
    closed_at_s: float = 0.0
    permits: tuple[Permit, ...] = ()
    window: tuple[Bucket, ...] = ()
    control: Control | None = None


@final
class Ask(Record):
    """May a call begin?

    Attributes:
        permit: an id for the permit, should it become a probe.
        holder: see `Permit`.
        gone: holders that are known to be dead.
    """

    permit: str
    holder: str = ""
    gone: frozenset[str] = frozenset()


@final
class Succeeded(Record):
    """A call ended well; `epoch` and `permit` are those of its admission, None for one that nobody asked for."""

    epoch: int | None = None
    permit: str = ""
    duration_s: float = 0.0


@final
class Failed(Record):
    """A call failed.

    Attributes:
        epoch: see `Succeeded`.
        permit: see `Succeeded`.
        duration_s: how long it took.
        chance: from 0 to 1, for the jitter.
        retry_after_s: the service asked to be left alone for so long; 0 if it did not.
    """

    epoch: int | None = None
    permit: str = ""
    duration_s: float = 0.0
    chance: float = 0.0
    retry_after_s: float = 0.0


@final
class Abandoned(Record):
    """A call was cancelled or interrupted, which says nothing about the service."""

    epoch: int | None = None
    permit: str = ""


@final
class Probe(Record):
    """An operator ends the cool-down: the next call is a probe."""


@final
class Reset(Record):
    """An operator closes the circuit and forgets what was counted; "disabled" and "isolated" stay."""


@final
class Hold(Record):
    """An operator's word from now on."""

    control: Control


@final
class Release(Record):
    """An operator's word ends now."""


@final
class Admitted(Record):
    """The call may begin.

    Attributes:
        epoch: to be named by its result.
        permit: to be named as well; "" for one that is no probe.
    """

    epoch: int
    permit: str = ""


@final
class Refused(Record):
    """The call may not begin.

    Attributes:
        reason: why.
        retry_in_s: when to ask again, in seconds; None if nobody knows.
    """

    reason: Refusal
    retry_in_s: float | None


@final
class Changed(Record):
    """The phase changed; for events and logs."""

    old: Phase
    new: Phase
    why: str


@final
class ControlEnded(Record):
    """An operator's word ended by itself or was lifted."""

    control: Control


@final
class Late(Record):
    """The result belongs to an earlier epoch, or to a permit that went to another: it was not counted."""


Event: TypeAlias = "Ask | Succeeded | Failed | Abandoned | Probe | Reset | Hold | Release"
Action: TypeAlias = "Admitted | Refused | Changed | ControlEnded | Late"
