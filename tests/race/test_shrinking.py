"""A schedule that goes wrong becomes as small as Hypothesis makes it, and is played again as it was found."""

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st

from chaos.observations import Ending
from chaos.race.policies import RandomWalk, Switches
from chaos.race.shrinking import shrunk, switches_of
from chaos.race.stage import Played, Stage
from tests.race.playing import staged

SCHEDULES = st.dictionaries(st.integers(0, 30), st.integers(0, 2), max_size=8)


def goes_wrong(played: Played) -> bool:
    return played.check is not None and played.check.ending is Ending.RAISED


def played_by(stage: Stage, schedule: Mapping[int, int]) -> Played:
    return stage.play(Switches(schedule, participants=3))


def test_shrinking_that_has_no_time_left_gives_the_schedule_as_it_is() -> None:
    with staged("add_one", "add_one", "add_one", setup="zero", check="is_counted") as stage:
        walks = (stage.play(RandomWalk(str(seed))) for seed in range(50))
        wrong = next(played for played in walks if goes_wrong(played))
        tried: list[Mapping[int, int]] = []

        def again(schedule: Mapping[int, int]) -> tuple[Played, None] | None:
            tried.append(schedule)
            return played_by(stage, schedule), None

        small, _ = shrunk(switches_of(wrong.episode), again, limit_s=0.0)
    assert (small, tried) == (switches_of(wrong.episode), [small])


@pytest.mark.slow
def test_a_schedule_is_shrunk_as_small_as_hypothesis_makes_it() -> None:
    with staged("add_one", "add_one", "add_one", setup="zero", check="is_counted") as stage:
        walks = (stage.play(RandomWalk(str(seed))) for seed in range(50))
        wrong = next(played for played in walks if goes_wrong(played))
        assert len(switches_of(wrong.episode)) > 2

        def again(schedule: Mapping[int, int]) -> tuple[Played, None] | None:
            played = played_by(stage, schedule)
            return (played, None) if goes_wrong(played) else None

        small, _ = shrunk(switches_of(wrong.episode), again)
        smallest = find(
            SCHEDULES,
            lambda schedule: goes_wrong(played_by(stage, schedule)),
            settings=settings(database=None, deadline=None, max_examples=100, suppress_health_check=list(HealthCheck)),
        )
        least = switches_of(played_by(stage, smallest).episode)
    assert len(small) <= len(least)
    assert len(small) <= 2
