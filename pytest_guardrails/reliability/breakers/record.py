"""What is kept of one hook, and what an event makes of it. Pure.

People see the documented fields; the policy's own circuit lies beside them. All times that people see are ISO 8601 in
UTC from the wall clock, and decide nothing; the circuit's are monotonic, of the boot that is named with them.

As JSON, in this order: `command`, `state` ("closed", "open", "half_open"), `failure_count`, `consecutive_failures`,
`consecutive_successes`, `first_failure`, `last_failure`, `last_success`, `last_error`, `disabled_at`, `retry_after`,
then fields that are not known here, `boot`, `circuit`. Read `hook_state.py` for where it goes.
"""

from collections.abc import Mapping
from datetime import datetime, timezone

from pytest_guardrails.hints import Any, final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.model import (
    Action,
    BreakerSettings,
    Bucket,
    Circuit,
    Control,
    Event,
    Failed,
    Permit,
    Phase,
    Reset,
    Succeeded,
)
from pytest_guardrails.reliability.breakers.policy import after_reboot, step

__all__ = [
    "DOCUMENTED",
    "ERROR_CHARACTERS",
    "OWN",
    "HookRecord",
    "Moment",
    "applied",
    "bounded",
    "instant",
    "iso",
    "parse",
    "plain_of",
    "shown",
]

ERROR_CHARACTERS = 1000  # a page of text; longer errors keep their end, where the cause stands
DOCUMENTED = (
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
)
_CIRCUIT = "circuit"
OWN = frozenset({"command", "boot", _CIRCUIT, *DOCUMENTED})  # no field that somebody added has such a name


@final
class Moment(Record):
    """When something happens.

    Attributes:
        monotonic_s: for decisions.
        wall_s: for people, seconds since 1970-01-01 UTC.
        boot: the boot to which the monotonic time belongs.
    """

    monotonic_s: float
    wall_s: float
    boot: str


@final
class HookRecord(Record):
    """One hook.

    Attributes:
        command: its name.
        failure_count: since the first failure or the last reset.
        consecutive_failures: in a row, up to now.
        consecutive_successes: in a row, up to now.
        first_failure: when.
        last_failure: when.
        last_success: when.
        last_error: its text, bounded.
        disabled_at: since when it has not been run freely; None while it is.
        retry_after: when it may be tried again; None if it may be now, or if nobody knows.
        circuit: the policy's state.
        boot: of the circuit's times.
        unknown: fields that a later version, or a person, has added; under "circuit" those of the circuit.
    """

    command: str
    failure_count: int = 0
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    first_failure: str | None = None
    last_failure: str | None = None
    last_success: str | None = None
    last_error: str | None = None
    disabled_at: str | None = None
    retry_after: str | None = None
    circuit: Circuit = Circuit()
    boot: str = ""
    unknown: Mapping[str, Any] = {}

    @property
    def state(self) -> Phase:
        """What people are shown: an operator's word counts before the circuit's own."""
        control = self.circuit.control
        if control is None:
            return self.circuit.phase
        return "closed" if control.kind == "closed" else "open"

    @property
    def is_disabled(self) -> bool:
        """Whether it is kept from running, or only tried."""
        return self.state != "closed"


def iso(wall_s: float) -> str:
    """A wall time as it is written."""
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="microseconds")


def instant(text: str) -> float:
    """The wall time, in seconds since 1970-01-01 UTC, that a written one stands for; without a zone it is UTC.

    Raises:
        ValueError: it is no ISO 8601 time.
    """
    # Python 3.10 does not know the "Z" that people and other programs write.
    found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def applied(
    record: HookRecord, event: Event, settings: BreakerSettings, moment: Moment, error: str = ""
) -> tuple[HookRecord, tuple[Action, ...]]:
    """The record after an event, and what follows from it; see `policy.step`."""
    circuit = record.circuit
    if record.boot != moment.boot and record.boot:
        circuit = after_reboot(circuit, moment.monotonic_s)
    circuit, actions = step(circuit, event, settings, moment.monotonic_s)
    record = _counted(record, event, moment, error)._replace(circuit=circuit, boot=moment.boot)
    return _dated(record, moment), actions


def _counted(record: HookRecord, event: Event, moment: Moment, error: str) -> HookRecord:
    if isinstance(event, Succeeded):
        return record._replace(
            consecutive_failures=0,
            consecutive_successes=record.consecutive_successes + 1,
            last_success=iso(moment.wall_s),
        )
    if isinstance(event, Failed):
        now = iso(moment.wall_s)
        return record._replace(
            failure_count=record.failure_count + 1,
            consecutive_failures=record.consecutive_failures + 1,
            consecutive_successes=0,
            first_failure=record.first_failure or now,
            last_failure=now,
            last_error=bounded(error),
        )
    if isinstance(event, Reset):
        return HookRecord(record.command, last_success=record.last_success, unknown=record.unknown)._replace(
            disabled_at=record.disabled_at, retry_after=record.retry_after
        )
    return record


def _dated(record: HookRecord, moment: Moment) -> HookRecord:
    """The record with `disabled_at` and `retry_after` as its circuit says."""
    circuit, control = record.circuit, record.circuit.control
    if not record.is_disabled:
        return record._replace(disabled_at=None, retry_after=None)
    if control is not None:
        left_s = None if control.until_s is None else control.until_s - moment.monotonic_s
    else:
        left_s = circuit.retry_at_s - moment.monotonic_s if circuit.phase == "open" else None
    if left_s is None:
        retry_after = None
    elif _same_instant(record.retry_after, moment.wall_s + left_s):
        retry_after = record.retry_after  # it was said before, and merely looks a little different now
    else:
        retry_after = iso(moment.wall_s + left_s)
    return record._replace(disabled_at=record.disabled_at or iso(moment.wall_s), retry_after=retry_after)


def _same_instant(text: str | None, wall_s: float) -> bool:
    return text is not None and abs(instant(text) - wall_s) < 0.5


def bounded(error: str) -> str:
    """An error's text as it is stored: valid Unicode, its end if it is long."""
    text = error.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= ERROR_CHARACTERS else "..." + text[3 - ERROR_CHARACTERS :]


def shown(record: HookRecord) -> dict[str, Any]:
    """The documented fields, and those that somebody added."""
    added = {name: value for name, value in record.unknown.items() if name != _CIRCUIT}
    return {**{name: getattr(record, name) for name in DOCUMENTED}, **added}


def plain_of(record: HookRecord) -> dict[str, Any]:
    """The record as it is stored."""
    circuit = record.circuit
    inner = circuit._asdict()
    inner["permits"] = [list(permit) for permit in circuit.permits]
    inner["window"] = [list(bucket) for bucket in circuit.window]
    inner["control"] = None if circuit.control is None else circuit.control._asdict()
    inner.update(record.unknown.get(_CIRCUIT, {}))
    return {"command": record.command, **shown(record), "boot": record.boot, _CIRCUIT: inner}


def parse(plain: Mapping[str, Any]) -> HookRecord:
    """The inverse of `plain_of`."""
    inner = plain["circuit"]
    control = inner["control"]
    circuit = Circuit(
        **{name: inner[name] for name in Circuit._fields if name not in ("permits", "window", "control")},
        permits=tuple(Permit(*permit) for permit in inner["permits"]),
        window=tuple(Bucket(*bucket) for bucket in inner["window"]),
        control=None if control is None else Control(**{name: control.get(name) for name in Control._fields}),
    )
    fields = {name: plain[name] for name in DOCUMENTED if name != "state"}
    unknown = {name: value for name, value in plain.items() if name not in OWN}
    if later := {name: value for name, value in inner.items() if name not in Circuit._fields}:
        unknown[_CIRCUIT] = later
    return HookRecord(command=plain["command"], **fields, circuit=circuit, boot=plain["boot"], unknown=unknown)
