"""Waiting costs no real time, and is over for the right reason; what is out of sight is said to be."""

from pathlib import Path

import pytest

from chaos.oracles.exclusive import exclusive
from chaos.race.policies import Impatient, RandomWalk, Switches
from chaos.race.shrinking import shrunk, switches_of
from chaos.race.waits import rest_steps
from chaos.report import Status, status
from chaos.scenario import Race, Scenario
from chaos.scenario.model import Budget
from tests.race.playing import episodes, runs, staged, target
from tests.scenario.test_races import ran

# What each racer returns when its time is over.
WAITERS = {"event": "false", "selecting": "[0,0,0]", "polling": "0", "edges": "0", "coroutine": "0", "until": "60"}
TOLD = {"told_by_thread": "true", "told_by_child": "true", "taken_from_queue": "7"}


@pytest.mark.parametrize("racer", WAITERS)
def test_a_time_limit_of_an_hour_passes_at_once(racer: str) -> None:
    for played in episodes(2, f"waiting:{racer}", "notes"):
        assert played.episode.cut == ""
        assert played.outcomes[0].value == WAITERS[racer]


@pytest.mark.parametrize("racer", TOLD)
def test_who_is_told_in_time_is_not_told_that_time_is_over(racer: str) -> None:
    played = episodes(12, f"waiting:{racer}", f"waiting:{racer}")
    assert {outcome.value for one in played for outcome in one.outcomes} == {TOLD[racer]}


def test_those_who_wait_equally_long_go_on_together() -> None:
    """Once the time of one is over, that of the other is too: they race from there on."""
    with staged("waiting:event", "waiting:event") as stage:
        ready = stage.play(Switches({}, participants=2)).episode.ready
    assert ready in ([(0, 1), (1,)], [(0,), (1,)])
    with staged("waiting:until", "waiting:until") as stage:
        assert (0, 1) in stage.play(RandomWalk("0")).episode.ready


def test_a_sleeper_may_be_woken_early_a_few_times_and_a_schedule_repeats_it() -> None:
    """A process may be stopped while another one sleeps; so a lock that is robbed after three sleeps is none."""
    names = ["waiting:robs_the_patient"] * 2
    wrong = [played for played in episodes(150, *names) if exclusive(runs([played])[0].said)]
    assert wrong
    with staged(*names) as stage:

        def play(schedule: object) -> object:
            played = stage.play(Switches(schedule, participants=2))  # type: ignore[arg-type]
            return (played, None) if exclusive(runs([played])[0].said) else None

        switches, (played, _) = shrunk(switches_of(wrong[0].episode), play)  # type: ignore[arg-type]
    assert switches == switches_of(played.episode)


def test_an_impatient_policy_takes_sleepers_for_ready() -> None:
    chosen = {Impatient(RandomWalk(str(seed))).choose(0, (1,), 1, (0,)) for seed in range(20)}
    assert chosen == {0, 1}
    assert RandomWalk("0").choose(0, (1,), 1, (0,)) == 1


@pytest.mark.parametrize(("wait_s", "steps"), [(0.0005, 1), (0.01, 10), (0.0093, 10), (0.5, 1000), (3600, 3000)])
def test_the_rest_of_a_wait_is_coarse(wait_s: float, steps: int) -> None:
    assert rest_steps(wait_s) == steps


def mapping(**more: object) -> Scenario:
    workers = (target("waiting:maps"), target("waiting:maps"))
    drive = Race(workers=workers, setup=target("waiting:make_mapped"), **more)  # type: ignore[arg-type]
    return Scenario(name="mapped", drive=drive, budget=Budget(states=5))


def test_what_is_changed_through_shared_memory_is_not_measured(tmp_path: Path) -> None:
    result = ran(mapping(), tmp_path)
    assert status(result) is Status.NOT_MEASURED
    assert "workers change mapped through shared memory" in str(result.stop)


def test_a_file_that_is_excluded_may_be_changed_through_memory(tmp_path: Path) -> None:
    assert status(ran(mapping(exclude=("map*",)), tmp_path)) is Status.PASSED
