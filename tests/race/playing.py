"""Stages and schedules for the tests of races."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from chaos.child.target import PythonTarget
from chaos.history import LiveRun
from chaos.race.exploring import Search
from chaos.race.stage import Played, Players, Stage
from chaos.scenario.runner.interleaving import live_run

__all__ = ["episodes", "players", "runs", "staged", "target"]

# Of racers that go beyond it, or are to be told from those that do.
_DEADLINES_S = {"computes": 1.0, "waits_outside": 1.0, "waits_at_once": 1.0, "waits_for_a_busy_child": 2.0}
_HERE = str(Path(__file__).parent)


def target(name: str) -> PythonTarget:
    return PythonTarget(ref=name if ":" in name else f"targets:{name}", search=(_HERE,))


def players(*names: str, setup: str = "", check: str = "", steps: int | None = None) -> Players:
    return Players(
        workers=[target(name) for name in names],
        setup=target(setup) if setup else None,
        check=target(check) if check else None,
        steps=steps,
        deadline_s=next((_DEADLINES_S[name] for name in names if name in _DEADLINES_S), None),
    )


@contextmanager
def staged(*names: str, setup: str = "", check: str = "", steps: int | None = None) -> Iterator[Stage]:
    with Stage(players(*names, setup=setup, check=check, steps=steps)) as stage:
        yield stage


def episodes(count: int, *names: str, seed: int = 0, check: str = "", setup: str = "") -> list[Played]:
    with staged(*names, setup=setup, check=check) as stage:
        return list(islice(Search(stage, seed=seed, participants=len(names)), count))


def runs(played: Sequence[Played]) -> list[LiveRun]:
    return [live_run(one) for one in played]
