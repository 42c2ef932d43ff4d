"""The replay file of a finding: everything that rebuilds its crash state and runs recovery on it once more.

It is data: names, numbers and texts, never code and never pickle. A target that is a closure of a test can't be
named in it; such a finding is replayed by running that test again. A finding of another kind than `explore` has a
replay file of another shape, told by the key `kind`: read `live_replay.py` for those.

    {"format": "chaos-replay", "version": 1, "finding": "0123456789ab", "scenario": "saver", "oracle": "recovers",
     "trace": "../../traces/saver.trace", "model": "kill", "recipe": "...", "point": 4, "acked": 1, "seed": 0,
     "roles": {"workload": {"kind": "python", "ref": "targets:workload", "search": ["..."]}, ...}, ...}
"""

from dataclasses import dataclass, fields
from typing import final

from chaos.child.target import Roles
from chaos.errors import UsageError
from chaos.report.document import check_format
from chaos.report.live_replay import LiveReplay, read_live_replay
from chaos.report.plain import from_plain, parse_json, to_json, to_plain
from chaos.report.targets import target_data, target_from

__all__ = ["FORMAT", "VERSION", "FirstCrashReplay", "Replay", "dump_replay", "load_replay", "read_any", "read_replay"]

FORMAT = "chaos-replay"
VERSION = 1
_ROLES = tuple(field.name for field in fields(Roles))
_NEEDED = ("workload", "recover")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCrashReplay:
    """The state of a first crash, from which the run of the replay's own trace started.

    Attributes:
        trace: the first run's trace file, relative to the replay file.
        model: the persistence model's name.
        recipe: the state.
        point: its crash point.
        acked: how many of the first run's acknowledgements had been made.
    """

    trace: str
    model: str
    recipe: str
    point: int
    acked: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One crash state and what to do on it.

    Attributes:
        finding: the finding's id.
        scenario: its scenario's name.
        origin: the file or test that the scenario came from.
        oracle: which oracle objected.
        oracles: all that judged.
        trace: the trace file, relative to the replay file.
        model: the persistence model's name.
        recipe: the state; "" for the undamaged tree at `point`.
        point: its crash point.
        acked: how many acknowledgements had been made.
        seed: of the exploration.
        deadline_s: for one recovery.
        memory_bytes: for one recovery.
        bound: how many free micro-operations were enumerated exhaustively.
        first: the crash before, when it takes two; the trace is then of the second run, and has the acknowledgements
            of both.
        clean: the trace of the same workload without faults, when the trace is of a run that faults struck: what is
            right is read off it.
    """

    finding: str
    scenario: str
    oracle: str
    trace: str
    model: str
    recipe: str
    point: int
    acked: int
    seed: int = 0
    origin: str = ""
    oracles: tuple[str, ...] = ()
    deadline_s: float | None = None
    memory_bytes: int | None = None
    bound: int | None = None
    first: FirstCrashReplay | None = None
    clean: str = ""

    @property
    def crashes(self) -> str:
        """The state in words: one crash, or both."""
        last = f"state {self.recipe or 'undamaged'} of model {self.model}, point {self.point}"
        if self.first is None:
            return last
        before = f"state {self.first.recipe} of model {self.first.model}, point {self.first.point}"
        return f"first crash: {before}; then run on; second crash: {last if self.recipe else 'none'}"


def dump_replay(replay: Replay, roles: Roles) -> bytes:
    """The replay file's content."""
    targets = {name: target_data(getattr(roles, name)) for name in _ROLES}
    return to_json({"format": FORMAT, "version": VERSION, **to_plain(replay), "roles": targets}, indent=2) + b"\n"


def load_replay(content: bytes, name: str) -> tuple[Replay, Roles]:
    """Read a replay file.

    Args:
        content: its bytes.
        name: the file's name, for errors.

    Raises:
        UsageError: it is not a replay file, is damaged or newer, or its target is a closure of a test.
    """
    replay = read_replay(content, name)
    roles = parse_json(content, name).get("roles")
    if not isinstance(roles, dict):
        raise UsageError(f"{name}.roles is missing", "the file is damaged")
    found = {role: target_from(roles.get(role), f"{name}.roles.{role}", replay.origin) for role in _ROLES}
    for role in _NEEDED:
        if found[role] is None:
            raise UsageError(f"{name}.roles.{role} is missing", "the file is damaged")
    return replay, Roles(**found)  # type: ignore[arg-type]  # the two that may not be None were looked at


def read_replay(content: bytes, name: str) -> Replay:
    """Read a replay file without its target, which may be a closure of a test.

    Args:
        content: its bytes.
        name: the file's name, for errors.

    Raises:
        UsageError: it is not a replay file, is damaged or newer.
    """
    data = parse_json(content, name)
    check_format(data, FORMAT, VERSION, name)
    return from_plain(Replay, data, name)


def read_any(content: bytes, name: str) -> Replay | LiveReplay:
    """Read a finding's replay file, of whatever kind, without its target.

    Args:
        content: its bytes.
        name: the file's name, for errors.

    Raises:
        UsageError: it is not a replay file, is damaged or newer, or of an unknown kind.
    """
    data = parse_json(content, name)
    return read_live_replay(data, name) if data.get("kind", "explore") != "explore" else read_replay(content, name)
