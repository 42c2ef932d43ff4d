"""`AgentMonitor`: how an agent is, from what it says and how it changes, update by update.

    monitor = AgentMonitor("agent-7", store)
    answer = monitor.process_update(parameters, ethical_drift, response_text, complexity)
    if answer.decision == "halt": ...

**Guarantees.** Each update is one transaction: read, compute, count and keep; no update of another process is lost.
Each change of status is told by an event in the same transaction. Every variable stays finite and within its bounds.
Input that is not as it must be (not finite, of a wrong length or type) moves nothing but the count, and is answered
with *unknown*, never with *healthy*.
**Recovery.** From any state, 100 updates without drift give a coherence above 0.8, and 150 a lambda1 above 0.10 as
well; 20 updates under full drift bring lambda1 below 0.15. A new agent is healthy from its 50th update without drift
on, and stays so. Tests hold these numbers.
**Does not** understand the text: it is looked at for emptiness and repetition alone.

Read `dynamics.py` for the equations, `levels.py` for the thresholds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import safe_name
from pytest_guardrails.reliability.health.dynamics import AgentState, advanced, drift_of, is_void, void_threshold
from pytest_guardrails.reliability.health.levels import HealthThresholds, Hysteresis, Level, assess, settled
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Severity

__all__ = ["AgentAnswer", "AgentMonitor", "Decision", "repetition_of"]

Decision = Literal["proceed", "revise", "review", "halt"]
_FORMAT = 1
_PARAMETERS, _ETHICS = 128, 3
_HISTORY = 100
_DECISIONS: Mapping[Level, Decision] = {
    Level.HEALTHY: "proceed",
    Level.DEGRADED: "revise",
    Level.UNKNOWN: "review",
    Level.CRITICAL: "halt",
}
_SEVERITIES = {
    "healthy": Severity.INFO,
    "degraded": Severity.WARNING,
    "unknown": Severity.WARNING,
    "critical": Severity.ERROR,
}
_WORDS = 2000  # of a text; what comes after them says nothing new about repetition


@final
class AgentAnswer(Record):
    """What an update led to.

    Attributes:
        status: "healthy", "degraded", "unknown" or "critical", with hysteresis.
        decision: what should follow from it.
        reasons: why it is not healthy.
        metrics: the variables, all finite; see `dynamics.py`.
        sampling_params: for the next call of the agent's model: temperature, top_p, max_tokens.
        update_count: how many updates there were, those with bad input included.
    """

    status: str
    decision: Decision
    reasons: tuple[str, ...]
    metrics: Mapping[str, float | bool | None]
    sampling_params: Mapping[str, float | int]
    update_count: int


@final
class AgentMonitor:
    """See the module.

    Args:
        agent_id: whose; any text.
        store: where the state is kept.
        thresholds: see there.
        clock: wall time, for people.

    Raises:
        ConfigurationError: the thresholds make no sense.
    """

    def __init__(
        self,
        agent_id: str,
        store: StateStore,
        *,
        thresholds: HealthThresholds | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not agent_id:
            raise ConfigurationError("agent_id must not be empty")
        self.agent_id = agent_id
        self._key = f"agent/{safe_name(agent_id)}"
        self._store = store
        self._thresholds = (thresholds or HealthThresholds()).check()
        self._clock = clock or SystemClock()
        self._log = EventLog(store, clock=self._clock)

    def process_update(
        self, parameters: object, ethical_drift: object, response_text: object, complexity: object
    ) -> AgentAnswer:
        """Take one update in, and keep what it led to.

        Args:
            parameters: 128 finite numbers.
            ethical_drift: 3 finite numbers; 0 is none.
            response_text: what the agent said.
            complexity: from 0 to 1.

        Raises:
            StorageError: it could not be kept; nothing was counted.
            NewerFormatError: a later version keeps this agent's state.
        """
        bad = _problems(parameters, ethical_drift, response_text, complexity)
        with self._store.transaction() as transaction:
            before = transaction.get(self._key, {})
            if before.get("format", _FORMAT) > _FORMAT:
                raise NewerFormatError(f"agent {self.agent_id!r} has format {before['format']}: update the program")
            if bad:
                after, answer = self._refused(before, bad)
            else:
                after, answer = self._accepted(before, parameters, ethical_drift, response_text, complexity)  # type: ignore[arg-type]
            fixed = {"format": _FORMAT, "agent_id": self.agent_id, "at": self._clock.wall()}
            transaction.put(self._key, {**before, **after, **fixed}, keep_versions=1)
            told = Level(before["hysteresis"][0]).word if before else "new"
            if answer.status != told:
                self._log.append(transaction, self._changed(told, answer))
        return answer

    def state(self) -> AgentState:
        """The variables as of the last update."""
        return _state_in(self._store.get(self._key, {}))

    def update_count(self) -> int:
        """How many updates there were."""
        count: int = self._store.get(self._key, {}).get("update_count", 0)
        return count

    def _changed(self, told: str, answer: AgentAnswer) -> Draft:
        return Draft(
            source="health",
            kind="agent.changed",
            severity=_SEVERITIES[answer.status],
            scope=self._key,
            message=f"agent {self.agent_id!r:.100} is {answer.status}, was {told}: {'; '.join(answer.reasons)}",
            detail={"old": told, "new": answer.status, "update_count": answer.update_count},
        )

    def _accepted(
        self,
        before: Mapping[str, Any],
        parameters: Sequence[float],
        ethical: Sequence[float],
        text: str,
        complexity: float,
    ) -> tuple[dict[str, Any], AgentAnswer]:
        numbers = [float(value) for value in parameters]
        drift = drift_of(numbers, before.get("parameters"), [float(value) for value in ethical])
        state = advanced(_state_in(before), drift)
        risk = _risk(drift, state.coherence, repetition_of(text), float(complexity))
        variables = _metrics(state)
        signals = {"risk": risk, "coherence": state.coherence, "void": bool(variables["void"])}
        found = assess(self._thresholds, **signals)
        cleared = assess(self._thresholds, **signals, margin=self._thresholds.margin)
        kept = before.get("hysteresis", (Level.HEALTHY, 0))
        memory = settled(Hysteresis(Level(kept[0]), kept[1]), found.level, cleared.level, self._thresholds.better_after)
        metrics = {**variables, "risk": risk, "drift": drift, "complexity": float(complexity)}
        count = before.get("update_count", 0) + 1
        reasons = found.reasons or (() if memory.level is Level.HEALTHY else ("it was worse a moment ago",))
        after = {
            "update_count": count,
            "state": {**state._asdict(), "voids": list(state.voids)},
            "hysteresis": [int(memory.level), memory.better],
            "parameters": numbers,
            "history": _appended(before.get("history", ()), [state.coherence, risk, int(memory.level)]),
        }
        return after, _answer(memory.level, reasons, metrics, state, count)

    def _refused(self, before: Mapping[str, Any], bad: tuple[str, ...]) -> tuple[dict[str, Any], AgentAnswer]:
        state = _state_in(before)
        kept = Level(before.get("hysteresis", (Level.HEALTHY, 0))[0])
        level = max(kept, Level.UNKNOWN)
        count = before.get("update_count", 0) + 1
        metrics = {**_metrics(state), "risk": None, "drift": None, "complexity": None}
        after = {
            "update_count": count,
            "state": {**state._asdict(), "voids": list(state.voids)},
            "hysteresis": [int(level), 0],
            "history": _appended(before.get("history", ()), [None, None, int(level)]),
        }
        return after, _answer(level, bad, metrics, state, count)


def repetition_of(text: str) -> float:
    """How much of a text repeats itself, from 0 to 1: the share of word triples that were there before."""
    words = text.split(None, _WORDS)[:_WORDS]
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 0.0 if len(triples) < 10 else 1.0 - len(set(triples)) / len(triples)


def _risk(drift: float, coherence: float, repetition: float, complexity: float) -> float:
    """From 0 to 1: mostly drift and lost coherence; what is complex or repeats itself adds to it."""
    raw = 0.6 * drift + 0.3 * (1.0 - coherence) + 0.3 * max(0.0, repetition - 0.3) + 0.1 * max(0.0, complexity - 0.5)
    return min(1.0, raw)


def _answer(
    level: Level,
    reasons: tuple[str, ...],
    metrics: Mapping[str, float | bool | None],
    state: AgentState,
    count: int,
) -> AgentAnswer:
    room = (state.lambda1 - 0.05) / 0.15
    sampling = {
        "temperature": round(0.3 + 0.6 * room, 4),
        "top_p": round(0.8 + 0.15 * room, 4),
        "max_tokens": 256 + round(768 * room),
    }
    return AgentAnswer(level.word, _DECISIONS[level], reasons, metrics, sampling, count)


def _metrics(state: AgentState) -> dict[str, float | bool | None]:
    named = {"E": state.energy, "I": state.integrity, "S": state.entropy, "V": state.void, "lambda1": state.lambda1}
    threshold = void_threshold(state)
    return {**named, "coherence": state.coherence, "void": is_void(state, threshold), "void_threshold": threshold}


def _appended(history: Sequence[Any], entry: list[float | int | None]) -> list[Any]:
    return [*history, entry][-_HISTORY:]


def _state_in(plain: Mapping[str, Any]) -> AgentState:
    kept = plain.get("state")
    return AgentState() if kept is None else AgentState(**{**kept, "voids": tuple(kept["voids"])})


def _problems(parameters: object, ethical: object, text: object, complexity: object) -> tuple[str, ...]:
    """What is not as it must be, in words; each said once, however much of it there is."""
    found = [_problem_of("parameters", parameters, _PARAMETERS), _problem_of("ethical_drift", ethical, _ETHICS)]
    if not isinstance(text, str):
        found.append(f"response_text is a {type(text).__name__}, not a text")
    elif not text.strip():
        found.append("response_text is empty")
    if not _is_number(complexity) or not 0.0 <= complexity <= 1.0:  # type: ignore[operator]
        found.append(f"complexity must be a number from 0 to 1, not {complexity!r:.40}")
    return tuple(problem for problem in found if problem)


def _problem_of(name: str, values: object, length: int) -> str:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        return f"{name} is a {type(values).__name__}, not {length} numbers"
    if len(values) != length:
        return f"{name} has {len(values)} values, not {length}"
    if isinstance(values, Mapping):
        return f"{name} is a {type(values).__name__}, not {length} numbers"
    if isinstance(values, (list, tuple)) and {float}.issuperset(map(type, values)) and all(map(math.isfinite, values)):
        return ""
    bad = next((index for index in range(length) if not _is_number(values[index])), None)
    return "" if bad is None else f"{name}[{bad}] is {values[bad]!r:.40}, not a finite number"


def _is_number(value: object) -> bool:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
