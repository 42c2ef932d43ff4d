"""A clock of the caller's that gives no time: said clearly, with the old state standing, and never stored."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability import FileLock, Lease
from pytest_guardrails.reliability.durability.times import steady_time, wall_time
from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    Checkpoint,
    Checkpoints,
    StateStore,
    open_store,
)
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child

NO_TIMES = [math.nan, math.inf, -math.inf, 1e300, 10**400, None, "now"]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: MovedClock) -> Iterator[StateStore]:
    kind: BackendKind = request.param
    with open_store(tmp_path / "store", backend=kind, settings=BackendSettings(clock=clock)) as opened:
        opened.put("key", "old")
        yield opened
        clock.wall_s = 1.7e9


def in_a_block(store: StateStore) -> None:
    with store.transaction() as transaction:
        transaction.put("key", "new")


@pytest.mark.parametrize("no_time", NO_TIMES)
@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.put("key", "new"),
        in_a_block,
        lambda store: store.delete("key"),
        lambda store: store.prune(older_than_s=1.0),
        lambda store: store.transactions(),
    ],
)
def test_a_store_says_that_the_clock_gives_no_time(
    store: StateStore, clock: MovedClock, act: Callable[[StateStore], object], no_time: float
) -> None:
    clock.wall_s = no_time
    with pytest.raises(ConfigurationError, match="finite number of seconds"):
        act(store)
    assert store.get("key") == "old"
    clock.wall_s = 1.7e9
    store.put("key", "new")
    assert (store.get("key"), store.incidents()) == ("new", [])
    assert all(math.isfinite(line.at) for line in store.transactions())


def test_the_error_of_a_block_comes_out_whatever_the_clock_says(store: StateStore, clock: MovedClock) -> None:
    with pytest.raises(KeyError, match="mine"), store.transaction():
        clock.wall_s = math.nan
        raise KeyError("mine")


def test_a_checkpoint_without_a_time_is_not_saved(store: StateStore) -> None:
    checkpoints = Checkpoints(store, clock=MovedClock(wall_s=math.nan))
    with pytest.raises(ConfigurationError, match="finite number of seconds"):
        checkpoints.save(Checkpoint(run_id="run", iteration_index=0))
    assert not checkpoints.exists("run")


@pytest.mark.parametrize("wrong", [{"wall_s": math.nan}, {"monotonic_s": math.nan}])
def test_a_lease_is_not_granted_without_a_time(tmp_path: Path, wrong: dict[str, float]) -> None:
    lease = Lease(tmp_path / "lease", ttl_s=60.0, clock=MovedClock(**wrong))
    with pytest.raises(ConfigurationError, match="finite number of seconds"):
        lease.acquire()
    assert Lease(tmp_path / "lease", ttl_s=60.0, clock=MovedClock()).acquire() == 1


def test_nobody_waits_for_a_lease_by_a_clock_without_time(tmp_path: Path) -> None:
    clock = MovedClock()

    class Stopping(MovedClock):
        def sleep(self, duration_s: float) -> None:
            self.monotonic_s = math.nan

    with (
        Lease(tmp_path / "lease", ttl_s=60.0, clock=clock),
        pytest.raises(ConfigurationError, match="finite number of seconds"),
    ):
        Lease(tmp_path / "lease", ttl_s=60.0, clock=Stopping()).acquire(deadline_s=1.0)


@pytest.mark.parametrize("wrong", [{"wall_s": math.nan}, {"monotonic_s": math.nan}])
def test_a_lock_is_not_taken_without_a_time_and_is_free_afterwards(tmp_path: Path, wrong: dict[str, float]) -> None:
    lock = FileLock(tmp_path / "lock", clock=MovedClock(**wrong))
    with pytest.raises(ConfigurationError, match="finite number of seconds"):
        lock.acquire()
    assert lock.held is None

    def take(say: Callable[[str], None]) -> str:
        with FileLock(tmp_path / "lock").exclusive(deadline_s=0.0):
            return "free"

    assert Child(take).result() == "free"


def test_what_is_a_time_is_given_as_a_float() -> None:
    assert (wall_time(MovedClock(wall_s=7)), steady_time(MovedClock(monotonic_s=7))) == (7.0, 7.0)
    assert type(wall_time(MovedClock(wall_s=7))) is float
