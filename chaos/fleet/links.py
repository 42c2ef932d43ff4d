"""The ways from a fleet's workers to its service: a proxy for each worker, so that one can be cut off and others not.

Read `chaos/faults/network/proxy.py` for what a proxy does, `running.py` for who strikes.
"""

from collections.abc import Sequence
from typing import final

from chaos.faults.network import HOST, ChaosProxy
from chaos.faults.network_rules import Rule
from chaos.fleet.plan import Plan

__all__ = ["Links"]


@final
class Links:
    """The proxies of one fleet, in threads of the harness.

    Args:
        port: where the service listens.
        plan: how many workers there are; its digest is the seed of what is drawn.
    """

    def __init__(self, port: int, plan: Plan) -> None:
        seed = int(plan.digest, 16)
        self._proxies = [ChaosProxy((HOST, port), seed=seed + worker) for worker in range(plan.workers)]

    def address(self, worker: int) -> str:
        """Where a worker finds the service."""
        return f"{HOST}:{self._proxies[worker].port}"

    def add(self, worker: int, rules: Sequence[Rule]) -> None:
        """Do this to a worker's connections, too."""
        self._proxies[worker].obey((*self._proxies[worker].rules, *rules))

    def remove(self, worker: int, rules: Sequence[Rule]) -> None:
        """Do it no longer; another strike that does the same goes on."""
        left = list(self._proxies[worker].rules)
        for rule in rules:
            left.remove(rule)
        self._proxies[worker].obey(left)

    @property
    def injected(self) -> int:
        """How often something was really done to a connection."""
        return sum(sum(proxy.statistics().injected.values()) for proxy in self._proxies)

    def close(self) -> None:
        """Close every connection."""
        for proxy in self._proxies:
            proxy.close()
