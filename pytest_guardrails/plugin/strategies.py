"""Hypothesis strategies for what a test may be hurt with: feedback, numbers, calls, processes, networks, LLM scripts.

    @given(feedback())
    def test_the_agent_stops(told): ...

Import this module where it is used; Hypothesis is needed then, and nothing else of the plugin is. Smaller examples are
milder ones: honest feedback, no fault, few turns.
"""

from typing import Any

from hypothesis import strategies as st

from chaos.faults.feedback import Feedback, FeedbackKind
from chaos.faults.llm import Script, Then, Trouble, Turn
from chaos.faults.network import Corrupt, Cut, Delay, Direction, Ending, Fault, Rule, SlowClose, Throttle
from chaos.faults.numbers import NonFinite

__all__ = [
    "call_faults",
    "feedback",
    "fleet_faults",
    "llm_scripts",
    "llm_turns",
    "network_rules",
    "non_finite",
    "numbers_with_some_non_finite",
]

_WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
_TEXTS = st.lists(_WORDS, min_size=1, max_size=6).map(" ".join)
_KINDS = (FeedbackKind.HONEST, FeedbackKind.IDENTICAL, FeedbackKind.CYCLIC, FeedbackKind.ALMOST, FeedbackKind.DRIFTING)
_CONNECTIONS = st.none() | st.frozensets(st.integers(1, 5), min_size=1)


def call_faults() -> st.SearchStrategy[dict[str, Any]]:
    """One fault at a call, as `faults.child(folder, table)` takes it, and `fleet(call_faults=[table])`.

    The nth call of a family fails, is cut short, or is the last one made; later calls are milder.
    """
    nth = st.integers(1, 20).map(lambda number: 21 - number)
    failing = st.fixed_dictionaries(
        {"call": st.sampled_from(["write", "sync", "open", "rename"]), "nth": nth},
    ).flatmap(lambda table: st.sampled_from(["EIO", "ENOSPC"]).map(lambda name: {**table, "errno": name}))
    short = st.fixed_dictionaries({"call": st.just("write"), "nth": nth, "short": st.integers(1, 8)})
    killing = st.fixed_dictionaries(
        {"call": st.sampled_from(["write", "sync", "rename"]), "nth": nth, "kill": st.sampled_from(["before", "after"])}
    )
    return st.one_of(failing, short, killing)


def fleet_faults(max_size: int = 3) -> st.SearchStrategy[list[dict[str, Any]]]:
    """What `fleet(worker, faults=...)` does to its workers: kills and pauses, at least one fault.

    They come by the fleet's own statements, so that a slow machine has as many as a fast one; add tables of your own.

    Args:
        max_size: how many tables at most.
    """
    statements, count = st.integers(1, 50).map(lambda number: 51 - number), st.integers(1, 5)
    kill = st.fixed_dictionaries(
        {"kind": st.just("kill"), "statements": statements, "count": count, "workers": st.sampled_from([1, 2, "all"])}
    )
    pause = st.fixed_dictionaries(
        {
            "kind": st.just("pause"),
            "statements": statements,
            "count": count,
            "lasts": st.sampled_from(["10ms", "50ms", "200ms"]),
        }
    )
    return st.lists(kill | pause, min_size=1, max_size=max_size)


def non_finite() -> st.SearchStrategy[float]:
    """NaN and the two infinities."""
    return st.sampled_from(list(NonFinite)).map(lambda kind: kind.number)


def numbers_with_some_non_finite(max_size: int = 20) -> st.SearchStrategy[list[float]]:
    """Lists of floats with at least one that is not finite."""
    finite = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=max_size - 1)
    return st.builds(_put_in, finite, non_finite(), st.integers(0, max_size))


def feedback(kinds: tuple[FeedbackKind, ...] = _KINDS) -> st.SearchStrategy[Feedback]:
    """What a loop is told round after round; `chaos.faults.feedback.rounds` makes the texts.

    Args:
        kinds: which kinds, mildest first.
    """
    return st.sampled_from(kinds).flatmap(_feedback_of)


def network_rules(*, longest_delay_s: float = 0.01) -> st.SearchStrategy[Rule]:
    """What a `ChaosProxy` is told to do.

    Args:
        longest_delay_s: of any delay, since these are really waited for.
    """
    return st.builds(
        Rule,
        fault=_faults(longest_delay_s),
        direction=st.sampled_from(Direction),
        connections=_CONNECTIONS,
        probability=st.sampled_from([1.0, 0.5]),
    )


def llm_turns() -> st.SearchStrategy[Turn]:
    """What a fake LLM does to a request: it answers, or makes any trouble but one that only a time-out ends."""
    troubles = [one for one in Trouble if one not in (Trouble.TIMEOUT, Trouble.STALL, Trouble.RATE_LIMIT)]
    plain = st.builds(Turn, say=_TEXTS)
    wrong = st.builds(Turn, say=_TEXTS, trouble=st.sampled_from(troubles))
    busy = st.builds(Turn, trouble=st.just(Trouble.RATE_LIMIT), retry_after_s=st.sampled_from([0.001, 0.01]))
    return plain | wrong | busy | st.builds(Turn, feedback=feedback(), times=st.integers(1, 5))


def llm_scripts(max_turns: int = 5) -> st.SearchStrategy[Script]:
    """Scripts of one turn or more that never end: the last turn goes on, or all come again."""
    turns = st.lists(llm_turns(), min_size=1, max_size=max_turns).map(tuple)
    return st.builds(Script, turns=turns, then=st.sampled_from([Then.LAST, Then.AGAIN]))


def _put_in(numbers: list[float], bad: float, place: int) -> list[float]:
    return [*numbers[:place], bad, *numbers[place:]]


def _feedback_of(kind: FeedbackKind) -> st.SearchStrategy[Feedback]:
    texts: st.SearchStrategy[tuple[str, ...]]
    if kind is FeedbackKind.CYCLIC:
        texts = st.lists(_TEXTS, min_size=2, max_size=4, unique=True).map(tuple)
    elif kind is FeedbackKind.HONEST:
        texts = st.lists(_TEXTS, min_size=1, max_size=10, unique=True).map(tuple)
    elif kind is FeedbackKind.ALMOST:
        texts = st.builds("{} {}".format, _TEXTS, st.integers(100, 10_000)).map(lambda text: (text,))
    else:
        texts = _TEXTS.map(lambda text: (text,))
    return st.builds(Feedback, kind=st.just(kind), texts=texts, seed=st.integers(0, 1000))


def _faults(longest_s: float) -> st.SearchStrategy[Fault]:
    delays = st.floats(0, longest_s)
    return st.one_of(
        st.builds(Delay, latency_s=delays, jitter_s=delays),
        st.builds(SlowClose, delay_s=st.floats(longest_s / 10, longest_s)),
        st.builds(Throttle, bytes_per_s=st.floats(1e5, 1e7)),
        st.builds(Corrupt, rate=st.floats(0.001, 1)),
        st.builds(Cut, how=st.sampled_from([Ending.TRUNCATE, Ending.RESET]), after_bytes=st.integers(0, 1000)),
    )
