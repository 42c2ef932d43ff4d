"""Oracles over several live processes that were hurt: pure functions of an `Aftermath`.

Read `aftermath.py` for what they are given, `registry.py` for their names and canaries.
"""

from chaos.oracles.live.aftermath import Aftermath, Bounds, LiveAnswer
from chaos.oracles.live.registry import LIVE_CANARIES, LIVE_ORACLES, choose_live, judge_live, prove_live

__all__ = [
    "LIVE_CANARIES",
    "LIVE_ORACLES",
    "Aftermath",
    "Bounds",
    "LiveAnswer",
    "choose_live",
    "judge_live",
    "prove_live",
]
