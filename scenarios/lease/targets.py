"""The stack's lease: fencing tokens only grow, whatever was cut; and a fence never lets an older one in again."""

from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.durability import Fence, Lease

Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    with Lease(disk / "lease", ttl_s=3600):
        pass


def workload(disk: Path, ack: Ack) -> None:
    for _ in range(2):
        lease = Lease(disk / "lease", ttl_s=3600)
        ack(lease.acquire())
        with Fence(disk / "fence").guard(lease.token):
            pass
        lease.release()


def recover(disk: Path) -> int:
    """The next token, less one: the last one that was given out."""
    return Lease(disk / "lease", ttl_s=3600).acquire() - 1


def check(value: int, acked: list[int]) -> None:
    if acked and value < acked[-1]:
        raise AssertionError(f"token {acked[-1]} was given out, and the next one would be {value + 1}")
