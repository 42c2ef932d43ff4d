"""The sliding window as pure functions: how many of the last calls failed, and how many were slow.

The window is cut into ten slots; a slot falls out of it as a whole, so the span is exact to a tenth, and the cost of
counting does not depend on the number of calls. Read `policy.py` for its user.
"""

from math import floor

from pytest_guardrails.reliability.breakers.model import Bucket, WindowRule

__all__ = ["counted", "recent", "verdict"]

_SLOTS = 10


def counted(
    window: tuple[Bucket, ...], rule: WindowRule, now_s: float, duration_s: float, *, failed: bool
) -> tuple[Bucket, ...]:
    """The window after one more call has ended."""
    slot = _slot(rule, now_s)
    kept = recent(window, rule, now_s)
    last = kept[-1] if kept and kept[-1].slot == slot else Bucket(slot)
    older = kept[:-1] if kept and kept[-1].slot == slot else kept
    slow = duration_s > rule.slow_call_s
    return (*older, Bucket(slot, last.calls + 1, last.failures + failed, last.slow + slow))


def recent(window: tuple[Bucket, ...], rule: WindowRule, now_s: float) -> tuple[Bucket, ...]:
    """What of the window has not fallen out of it yet; never more than its slots."""
    now = _slot(rule, now_s)
    return tuple(bucket for bucket in window if now - _SLOTS < bucket.slot <= now)


def verdict(window: tuple[Bucket, ...], rule: WindowRule, now_s: float) -> str:
    """Why the rates in the window open the circuit; "" if they do not."""
    kept = recent(window, rule, now_s)
    calls = sum(bucket.calls for bucket in kept)
    if calls < rule.least_calls:
        return ""
    failures, slow = sum(bucket.failures for bucket in kept), sum(bucket.slow for bucket in kept)
    if rule.failure_rate is not None and failures >= rule.failure_rate * calls:
        return f"{failures} of the last {calls} calls failed"
    if rule.slow_rate is not None and slow >= rule.slow_rate * calls:
        return f"{slow} of the last {calls} calls took longer than {rule.slow_call_s:g} s"
    return ""


def _slot(rule: WindowRule, now_s: float) -> int:
    return floor(now_s * _SLOTS / rule.span_s)
