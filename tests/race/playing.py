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

_HERE = str(Path(__file__).parent)


def target(name: str) -> PythonTarget:
    return PythonTarget(ref=name if ":" in name else f"targets:{name}", search=(_HERE,))


def players(*names: str, setup: str = "", check: str = "", steps: int | None = None) -> Players:
    return Players(
        workers=[target(name) for name in names],
        setup=target(setup) if setup else None,
        check=target(check) if check else None,
        steps=steps,
        deadline_s=1.0 if {"computes", "waits_outside"} & set(names) else None,
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
