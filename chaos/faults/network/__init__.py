"""Faults of the network: a TCP proxy on loopback that delays, throttles, corrupts and cuts. Read `proxy.py` first."""

from chaos.faults.network.faults import Corrupt, Cut, Delay, Direction, Ending, Fault, Rule, SlowClose, Throttle
from chaos.faults.network.proxy import ChaosProxy
from chaos.faults.network.statistics import ProxyStatistics

__all__ = [
    "ChaosProxy",
    "Corrupt",
    "Cut",
    "Delay",
    "Direction",
    "Ending",
    "Fault",
    "ProxyStatistics",
    "Rule",
    "SlowClose",
    "Throttle",
]
