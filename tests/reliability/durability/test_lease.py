"""`Lease` and `Fence`: one holder, growing tokens, and verdicts that no clock step changes."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, CorruptionError, NewerFormatError
from pytest_guardrails.reliability.durability import (
    Fence,
    FencedError,
    FileLock,
    Lease,
    LeaseHeldError,
    LeaseLostError,
    LockDeadlineError,
    identity_of,
    is_alive,
    own_identity,
)
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def lease(tmp_path: Path, clock: MovedClock) -> Callable[..., Lease]:
    def make(**options: object) -> Lease:
        settings: dict[str, object] = {"ttl_s": 10.0, "clock": clock, **options}
        return Lease(tmp_path / "lease", **settings)  # type: ignore[arg-type]

    return make


def test_only_one_holder(lease: Callable[..., Lease]) -> None:
    lease(owner="first").acquire()
    with pytest.raises(LeaseHeldError, match="first"):
        lease().acquire()


def test_tokens_grow_with_each_grant(lease: Callable[..., Lease], clock: MovedClock) -> None:
    tokens = []
    for _ in range(3):
        with lease() as held:
            tokens.append(held.token)
    tokens.append(lease().acquire())
    clock.monotonic_s += 11
    tokens.append(lease().acquire())
    assert tokens == [1, 2, 3, 4, 5]


def test_a_grant_ends_with_its_time_and_not_before(lease: Callable[..., Lease], clock: MovedClock) -> None:
    lease().acquire()
    clock.monotonic_s += 9.9
    with pytest.raises(LeaseHeldError):
        lease().acquire()
    clock.monotonic_s += 0.2
    assert lease().acquire() == 2


def test_renewal_counts_from_now(lease: Callable[..., Lease], clock: MovedClock) -> None:
    held = lease()
    held.acquire()
    clock.monotonic_s += 9
    held.renew()
    clock.monotonic_s += 9
    held.check()
    assert held.status().left_s == pytest.approx(1.0)


def test_a_late_holder_learns_that_it_lost(lease: Callable[..., Lease], clock: MovedClock) -> None:
    late = lease()
    late.acquire()
    clock.monotonic_s += 11
    for step in (late.renew, late.check):
        with pytest.raises(LeaseLostError):
            step()


def test_a_late_release_ends_nobody_elses_grant(lease: Callable[..., Lease], clock: MovedClock) -> None:
    late, other = lease(), lease()
    late.acquire()
    clock.monotonic_s += 11
    other.acquire()
    late.release()
    other.check()


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_step_of_the_wall_clock_changes_nothing(
    lease: Callable[..., Lease], clock: MovedClock, step_s: float
) -> None:
    held = lease()
    held.acquire()
    clock.wall_s += step_s
    held.check()
    with pytest.raises(LeaseHeldError):
        lease().acquire()


def test_waiting_for_a_lease_ends_when_its_time_is_up(lease: Callable[..., Lease]) -> None:
    lease().acquire()
    with pytest.raises(LeaseHeldError):
        lease().acquire(deadline_s=5.0)
    assert lease().acquire(deadline_s=8.0) == 2


def hold_and_die(path: Path) -> None:
    def hold(say: Callable[[str], None]) -> None:
        Lease(path, ttl_s=3600).acquire()
        say("held")
        os.read(os.pipe()[0], 1)

    child = Child(hold)
    child.line()
    child.kill()


def test_a_killed_holder_is_succeeded_at_once(tmp_path: Path) -> None:
    hold_and_die(tmp_path / "lease")
    assert Lease(tmp_path / "lease", ttl_s=3600).acquire() == 2


def test_work_that_outlives_its_process_keeps_its_lease(tmp_path: Path) -> None:
    hold_and_die(tmp_path / "lease")
    with pytest.raises(LeaseHeldError):
        Lease(tmp_path / "lease", ttl_s=3600, when_dead="expire").acquire()


def test_a_reboot_ends_a_lease(lease: Callable[..., Lease], tmp_path: Path) -> None:
    lease(when_dead="expire").acquire()
    record = json.loads((tmp_path / "lease").read_text())
    record["holder"]["boot"] = "another"
    (tmp_path / "lease").write_text(json.dumps(record))
    assert lease(when_dead="expire").acquire() == 2


def test_a_reused_process_number_is_somebody_else() -> None:
    own = own_identity()
    assert is_alive(own) is True
    stranger = identity_of(own.pid)
    assert stranger == own
    other = type(own)(pid=own.pid, started="1", boot=own.boot, host=own.host)
    assert is_alive(other) is False
    assert is_alive(type(own)(pid=own.pid, started=own.started, boot=own.boot, host="elsewhere")) is None


def test_unknown_fields_survive(lease: Callable[..., Lease], tmp_path: Path) -> None:
    with lease():
        record = json.loads((tmp_path / "lease").read_text())
        (tmp_path / "lease").write_text(json.dumps({**record, "future": [1]}))
    lease().acquire()
    assert json.loads((tmp_path / "lease").read_text())["future"] == [1]


def test_a_newer_format_is_refused_and_left_alone(lease: Callable[..., Lease], tmp_path: Path) -> None:
    text = '{"format": 99, "token": 7}'
    (tmp_path / "lease").write_text(text)
    with pytest.raises(NewerFormatError, match="99"):
        lease().acquire()
    assert (tmp_path / "lease").read_text() == text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "token": "x"}', "\0\0\0"])
def test_a_damaged_record_is_never_taken_for_a_free_lease(
    lease: Callable[..., Lease], tmp_path: Path, text: str
) -> None:
    (tmp_path / "lease").write_text(text)
    with pytest.raises(CorruptionError, match="no lease record"):
        lease().acquire()
    assert (tmp_path / "lease").read_text() == text


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_to_live_that_is_none_is_refused(tmp_path: Path, ttl_s: float) -> None:
    with pytest.raises(ConfigurationError):
        Lease(tmp_path / "lease", ttl_s=ttl_s)


def test_the_fence_keeps_a_late_writer_out(tmp_path: Path) -> None:
    with Fence(tmp_path / "fence").guard(1):
        pass
    with Fence(tmp_path / "fence").guard(2), pytest.raises(FencedError), Fence(tmp_path / "fence").guard(1):
        raise AssertionError("a late writer was let in")
    with Fence(tmp_path / "fence").guard(2):
        pass


def test_a_forked_child_can_neither_prolong_nor_end_the_grant(lease: Callable[..., Lease]) -> None:
    held = lease()
    held.acquire()

    def use(_say: Callable[[str], None]) -> str:
        for step in (held.renew, held.check, lambda: held.token):
            with pytest.raises(LeaseLostError):
                step()
        held.release()
        return "through"

    assert Child(use).result() == "through"
    held.check()
    with pytest.raises(LeaseHeldError):
        lease().acquire()


@pytest.fixture
def elsewhere(tmp_path: Path, clock: MovedClock, lease: Callable[..., Lease]) -> Callable[..., None]:
    """Makes the record look as if its holder were of another boot, with a clock of its own."""

    def make(**fields: object) -> None:
        record = json.loads((tmp_path / "lease").read_bytes())
        record["holder"].update(boot="another", host="elsewhere")
        (tmp_path / "lease").write_text(json.dumps({**record, **fields}))

    return make


@pytest.mark.parametrize("expires_s", [1e9, -1e9])  # by a clock that runs since longer, or shorter
def test_a_holder_with_another_clock_is_over_when_it_was_seen_unrenewed_for_its_whole_time(
    lease: Callable[..., Lease], clock: MovedClock, elsewhere: Callable[..., None], expires_s: float
) -> None:
    lease().acquire()
    elsewhere(expires_s=expires_s)
    for _ in range(2):  # also by another object, as of the next short-lived process
        with pytest.raises(LeaseHeldError):
            lease().acquire()
        clock.monotonic_s += 4.9
    with pytest.raises(LeaseHeldError):
        lease().acquire()
    clock.monotonic_s += 0.3
    assert lease().acquire() == 2


def test_a_holder_with_another_clock_that_renews_is_not_robbed(
    lease: Callable[..., Lease], clock: MovedClock, elsewhere: Callable[..., None]
) -> None:
    lease().acquire()
    for renewal in range(4):
        elsewhere(expires_s=1e6 + renewal)
        with pytest.raises(LeaseHeldError):
            lease().acquire()
        clock.monotonic_s += 9.0


def test_those_who_watch_by_clocks_of_their_own_do_not_keep_each_other_from_it(
    lease: Callable[..., Lease], clock: MovedClock, elsewhere: Callable[..., None], tmp_path: Path
) -> None:
    lease().acquire()
    elsewhere(expires_s=1e9)
    with pytest.raises(LeaseHeldError):
        lease().acquire()
    record = json.loads((tmp_path / "lease").read_bytes())
    [(boot, watch)] = record["watched"].items()
    elsewhere(watched={"of a third host": watch})
    with pytest.raises(LeaseHeldError):
        lease().acquire()
    clock.monotonic_s += 10.1
    record = json.loads((tmp_path / "lease").read_bytes())
    assert set(record["watched"]) == {boot, "of a third host"}
    assert lease().acquire() == 2


def test_who_only_tries_waits_for_no_one_that_is_stopped_in_the_middle_of_a_step(
    lease: Callable[..., Lease], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_guardrails.reliability.durability.lease._STEP_S", 0.01)

    def stop_in_the_middle(say: Callable[[str], None]) -> None:
        with FileLock(tmp_path / "lease.lock"):
            say("in the middle")
            signal.pause()

    stopped = Child(stop_in_the_middle)
    stopped.line()
    with pytest.raises(LockDeadlineError) as caught:
        lease().acquire()
    assert caught.value.waited_s == 0.01
    with pytest.raises(LockDeadlineError) as caught:
        lease().acquire(deadline_s=0.02)
    assert caught.value.waited_s == 0.02
    stopped.kill()
    assert lease().acquire() == 1
