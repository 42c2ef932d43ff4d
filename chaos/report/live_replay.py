"""The replay file of a finding in living processes: what was run, and the recipe that makes it happen again.

    {"format": "chaos-replay", "version": 1, "kind": "race", "finding": "0123456789ab", "scenario": "lock",
     "oracle": "exclusive", "recipe": "3:1 17:0", "seed": 0, "settings": {"steps": "2000"},
     "targets": {"worker 1": {"kind": "python", "ref": "targets:worker", "search": ["..."]}, ...}, ...}

As `replay.py` has it: data, never code; a function inside a test can't be named. Which targets and settings there are
is the kind's own affair. Read `folder.py` next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from chaos.child.target import Target
from chaos.errors import UsageError
from chaos.report.document import check_format
from chaos.report.plain import from_plain, parse_json, to_json, to_plain
from chaos.report.targets import target_data, target_from

__all__ = ["LIVE_KINDS", "LiveReplay", "dump_live_replay", "load_live_targets", "read_live_replay"]

LIVE_KINDS = ("inject", "race", "fleet", "agent")
_FORMAT, _VERSION = "chaos-replay", 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReplay:
    """One episode of living processes.

    Attributes:
        kind: of the scenario.
        finding: the finding's id.
        scenario: its scenario's name.
        oracle: which oracle objected.
        recipe: what was done to the processes, in the kind's own words; with the targets it makes it happen again.
        oracles: all that judged.
        seed: of the run.
        origin: the file or test that the scenario came from.
        settings: of the kind, as texts.
    """

    kind: str
    finding: str
    scenario: str
    oracle: str
    recipe: str
    oracles: tuple[str, ...] = ()
    seed: int = 0
    origin: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def dump_live_replay(replay: LiveReplay, targets: Mapping[str, Target]) -> bytes:
    """The replay file's content; `targets` are named as the kind names them."""
    named = {name: target_data(target) for name, target in targets.items()}
    return to_json({"format": _FORMAT, "version": _VERSION, **to_plain(replay), "targets": named}, indent=2) + b"\n"


def read_live_replay(data: Mapping[str, Any], name: str) -> LiveReplay:
    """A replay from a file's parsed content, without its targets.

    Args:
        data: the content.
        name: the file's name, for errors.

    Raises:
        UsageError: it is not a replay file, is damaged or newer, or of an unknown kind.
    """
    check_format(dict(data), _FORMAT, _VERSION, name)
    if data.get("kind") not in LIVE_KINDS:
        known = ", ".join(("explore", *LIVE_KINDS))
        raise UsageError(
            f"{name} is of the unknown kind {data.get('kind')!r}; known are {known}", "update pytest-guardrails"
        )
    return from_plain(LiveReplay, data, name)


def load_live_targets(content: bytes, name: str) -> dict[str, Target]:
    """The targets that a replay file names.

    Args:
        content: the file's bytes.
        name: its name, for errors.

    Raises:
        UsageError: they are damaged, or functions inside a test.
    """
    data = parse_json(content, name)
    replay, targets = read_live_replay(data, name), data.get("targets")
    if not isinstance(targets, dict) or not targets:
        raise UsageError(f"{name}.targets is missing", "the file is damaged")
    found = {key: target_from(one, f"{name}.targets.{key}", replay.origin) for key, one in targets.items()}
    return {key: target for key, target in found.items() if target is not None}
