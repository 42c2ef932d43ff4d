"""Faults of the network: a TCP proxy on loopback that delays, throttles, corrupts and cuts. Read `proxy.py` first."""

from chaos.faults.network.loopback import HOST
from chaos.faults.network.proxy import ChaosProxy
from chaos.faults.network.statistics import ProxyStatistics
from chaos.faults.network_rules import Corrupt, Cut, Delay, Direction, Ending, Fault, Rule, SlowClose, Throttle

__all__ = [  # noqa: RUF022 - in plain order, as everywhere in this house
    "ChaosProxy",
    "Corrupt",
    "Cut",
    "Delay",
    "Direction",
    "Ending",
    "Fault",
    "HOST",
    "ProxyStatistics",
    "Rule",
    "SlowClose",
    "Throttle",
]
