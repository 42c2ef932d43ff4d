"""Owning a loop: a lease that is renewed while the loop works, and an ear for what is asked of it meanwhile.

One thread does both. It renews the lease long before it runs out, so that a step may take any time; a process that dies
renews no more and can be succeeded at once, since the lease knows its holder. When the lease is lost all the same, the
owner is told and its step interrupted; whatever it still wants to write is refused by the fence in the store.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import final

from pytest_guardrails.clock import Clock
from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.reliability.durability import Lease, LeaseLostError

__all__ = ["Ownership"]


@final
class Ownership:
    """Holds a lease during a `with` block.

    Args:
        lease: not acquired yet.
        ttl_s: what the lease was made with, in seconds.
        watch_s: how often to look for requests, in seconds.
        look: called that often, from another thread.
        lost: called once when the lease is lost, from another thread.
        clock: for the renewals.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        ttl_s: float,
        watch_s: float,
        look: Callable[[], None],
        lost: Callable[[LeaseLostError], None],
        clock: Clock,
    ) -> None:
        self._lease = lease
        self._renew_s = ttl_s / 3
        self._watch_s = min(watch_s, self._renew_s)
        self._look = look
        self._lost = lost
        self._clock = clock
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def acquire(self, wait_s: float) -> int:
        """Become the owner, and stay so until `release`.

        Returns:
            The fencing token.

        Raises:
            LeaseHeldError: another owner lives.
        """
        token = self._lease.acquire(deadline_s=wait_s)
        self._thread.start()
        return token

    def release(self) -> None:
        """Let others own it; also after an `acquire` that failed, or was interrupted on its way."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._lease.release()

    def _keep(self) -> None:
        renewed_s = self._clock.monotonic()
        while not self._end.wait(self._watch_s):
            with suppress(GuardrailsError):  # a disk that refuses now may not later; the fence holds either way
                self._look()
                if self._clock.monotonic() - renewed_s >= self._renew_s:
                    try:
                        self._lease.renew()
                    except LeaseLostError as error:
                        self._lost(error)
                        return
                    renewed_s = self._clock.monotonic()
