"""The agent monitor's equations. Pure: (state, drift) -> state, and every variable stays within its bounds.

    dE = 0.5 (I - E) - 0.1 E S + lambda1 E D                  + R (T - E)
    dI = -0.1 S + 0.05 I C(V) - 0.3 I (1 - I)                 + R (T - I)
    dS = -0.8 S + lambda1 D - 0.05 C(V)
    dV = 0.3 (E - I) - 0.4 V                                  C(V) = (1 + tanh V) / 2

E (energy), I (integrity) and S (entropy) lie in [0, 1], V (void) in [-2, 2]; Euler steps of 0.1; start .5, .9, .5, 0.

The last terms are a mend. Without them I of a perfect agent (D = 0) falls below 0.917, from where -0.3 I (1 - I) drags
it to 0, and E after it. With R = 0.5 both are drawn to T = 0.92 - 0.82 D: to 0.92 while nothing drifts, to 0.1 under
full drift. For D = 0 the one equilibrium is E = 0.922, I = 0.924, S = 0, V = -0.0015, and every start leads to it.

*Coherence* is I (1 - S) (1 - |V| / 2): 0.923 there. *Drift* D in [0, 1] comes from the change of the parameters and
from the ethical drift. *lambda1* in [0.05, 0.20] follows coherence by a PI step at each 10th update: an agent that has
lost itself is given less room. The *void* is |V| above a threshold that adapts to its history within [0.10, 0.30].
Read `agent_monitor.py` for who keeps the state.
"""

import math
from collections.abc import Sequence
from typing import final

from pytest_guardrails.records import Record

__all__ = ["AgentState", "advanced", "drift_of", "is_void", "void_threshold"]

_DT = 0.1
_RESTORING = 0.5
_BEST, _WORST = 0.92, 0.1
_EVERY = 10
_SET_POINT = 0.75
_MIDDLE, _PROPORTIONAL, _INTEGRAL, _INTEGRAL_MOST = 0.125, 0.15, 0.01, 0.05
_LAMBDA = (0.05, 0.20)
_VOID = (0.10, 0.30)
_REMEMBERED = 100
_LARGEST = 10.0  # a parameter that changes by more than this has changed altogether


@final
class AgentState(Record):
    """The variables, see the module.

    Attributes:
        energy: E.
        integrity: I.
        entropy: S.
        void: V.
        lambda1: how much room the agent has.
        integral: of the PI step.
        updates: how many updates with sound input there were.
        voids: |V| of the last updates, oldest first.
    """

    energy: float = 0.5
    integrity: float = 0.9
    entropy: float = 0.5
    void: float = 0.0
    lambda1: float = _MIDDLE
    integral: float = 0.0
    updates: int = 0
    voids: tuple[float, ...] = ()

    @property
    def coherence(self) -> float:
        """From 0 to 1."""
        return self.integrity * (1.0 - self.entropy) * (1.0 - abs(self.void) / 2.0)


def drift_of(parameters: Sequence[float], before: Sequence[float] | None, ethical: Sequence[float]) -> float:
    """D: the root mean square of the parameters' change, folded into [0, 1), and that of the ethical drift, added.

    Args:
        parameters: finite numbers.
        before: those of the last update; None at the first.
        ethical: finite numbers; 0 is none, 1 and beyond is full.
    """
    change = 0.0
    if before is not None:
        squares = sum(min(abs(now - then), _LARGEST) ** 2 for now, then in zip(parameters, before, strict=True))
        change = math.tanh(math.sqrt(squares / len(parameters)))
    ethics = math.sqrt(sum(min(abs(value), 1.0) ** 2 for value in ethical) / len(ethical))
    return min(1.0, change + ethics)


def advanced(state: AgentState, drift: float) -> AgentState:
    """The state after one update under a drift from 0 to 1."""
    energy, integrity, entropy, void = state[:4]
    grip = (1.0 + math.tanh(void)) / 2.0
    target = _BEST - (_BEST - _WORST) * drift
    d_energy = 0.5 * (integrity - energy) - 0.1 * energy * entropy + state.lambda1 * energy * drift
    d_integrity = -0.1 * entropy + 0.05 * integrity * grip - 0.3 * integrity * (1.0 - integrity)
    d_entropy = -0.8 * entropy + state.lambda1 * drift - 0.05 * grip
    d_void = 0.3 * (energy - integrity) - 0.4 * void
    void = _clipped(void + _DT * d_void, -2.0, 2.0)
    moved = state._replace(
        energy=_clipped(energy + _DT * (d_energy + _RESTORING * (target - energy)), 0.0, 1.0),
        integrity=_clipped(integrity + _DT * (d_integrity + _RESTORING * (target - integrity)), 0.0, 1.0),
        entropy=_clipped(entropy + _DT * d_entropy, 0.0, 1.0),
        void=void,
        updates=state.updates + 1,
        voids=(*state.voids, abs(void))[-_REMEMBERED:],
    )
    return _regulated(moved) if moved.updates % _EVERY == 0 else moved


def void_threshold(state: AgentState) -> float:
    """Two standard deviations above the mean of |V| lately, within [0.10, 0.30]: the ceiling is hard."""
    voids = state.voids
    if not voids:
        return _VOID[1]
    mean = sum(voids) / len(voids)
    spread = math.sqrt(sum((value - mean) ** 2 for value in voids) / len(voids))
    return _clipped(mean + 2.0 * spread, *_VOID)


def is_void(state: AgentState, threshold: float) -> bool:
    """Whether the agent is in the void; `threshold` is the state's, which costs a look at all that is remembered."""
    return abs(state.void) > threshold


def _regulated(state: AgentState) -> AgentState:
    error = state.coherence - _SET_POINT
    integral = _clipped(state.integral + _INTEGRAL * error, -_INTEGRAL_MOST, _INTEGRAL_MOST)
    lambda1 = _clipped(_MIDDLE + _PROPORTIONAL * error + integral, *_LAMBDA)
    return state._replace(lambda1=lambda1, integral=integral)


def _clipped(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
