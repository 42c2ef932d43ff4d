"""The tables `[[network]]` of a scenario file: what a proxy does to connections. Read `agent.py` for who has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.errors import UsageError
from chaos.faults.network_rules import Corrupt, Cut, Delay, Direction, Ending, Fault, Rule, SlowClose, Throttle
from chaos.scenario.fields.pieces import COUNT, DURATION
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Tables, choice, each, measured

__all__ = ["CONNECTION_FIELDS", "NETWORK", "rules_from", "rules_of"]


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ValueError("a number above 0 and at most 1")
    return float(value)


_SHARE = measured({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, _share)
CONNECTION_FIELDS = (
    Field(key="latency", shape=DURATION, about="bytes arrive so much later"),
    Field(key="jitter", shape=DURATION, about="up to so much more or less than the latency"),
    Field(key="bytes_per_second", shape=COUNT, about="the connection carries no more than this"),
    Field(key="corrupt", shape=_SHARE, about="each byte is changed with this probability"),
    Field(key="slow_close", shape=DURATION, about="the end of the stream arrives so much later"),
    Field(key="cut", shape=choice([one.value for one in Ending]), about="how the connection is cut"),
    Field(
        key="after_bytes",
        shape=measured({"type": "integer", "minimum": 0}, _whole),
        about="of a cut: how many bytes arrive first; none unless given",
    ),
    Field(
        key="direction",
        shape=choice([one.value for one in Direction]),
        about='"upstream" is what the client sends, "downstream" what it is answered; both unless given',
    ),
    Field(
        key="connections",
        shape=each(COUNT, "a list of numbers from 1", at_least=1, unique=True),
        about="which connections, as they come, from 1; all unless given",
    ),
    Field(key="probability", shape=_SHARE, about="how many of those, by chance; all unless given"),
)
NETWORK = Field(key="network", shape=Tables(fields=CONNECTION_FIELDS), about="what is done to connections on their way")
_FAULTS = ("latency", "bytes_per_second", "corrupt", "slow_close", "cut")


def rules_from(reader: Reader, tables: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rules that the tables give; what is wrong is reported to the reader."""
    return tuple(rule for place, given in enumerate(tables) for rule in _rules(reader, given, place))


def rules_of(given: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules that one table gives.

    Raises:
        UsageError: what is wrong with it.
    """
    return tuple(_rule(fault, given) for fault in _faults(given))


def _rules(reader: Reader, given: Mapping[str, Any], place: int) -> tuple[Rule, ...]:
    try:
        return rules_of(given)
    except UsageError as error:
        reader.report(("network", place), error.message, error.hint)
        return ()


def _faults(given: Mapping[str, Any]) -> list[Fault]:
    for key, needed in (("jitter", "latency"), ("after_bytes", "cut")):
        if key in given and needed not in given:
            raise UsageError(f"{key} means something with {needed} alone", f"add {needed}")
    if not any(key in given for key in _FAULTS):
        raise UsageError("nothing is done to any connection", f"give one of: {', '.join(_FAULTS)}")
    found: list[Fault] = []
    if "latency" in given:
        found.append(Delay(latency_s=given["latency"], jitter_s=given.get("jitter", 0.0)))
    if "bytes_per_second" in given:
        found.append(Throttle(bytes_per_s=given["bytes_per_second"]))
    if "corrupt" in given:
        found.append(Corrupt(rate=given["corrupt"]))
    if "slow_close" in given:
        found.append(SlowClose(delay_s=given["slow_close"]))
    if "cut" in given:
        found.append(Cut(how=Ending(given["cut"]), after_bytes=given.get("after_bytes", 0)))
    return found


def _rule(fault: Fault, given: Mapping[str, Any]) -> Rule:
    connections = given.get("connections")
    return Rule(
        fault=fault,
        direction=Direction(given.get("direction", Direction.BOTH.value)),
        connections=None if connections is None else frozenset(connections),
        probability=given.get("probability", 1.0),
    )
