"""A smaller plan that still goes wrong: fewer faults, then fewer workers, then fewer faults again.

The processes' timing is their own, so an attempt that comes out well proves nothing: the caller tries a plan as often
as it can afford, and no plan is tried a second time. Whether a fault is needed at all is asked first and always, for
that is told to people and must not depend on how fast a machine is. Deterministic but for the timing. The idea is delta
debugging [Zeller].
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
        goes_on: whether there is time for another attempt. A plan without any fault is tried regardless, with all
            workers and then with one.
    """
    fails = _asked_once(fails)
    bare = replace(plan, strikes=(), calls=())
    if bare == plan or fails(bare):
        alone = replace(bare, workers=1)
        return alone if bare.workers > 1 and fails(alone) else _fewer_workers(bare, fails, goes_on)
    for fault in plan.calls:
        attempt = replace(plan, calls=tuple(one for one in plan.calls if one is not fault))
        if goes_on() and fails(attempt):
            plan = attempt
    few = _fewer_strikes(plan, fails, goes_on, enough=_FEW)
    fewer = _fewer_workers(few, fails, goes_on)
    return _fewer_strikes(fewer, fails, goes_on)


def _asked_once(fails: Callable[[Plan], bool]) -> Callable[[Plan], bool]:
    tried: set[str] = set()

    def ask(plan: Plan) -> bool:
        if plan.text in tried:
            return False
        tried.add(plan.text)
        return fails(plan)

    return ask


def _fewer_strikes(plan: Plan, fails: Callable[[Plan], bool], goes_on: Callable[[], bool], *, enough: int = 0) -> Plan:
    size = len(plan.strikes)
    while size and len(plan.strikes) > enough:
        # The last ones first, and as many as may be: that makes the next tries short.
        for end in range(len(plan.strikes), 0, -size):
            if not goes_on():
                return plan
            kept = plan.strikes[: max(0, end - size)] + plan.strikes[end:]
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
