"""What may be done to a TCP connection, as data, and which connections it is done to.

Directions are named as in Toxiproxy: *upstream* is what the client sends to the server, *downstream* what the server
answers. Faults of several rules add up: each delay is waited for, each byte may be flipped, and the first cut that is
reached wins. Whether a rule with a probability hits a connection is drawn from the seed, the rule's place and the
connection's number alone, so it does not depend on when connections come. Data only; read `network/proxy.py` for who
carries it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from random import Random
from typing import Any, final

from chaos.errors import UsageError, is_usage

__all__ = [
    "Corrupt",
    "Cut",
    "Delay",
    "Direction",
    "Ending",
    "Fault",
    "Rule",
    "SlowClose",
    "Throttle",
    "rule_data",
    "rule_from",
    "rule_words",
]

# In a test that gave a wrong value, pytest shows the line of the test.
__tracebackhide__ = is_usage


@final
class Direction(str, Enum):
    """Which bytes."""

    UPSTREAM = "upstream"  # from the client to the server
    DOWNSTREAM = "downstream"  # from the server to the client
    BOTH = "both"


@final
class Ending(str, Enum):
    """How a cut connection looks to its two ends."""

    RESET = "reset"  # both ends get a TCP reset
    TRUNCATE = "truncate"  # both ends see an orderly end of the stream
    BLACKHOLE = "blackhole"  # further bytes of this direction, and its end, vanish; nobody is told
    HALF_OPEN = "half open"  # the receiver gets a reset, the sender is not told and never hears anything again


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Bytes arrive later, in order; the connection carries as much as before.

    Attributes:
        latency_s: by how much, 0 or more.
        jitter_s: up to how much more or less, drawn evenly; never below 0 altogether.
    """

    latency_s: float
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("latency_s", "jitter_s"):
            if not 0 <= _number(getattr(self, name)) < float("inf"):
                raise UsageError(f"{name} of a delay must be seconds, 0 or more, not {getattr(self, name)!r}")

    def draw_s(self, random: Random) -> float:
        """One delay, in seconds."""
        return max(0.0, self.latency_s + random.uniform(-self.jitter_s, self.jitter_s))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The connection carries no more than this in a second."""

    bytes_per_s: float

    def __post_init__(self) -> None:
        if not 0 < _number(self.bytes_per_s) < float("inf"):
            raise UsageError(f"bytes_per_s must be above 0, not {self.bytes_per_s!r}", "cut with a blackhole instead")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt:
    """Bytes are changed on the way, each with this probability; which and to what depends on the seed alone."""

    rate: float

    def __post_init__(self) -> None:
        if not 0 < _number(self.rate) <= 1:
            raise UsageError(f"rate is a probability above 0 and at most 1, not {self.rate!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose:
    """The end of the stream is passed on so much later."""

    delay_s: float

    def __post_init__(self) -> None:
        if not 0 < _number(self.delay_s) < float("inf"):
            raise UsageError(f"delay_s must be above 0, not {self.delay_s!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection is cut when more than so many bytes have come in this direction; those arrive."""

    how: Ending
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.how, Ending):
            raise UsageError(f"how a connection is cut must be an Ending, not {self.how!r}", "such as Ending.RESET")
        if not (type(self.after_bytes) is int and self.after_bytes >= 0):
            raise UsageError(f"after_bytes must be 0 or more, not {self.after_bytes!r}")


def _number(value: object) -> float:
    """NaN for what is none, which is in no range."""
    return float("nan") if isinstance(value, bool) or not isinstance(value, (int, float)) else value


Fault = Delay | Throttle | Corrupt | SlowClose | Cut


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault, and where it applies.

    Attributes:
        fault: what is done.
        direction: to which bytes.
        connections: to which connections, counted from 1 as they were accepted; to all when None.
        probability: to how many of those, by chance.
    """

    fault: Fault
    direction: Direction = Direction.BOTH
    connections: frozenset[int] | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        fault: object = self.fault
        if not isinstance(fault, (Delay, Throttle, Corrupt, SlowClose, Cut)):
            hint = "such as Cut(how=Ending.RESET), Delay(latency_s=0.1), Throttle, Corrupt or SlowClose"
            raise UsageError(f"a fault of the network can't be {fault!r}", hint)
        if not 0 < _number(self.probability) <= 1:
            raise UsageError(f"probability must be above 0 and at most 1, not {self.probability!r}")
        if self.connections is not None and not (
            self.connections and all(type(number) is int and number >= 1 for number in self.connections)
        ):
            told = sorted(self.connections, key=repr)
            raise UsageError(f"connections are numbers, counted from 1, so they can't be {told}")

    def hits(self, connection: int, direction: Direction, *, seed: str) -> bool:
        """Whether it applies to this direction (UPSTREAM or DOWNSTREAM) of this connection."""
        if self.direction not in (Direction.BOTH, direction):
            return False
        if self.connections is not None and connection not in self.connections:
            return False
        drawn = Random(f"{seed} hits {connection}").random()  # noqa: S311 - reproducible on purpose
        return drawn < self.probability


def rule_words(rule: Rule) -> str:
    """What a rule does, in a few words."""
    fault = rule.fault
    if isinstance(fault, Cut):
        told = f"{fault.how.value} after {fault.after_bytes} bytes"
    elif isinstance(fault, Delay):
        told = f"latency of {fault.latency_s:g} s"
    elif isinstance(fault, Throttle):
        told = f"{fault.bytes_per_s:g} bytes a second"
    else:
        told = (
            f"bytes corrupted at {fault.rate:g}" if isinstance(fault, Corrupt) else f"closes {fault.delay_s:g} s late"
        )
    return told if rule.direction is Direction.BOTH else f"{told}, {rule.direction.value}"


_FAULTS: dict[str, type[Fault]] = {
    "delay": Delay,
    "throttle": Throttle,
    "corrupt": Corrupt,
    "slow close": SlowClose,
    "cut": Cut,
}


def rule_data(rule: Rule) -> dict[str, Any]:
    """A rule as plain data, for a replay file."""
    (name,) = [name for name, kind in _FAULTS.items() if isinstance(rule.fault, kind)]
    given = {field.name: getattr(rule.fault, field.name) for field in fields(rule.fault)}
    return {
        "fault": name,
        **{key: value.value if isinstance(value, Ending) else value for key, value in given.items()},
        "direction": rule.direction.value,
        "connections": None if rule.connections is None else sorted(rule.connections),
        "probability": rule.probability,
    }


def rule_from(data: Mapping[str, Any]) -> Rule:
    """The rule of plain data.

    Raises:
        UsageError: it is none.
    """
    given = dict(data)
    try:
        kind = _FAULTS[given.pop("fault")]
        direction, connections = Direction(given.pop("direction")), given.pop("connections")
        probability = float(given.pop("probability"))
        if "how" in given:
            given["how"] = Ending(given["how"])
        fault = kind(**given)
        chosen = None if connections is None else frozenset(connections)
        return Rule(fault=fault, direction=direction, connections=chosen, probability=probability)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{dict(data)} is no rule of a network: {error}", "the file is damaged") from None
