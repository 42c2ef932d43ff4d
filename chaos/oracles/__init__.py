"""Predicates over what a crash left behind, one module an oracle, all of them pure."""

from chaos.oracles.canaries import CANARIES, prove
from chaos.oracles.panel import OracleVerdict, Panel, joined, judge, judge_reference
from chaos.oracles.registry import DEFAULT_ORACLES, ORACLES, Oracle, choose

__all__ = [
    "CANARIES",
    "DEFAULT_ORACLES",
    "ORACLES",
    "Oracle",
    "OracleVerdict",
    "Panel",
    "choose",
    "joined",
    "judge",
    "judge_reference",
    "prove",
]
