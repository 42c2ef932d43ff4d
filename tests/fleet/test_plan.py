"""Plans: drawn by seed and by nothing else, written down and read again, and made smaller."""

from functools import partial
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, find, given, settings
from hypothesis import strategies as st

from chaos.errors import UsageError
from chaos.fleet import Fault, FaultKind, Plan, Restart, RestartPolicy, Strike, draw, parse_plan
from chaos.fleet.shrinking import shrunk

KILLS = Fault(kind=FaultKind.KILL, every_s=0.1)
FAULTS = st.lists(
    st.one_of(
        st.builds(Fault, kind=st.just(FaultKind.KILL), every_s=st.floats(0.05, 2), workers=st.integers(0, 9)),
        st.builds(
            Fault,
            kind=st.just(FaultKind.PAUSE),
            statements=st.integers(1, 50),
            count=st.integers(1, 9),
            lasts_s=st.floats(0.1, 3),
        ),
        st.builds(Fault, kind=st.just(FaultKind.MEMORY), every_s=st.floats(0.1, 1), amount=st.integers(1, 1 << 40)),
        st.builds(Fault, kind=st.just(FaultKind.CLOCK), every_s=st.floats(0.1, 1), shift_s=st.floats(-9e4, 9e4)),
        st.builds(Fault, kind=st.just(FaultKind.DISK_FULL), every_s=st.floats(0.1, 1)),
    ),
    max_size=4,
)
PLANS = st.builds(draw, st.integers(), st.integers(1, 9), FAULTS, st.floats(0.1, 5))


@given(seed=st.integers(), workers=st.integers(1, 9), faults=FAULTS, duration_s=st.floats(0.1, 5))
def test_equal_seeds_draw_equal_plans(seed: int, workers: int, faults: list[Fault], duration_s: float) -> None:
    assert draw(seed, workers, faults, duration_s).digest == draw(seed, workers, faults, duration_s).digest


def test_another_seed_draws_another_plan() -> None:
    assert len({draw(seed, 8, [KILLS], 5.0).digest for seed in range(100)}) == 100


def test_a_plan_stays_what_it_is_from_version_to_version() -> None:
    assert draw(7, 3, [Fault(kind=FaultKind.KILL, every_s=1.0)], 2.5).text == (
        '{"workers":3,"strikes":[{"at_s":1.205934,"kind":"kill","workers":[2]},'
        '{"at_s":1.765463,"kind":"kill","workers":[2]},{"at_s":2.42176,"kind":"kill","workers":[1]}]}'
    )


@given(plan=PLANS)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert parse_plan(plan.text) == plan


@given(plan=PLANS)
def test_strikes_come_in_order_and_hit_workers_that_there_are(plan: Plan) -> None:
    assert [one.at_s for one in plan.strikes] == sorted(one.at_s for one in plan.strikes)
    for strike in plan.strikes:
        assert set(strike.workers) <= set(range(plan.workers))
        assert bool(strike.workers) is (strike.kind is not FaultKind.DISK_FULL)


@given(seed=st.integers(), duration_s=st.floats(0.1, 5))
def test_no_strike_comes_too_late_or_too_often(seed: int, duration_s: float) -> None:
    strikes = draw(seed, 3, [Fault(kind=FaultKind.KILL, every_s=0.2, first_s=0.05, count=4)], duration_s).strikes
    assert len(strikes) <= 4
    assert all(0.05 <= one.at_s <= duration_s for one in strikes)
    gaps = [later.at_s - one.at_s for one, later in pairwise(strikes)]
    assert all(0.099 <= gap <= 0.301 for gap in gaps)


def test_one_more_family_changes_nothing_of_the_others() -> None:
    alone = draw(1, 4, [KILLS], 2.0).strikes
    both = draw(1, 4, [KILLS, Fault(kind=FaultKind.PAUSE, every_s=0.3, lasts_s=0.1)], 2.0).strikes
    assert [one for one in both if one.kind is FaultKind.KILL] == list(alone)


def test_all_workers_are_struck_where_all_are_meant() -> None:
    strikes = draw(1, 4, [Fault(kind=FaultKind.KILL, every_s=0.5, workers=0)], 2.0).strikes
    assert strikes
    assert all(one.workers == (0, 1, 2, 3) for one in strikes)


def test_a_plan_of_millions_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 100000 strikes"):
        draw(1, 2, [Fault(kind=FaultKind.KILL, every_s=1e-6)], 5.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"workers": 1}', '{"workers":1,"strikes":[{"kind":"tickle"}]}'])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the text of a plan"):
        parse_plan(text)


def test_without_a_worker_those_after_it_move_up() -> None:
    plan = Plan(
        workers=3,
        strikes=(
            Strike(at_s=1, kind=FaultKind.KILL, workers=(0, 2)),
            Strike(at_s=2, kind=FaultKind.KILL, workers=(1,)),
            Strike(at_s=3, kind=FaultKind.DISK_FULL, workers=()),
        ),
    )
    fewer = plan.without_worker(1)
    assert fewer.workers == 2
    assert [(one.at_s, one.workers) for one in fewer.strikes] == [(1, (0, 1)), (3, ())]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": FaultKind.KILL}, "needs either `every` or `statements`"),
        ({"kind": FaultKind.KILL, "every_s": 1.0, "statements": 3}, "needs either `every` or `statements`"),
        ({"kind": FaultKind.KILL, "statements": 3}, "needs a `count`"),
        ({"kind": FaultKind.MEMORY, "every_s": 1.0}, "needs an `amount`"),
        ({"kind": FaultKind.KILL, "every_s": 1.0, "lasts_s": 1.0}, "does not last"),
        ({"kind": FaultKind.KILL, "every_s": -1.0}, "every so often"),
        ({"kind": FaultKind.KILL, "every_s": 1.0, "count": 0}, "at least once"),
    ],
)
def test_a_fault_that_means_nothing_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Fault(**settings)  # type: ignore[arg-type]


def test_waiting_for_a_restart_grows_with_deaths_in_a_row_up_to_a_limit() -> None:
    restart = Restart(backoff_s=0.1, longest_s=1.0)
    assert [restart.wait_s(deaths) for deaths in (1, 2, 3, 4, 5, 99)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_without_a_back_off_only_deaths_in_a_row_are_waited_for() -> None:
    assert Restart().wait_s(1) == 0.0
    assert 0.0 < Restart().wait_s(2) < Restart().wait_s(3) < 0.1


@pytest.mark.parametrize(
    ("restart", "allowed"),
    [
        (Restart(), [True] * 4),
        (Restart(policy=RestartPolicy.NEVER), [False] * 4),
        (Restart(policy=RestartPolicy.AT_MOST, most=2), [True, True, False, False]),
    ],
)
def test_restarts_are_allowed_as_the_policy_says(restart: Restart, allowed: list[bool]) -> None:
    assert [restart.allows(restarts) for restarts in range(4)] == allowed


@given(plan=PLANS, data=st.data())
def test_shrinking_keeps_what_it_takes_and_nothing_else(plan: Plan, data: st.DataObject) -> None:
    needed = [one for one in plan.strikes if one.workers]
    wanted = data.draw(st.lists(st.sampled_from(needed), max_size=2)) if needed else []
    moments = {(one.at_s, one.statements, one.kind) for one in wanted}

    def fails(attempt: Plan) -> bool:
        return moments <= {(one.at_s, one.statements, one.kind) for one in attempt.strikes}

    small = shrunk(plan, fails)
    assert fails(small)
    assert {(one.at_s, one.statements, one.kind) for one in small.strikes} == moments
    assert small.workers <= max(1, len({worker for one in wanted for worker in one.workers}))


def test_shrinking_stops_when_its_time_is_up() -> None:
    plan = draw(1, 4, [KILLS], 5.0)
    tried: list[Plan] = []

    def fails(attempt: Plan) -> bool:
        tried.append(attempt)
        return bool(attempt.strikes)

    small = shrunk(plan, fails, goes_on=lambda: len(tried) < 3)
    assert len(tried) == 3
    assert len(small.strikes) < len(plan.strikes)


def test_whether_a_fault_is_needed_is_no_question_of_time() -> None:
    plan = draw(1, 4, [KILLS], 5.0)
    tried: list[Plan] = []

    def fails(attempt: Plan, *, most: int) -> bool:
        tried.append(attempt)
        return attempt.workers <= most

    for most, left in ((4, 1), (3, 4)):  # four workers fail by themselves, and one does; nobody does
        tried.clear()
        small = shrunk(plan, partial(fails, most=most), goes_on=lambda: False)
        assert not any(one.strikes for one in tried)
        assert (small.workers, bool(small.strikes)) == (left, most == 3)


@given(PLANS.filter(lambda plan: plan.strikes and len(plan.strikes) < 50), st.randoms(use_true_random=False))
def test_no_plan_is_tried_a_second_time(plan: Plan, random: Random) -> None:
    tried: list[str] = []

    def fails(attempt: Plan) -> bool:
        tried.append(attempt.text)
        return random.random() < 0.3

    shrunk(plan, fails)
    assert len(tried) == len(set(tried))


STRIKES = st.builds(
    Strike,
    at_s=st.integers(0, 50).map(float),
    kind=st.sampled_from([FaultKind.KILL, FaultKind.PAUSE]),
    workers=st.sets(st.integers(0, 4), min_size=1, max_size=2).map(sorted).map(tuple),
)
STRUCK = st.lists(STRIKES, max_size=12).map(lambda found: tuple(sorted(found, key=lambda one: one.at_s)))
STRUCK_PLANS = st.builds(Plan, workers=st.just(5), strikes=STRUCK)


@settings(max_examples=30)
@given(STRUCK_PLANS)
def test_a_plan_is_shrunk_as_small_as_hypothesis_makes_it(large: Plan) -> None:
    """What goes wrong takes a kill of some worker, and after it a pause of others."""

    def fails(plan: Plan) -> bool:
        killed = [strike for strike in plan.strikes if strike.kind is FaultKind.KILL]
        paused = [strike for strike in plan.strikes if strike.kind is FaultKind.PAUSE]
        return any(a.at_s < b.at_s and not set(a.workers) & set(b.workers) for a in killed for b in paused)

    assume(fails(large))
    small = shrunk(large, fails)
    assert fails(small)
    assert len(small.strikes) == len(SMALLEST.strikes)
    assert small.workers == 2


# The same, as Hypothesis finds and shrinks it from nothing.
SMALLEST = find(
    STRUCK_PLANS,
    lambda plan: any(
        a.kind is FaultKind.KILL and b.kind is FaultKind.PAUSE and a.at_s < b.at_s and not {*a.workers} & {*b.workers}
        for a in plan.strikes
        for b in plan.strikes
    ),
    settings=settings(database=None, max_examples=2000),
)
