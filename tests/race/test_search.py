"""The search is a function of its seed, finds what it is for, and what it found is played again exactly."""

import os
from collections.abc import Mapping
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.errors import UsageError
from chaos.oracles.exclusive import exclusive
from chaos.race.episode import Episode, Step
from chaos.race.exploring import Search
from chaos.race.moves import Form, Move
from chaos.race.policies import Pct, Policy, Preemptions, RandomWalk, Switches, policy_for
from chaos.race.shrinking import shrunk, switches_of
from chaos.race.stage import Played
from chaos.race.wording import recipe_of, schedule_of
from chaos.scenario.runner.interleaving import live_run
from tests.race.playing import staged

ONE, TWO, THREE = ((name,) * size for name, size in (("add_one", 1), ("add_one", 2), ("add_one", 3)))


def digest(*names: str, seed: int, count: int = 30, setup: str = "") -> str:
    with staged(*names, setup=setup) as stage:
        search = Search(stage, seed=seed, participants=len(names))
        list(islice(search, count))
        return search.digest


def lost(played: Played) -> bool:
    return played.check is not None and played.check.ending.value != "returned"


@pytest.mark.parametrize("names", [THREE, ("polls", "polls"), ("by_chance", "by_chance")])
def test_the_same_seed_gives_the_same_histories_and_another_one_others(names: tuple[str, ...]) -> None:
    first, again, other = (digest(*names, seed=seed, setup="zero") for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_lost_update_is_found_and_played_again_twenty_times_from_its_recipe() -> None:
    with staged(*TWO, setup="zero", check="is_counted") as stage:
        found = next(filter(lost, islice(Search(stage, seed=0, participants=2), 200)))
        recipe = recipe_of(switches_of(found.episode))
    with staged(*TWO, setup="zero", check="is_counted") as stage:
        for _ in range(20):
            again = stage.play(Switches(schedule_of(recipe), participants=2))
            assert again.episode.steps == found.episode.steps
            assert lost(again)


def test_a_schedule_is_shrunk_to_the_switches_that_matter() -> None:
    with staged(*THREE, setup="zero", check="is_counted") as stage:
        found = next(filter(lost, islice(Search(stage, seed=1, participants=3), 200)))

        def play(switches: Mapping[int, int]) -> tuple[Played, None] | None:
            played = stage.play(Switches(switches, participants=3))
            return (played, None) if lost(played) else None

        fewest, (played, _) = shrunk(switches_of(found.episode), play)
        assert lost(played)
        # Somebody must be interrupted between its read and its write, and that is all that it takes.
        assert len(fewest) == 1
        for step in fewest:
            assert play({one: who for one, who in fewest.items() if one != step}) is None


def pretended(switches: Mapping[int, int], calls: int) -> Played:
    """What two racers of so many calls, which never wait, do under a schedule."""
    episode, policy, last, left = Episode(2), Switches(switches, participants=2), -1, {0: calls, 1: calls}
    while ready := tuple(racer for racer, count in left.items() if count):
        last = policy.choose(len(episode.steps), ready, last)
        left[last] -= 1
        episode.steps.append(Step(last, Move("say", Form.SAY)))
        episode.ready.append(ready)
        episode.free += 1
    return Played(episode, (), None)


@given(st.lists(st.integers(0, 1), min_size=20, max_size=20))
def test_turns_that_do_not_matter_are_joined(order: list[int]) -> None:
    """Whatever the order it began with: three turns show that a call of one lies between two of the other."""

    def play(switches: Mapping[int, int]) -> tuple[Played, None] | None:
        played = pretended(switches, calls=10)
        who = [step.participant for step in played.episode.steps]
        first, last = who.index(0), len(who) - 1 - who[::-1].index(0)
        return (played, None) if 1 in who[first:last] else None

    start = dict(enumerate(order))
    if play(start) is None:
        return
    fewest, _ = shrunk(start, play)
    assert len(fewest) <= 2


def test_a_schedule_that_does_not_go_wrong_again_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="does not go wrong"):
        shrunk({1: 1}, lambda _: None)


def test_a_correct_lock_survives_every_order_tried() -> None:
    with staged("locked", "locked", "locked") as stage:
        for played in islice(Search(stage, seed=3, participants=3), 300):
            assert exclusive(live_run(played).said) is None
            assert [one.ending.value for one in played.outcomes] == ["returned"] * 3


@pytest.mark.parametrize(("racers", "orders"), [(2, 6), (3, 90)])
def test_a_small_race_is_played_in_every_order_there_is_and_then_it_ends(racers: int, orders: int) -> None:
    """Racers of two statements each have (2n)! / 2**n orders."""
    with staged(*["tells"] * racers) as stage:
        search = Search(stage, seed=0, participants=racers)
        systematic = [played for number, played in enumerate(search) if number % 2]
    seen = [tuple(step.participant for step in played.episode.steps) for played in systematic]
    assert (len(seen), len(set(seen))) == (orders, orders), "each once"
    assert search.exhausted


def test_a_race_with_sleeps_is_never_called_exhausted() -> None:
    with staged("sleeps_long", "nothing") as stage:
        search = Search(stage, seed=0, participants=2)
        list(islice(search, 40))
    assert (search.episodes, search.switches) == (40, 0)
    assert not search.exhausted


def test_the_levels_of_switches_are_counted() -> None:
    with staged("tells", "tells") as stage:
        search = Search(stage, seed=0, participants=2)
        levels = [search.switches for _ in search]
    assert levels == sorted(levels)
    assert levels[0] == -1
    assert {0, 1, 2} <= set(levels)


@given(
    st.integers(),
    st.integers(0, 100),
    st.lists(st.sets(st.integers(0, 4), min_size=1).map(sorted), max_size=30),
)
def test_every_policy_chooses_among_the_ready_and_the_same_for_the_same_seed(
    seed: int, number: int, steps: list[list[int]]
) -> None:
    def chosen() -> list[int]:
        policy, last, found = policy_for(seed, number, participants=3, length=20), -1, []
        for step, ready in enumerate(steps):
            last = policy.choose(step, ready, last)
            assert last in ready
            found.append(last)
        return found

    assert chosen() == chosen()


def orders(policy: Policy, steps: int, racers: int = 3) -> list[int]:
    found, last = [], -1
    for step in range(steps):
        last = policy.choose(step, range(racers), last)
        found.append(last)
    return found


def test_a_random_walk_lets_everyone_go() -> None:
    assert set(orders(RandomWalk("1"), 60)) == {0, 1, 2}


def test_pct_changes_the_leader_at_most_depth_minus_one_times() -> None:
    for seed in range(20):
        order = orders(Pct(str(seed), participants=3, depth=3, length=30), 30)
        assert sum(one != other for one, other in pairwise(order)) <= 2


def test_preemptions_switch_as_often_as_they_say() -> None:
    for seed in range(20):
        order = orders(Preemptions(str(seed), participants=3, count=2, length=30), 30)
        assert sum(one != other for one, other in pairwise(order)) <= 2


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_the_switches_of_an_episode_give_the_same_order_again(order: list[int]) -> None:
    episode = Episode(3, free=len(order))
    for who in order:
        episode.steps.append(Step(who, Move("say", Form.SAY)))
        episode.ready.append((0, 1, 2))
    assert orders(Switches(switches_of(episode), participants=3), len(order)) == order


@given(st.dictionaries(st.integers(0, 10**6), st.integers(0, 50)))
def test_a_schedule_is_read_back_from_its_text(switches: dict[int, int]) -> None:
    assert schedule_of(recipe_of(switches)) == switches


@pytest.mark.parametrize("text", ["", "1", "1>2>3", "a>b", "1>2  3>4"])
def test_a_text_that_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a schedule"):
        schedule_of(text)


def test_a_stage_leaves_no_folder_behind() -> None:
    with staged("notes", "notes") as stage:
        folder = os.path.dirname(stage.folder)
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)
