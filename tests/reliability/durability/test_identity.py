"""Who can't be seen is not dead: other PID namespaces, processes that /proc hides, and no way left to look."""

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import (
    FileLock,
    Lease,
    LeaseHeldError,
    identity_of,
    is_alive,
    own_identity,
)
from tests.reliability.processes import Child

NEW_NUMBERS, NEW_MOUNTS, RECURSIVE_PRIVATE = 0x20000000, 0x00020000, 0x44000  # of unshare(2) and mount(2)
NOBODY = 65534
REFUSED = "refused"
libc = ctypes.CDLL(None, use_errno=True)


def in_child(work: Callable[[], object]) -> object:
    return Child(lambda _say: work()).result()


def in_sandbox(work: Callable[[], object], say: Callable[[str], None] = lambda _line: None) -> object:
    """What `work` returns in a process that is number 1 of a new PID namespace, with a /proc of its own."""
    if os.getuid() or libc.unshare(NEW_NUMBERS | NEW_MOUNTS):
        say(REFUSED)
        return REFUSED

    def inside() -> object:
        if libc.mount(b"none", b"/", None, RECURSIVE_PRIVATE, None) or libc.mount(b"proc", b"/proc", b"proc", 0, None):
            say(REFUSED)
            return REFUSED
        return work()

    return in_child(inside)


def checked(found: object) -> object:
    """What a child returned; skips where it was not allowed what the test needs."""
    if found == REFUSED:
        pytest.skip("no namespace, or no /proc in it, can be made here")
    return found


def test_a_live_holder_in_a_sandbox_is_not_robbed_from_outside(tmp_path: Path) -> None:
    turns, give_turn = os.pipe()

    def hold(say: Callable[[str], None]) -> object:
        def holder() -> bool:
            lease = Lease(tmp_path / "lease", ttl_s=1000)
            lease.acquire()
            say("held")
            os.read(turns, 1)
            lease.renew()
            return True

        return in_sandbox(holder, say)

    child = Child(hold)
    checked(child.line())
    try:
        with pytest.raises(LeaseHeldError):
            Lease(tmp_path / "lease", ttl_s=1000).acquire()
    finally:
        os.write(give_turn, b"t")
    assert child.result() is True
    os.close(turns)
    os.close(give_turn)


def test_a_live_holder_outside_is_not_robbed_from_a_sandbox(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "lease", ttl_s=1000)
    lease.acquire()

    def rob() -> str:
        try:
            return f"got {Lease(tmp_path / 'lease', ttl_s=1000).acquire()}"
        except LeaseHeldError:
            return "held"

    assert checked(in_child(lambda: in_sandbox(rob))) == "held"
    lease.renew()


def test_of_a_process_in_another_namespace_nothing_is_certain() -> None:
    own = own_identity()
    assert is_alive(own._replace(started=own.started.partition("/")[0] + "/77")) is None
    assert is_alive(own) is True


def test_a_process_that_proc_hides_is_not_dead() -> None:
    own = own_identity()

    def look() -> object:
        if os.getuid() or libc.unshare(NEW_MOUNTS) or libc.mount(b"none", b"/", None, RECURSIVE_PRIVATE, None):
            return REFUSED
        if libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2"):
            return REFUSED
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return is_alive(own), is_alive(own_identity()), identity_of(own.pid).started

    assert checked(in_child(look)) == (None, True, "")


def test_a_process_that_ended_is_dead_before_and_after_it_is_collected() -> None:
    reader, writer = os.pipe()
    child = Child(lambda _say: os.read(reader, 1))
    identity = identity_of(child.pid)
    assert is_alive(identity) is True
    os.write(writer, b"t")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert (is_alive(identity), identity_of(child.pid).started) == (False, "")
    child.result()
    assert is_alive(identity) is False
    os.close(reader)
    os.close(writer)


def test_with_no_descriptor_left_locks_work_and_leases_say_why_not(tmp_path: Path) -> None:
    parent = own_identity()

    def work() -> tuple[object, object, str, object]:
        lock, lease = FileLock(tmp_path / "lock"), Lease(tmp_path / "lease", ttl_s=1000)
        free = os.dup(0)
        os.close(free)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, most))
        with lock:
            held = lock.held
        try:
            said = str(lease.acquire())
        except StorageError:
            said = "refused"
        seen = is_alive(parent)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return held, seen, said, lease.acquire()

    assert in_child(work) == ("exclusive", None, "refused", 1)
