"""A smaller plan that still goes wrong: fewer faults, then fewer workers, then fewer faults again.

The processes' timing is their own, so an attempt that comes out well proves nothing: the caller tries a plan as often
as it can afford. Deterministic but for that. The idea is delta debugging [Zeller].
"""

from collections.abc import Callable
from dataclasses import replace

from chaos.fleet.plan import Plan

__all__ = ["shrunk"]

_FEW = 4  # strikes, at which the workers get their turn: what is short is tried quickly


def shrunk(plan: Plan, fails: Callable[[Plan], bool], *, goes_on: Callable[[], bool] = lambda: True) -> Plan:
    """The smallest plan found that fails.

    Args:
        plan: one that failed.
        fails: tries a plan, and says whether it went wrong in the same way.
        goes_on: whether there is time for another attempt.
    """
    for fault in plan.calls:
        attempt = replace(plan, calls=tuple(one for one in plan.calls if one is not fault))
        if goes_on() and fails(attempt):
            plan = attempt
    few = _fewer_strikes(plan, fails, goes_on, enough=_FEW)
    fewer = _fewer_workers(few, fails, goes_on)
    return _fewer_strikes(fewer, fails, goes_on)


def _fewer_strikes(plan: Plan, fails: Callable[[Plan], bool], goes_on: Callable[[], bool], *, enough: int = 0) -> Plan:
    size = len(plan.strikes)
    while size and len(plan.strikes) > enough:
        for start in reversed(
            range(0, len(plan.strikes), size)
        ):  # the last ones first: that makes the next tries short
            if not goes_on():
                return plan
            kept = plan.strikes[:start] + plan.strikes[start + size :]
            attempt = replace(plan, strikes=kept)
            if fails(attempt):
                plan = attempt
                break
        else:
            size //= 2
        size = min(size, len(plan.strikes))
    return plan


def _fewer_workers(plan: Plan, fails: Callable[[Plan], bool], goes_on: Callable[[], bool]) -> Plan:
    worker = plan.workers - 1
    while worker >= 0 and plan.workers > 1:
        if not goes_on():
            return plan
        attempt = plan.without_worker(worker)
        if fails(attempt):
            plan = attempt
        worker = min(worker, plan.workers) - 1
    return plan
