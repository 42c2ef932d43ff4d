"""The oracle for concurrent histories: real ones of known verdict, made ones, and any at all against brute force."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.errors import UsageError
from chaos.history import Answer, Operation
from chaos.observations import Verdict
from chaos.oracles.linearizable import ILLEGAL, Judgement, Model, linearizable, model_named
from chaos.oracles.linearizable.frozen import frozen
from chaos.oracles.linearizable.models import COUNTER, MAP, MODELS, QUEUE, REGISTER, SET
from chaos.oracles.linearizable.wording import refutation_words

HISTORIES = Path(__file__).parent / "histories"
_ETCD = re.compile(r"INFO\s+jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)")
_MAP = re.compile(r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*?)", :value (.*)\}')


def etcd(name: str) -> Iterator[Operation]:
    """A register's history: a failed compare-and-set was answered False, other failures had no effect."""
    calls: dict[int, tuple[int, str, Any]] = {}
    for position, line in enumerate((HISTORIES / name).read_text().splitlines()):
        found = _ETCD.match(line)
        if found is None:
            continue
        process, kind, call, value = int(found[1]), found[2], found[3], found[4]
        numbers = [int(word) for word in re.findall(r"\d+", value)]
        if kind == "invoke":
            calls[process] = position, call, numbers if call == "cas" else next(iter(numbers), None)
            continue
        called, _, argument = calls.pop(process)
        answer = {"ok": Answer.OK, "info": Answer.UNKNOWN, "fail": Answer.FAIL}[kind]
        result: Any = next(iter(numbers), None) if call == "read" else None
        if call == "cas" and answer is not Answer.UNKNOWN:
            answer, result = Answer.OK, kind == "ok"
        yield op(process, call, argument, result, called, position, answer)
    for process, (called, call, argument) in calls.items():
        yield op(process, call, argument, None, called, None, Answer.UNKNOWN)


def key_value(name: str) -> Iterator[Operation]:
    calls: dict[int, tuple[int, Any]] = {}
    for position, line in enumerate((HISTORIES / name).read_text().splitlines()):
        found = _MAP.match(line)
        assert found
        process, kind, call, key = int(found[1]), found[2], found[3], found[4]
        value = None if found[5] == "nil" else found[5].strip('"')
        if kind == "invoke":
            calls[process] = position, value
        else:
            called, argument = calls.pop(process)
            result = value if call == "get" else None
            yield Operation(
                process=process, name=call, key=key, argument=argument, result=result, called=called, returned=position
            )


def op(
    process: int,
    name: str,
    argument: Any = None,
    result: Any = None,
    called: float = 0,
    returned: float | None = None,
    answer: Answer = Answer.OK,
    key: Any = None,
) -> Operation:
    end = returned if answer is Answer.OK else None
    return Operation(
        process=process,
        name=name,
        argument=argument,
        result=result,
        called=called,
        returned=end,
        answer=answer,
        key=key,
    )


def refuted(judged: Judgement) -> list[tuple[str, Any, Any]]:
    assert judged.verdict is Verdict.VIOLATED
    return [(one.name, one.argument, one.result) for one in judged.refutation]


@pytest.mark.parametrize(
    ("name", "holds"), [("etcd_002", True), ("etcd_005", True), ("etcd_022", False), ("etcd_039", False)]
)
def test_real_histories_of_a_register_get_their_known_verdict(name: str, holds: bool) -> None:
    judged = linearizable(etcd(f"{name}.log"), REGISTER)
    assert judged.verdict is (Verdict.HOLDS if holds else Verdict.VIOLATED)


@pytest.mark.parametrize(("name", "holds"), [("c01-ok", True), ("c01-bad", False)])
def test_real_histories_of_a_map_get_their_known_verdict(name: str, holds: bool) -> None:
    judged = linearizable(key_value(f"{name}.txt"), MAP, initial="")
    assert judged.verdict is (Verdict.HOLDS if holds else Verdict.VIOLATED)


def test_a_refutation_is_of_one_key_and_small() -> None:
    judged = linearizable(key_value("c01-bad.txt"), MAP, initial="")
    assert len(judged.refutation) == 2
    assert {one.key for one in judged.refutation} == {judged.key}
    assert "of key '7'" in refutation_words(judged, MAP)


def test_a_stale_read_is_refuted_without_what_came_later_and_without_the_other_write() -> None:
    history = [
        op(0, "write", 1, None, 0, 1),
        op(1, "write", 5, None, 2, 3),
        op(0, "read", None, 5, 4, 5),
        op(1, "read", None, 1, 6, 7),
        op(2, "write", 9, None, 8, 9),
    ]
    # That write(1) had returned is needed: otherwise it might have come between the two reads.
    assert refuted(linearizable(history, REGISTER)) == [("write", 1, None), ("read", None, 5), ("read", None, 1)]


def test_an_answer_out_of_nowhere_is_refuted_by_itself() -> None:
    history = [op(0, "write", 1, None, 0, 1), op(1, "read", None, 7, 2, 3)]
    assert refuted(linearizable(history, REGISTER)) == [("read", None, 7)]


def test_calls_at_the_same_time_may_be_ordered_either_way_calls_after_each_other_may_not() -> None:
    together = [op(0, "write", 1, None, 0, 10), op(1, "read", None, None, 5, 20)]
    after = [op(0, "write", 1, None, 0, 3), op(1, "read", None, None, 5, 20)]
    assert linearizable(together, REGISTER).verdict is Verdict.HOLDS
    assert linearizable(after, REGISTER).verdict is Verdict.VIOLATED


def test_an_unknown_write_may_take_effect_late_or_never() -> None:
    unknown = op(0, "write", 1, called=0, answer=Answer.UNKNOWN)
    late = [unknown, op(1, "read", None, None, 1, 2), op(1, "read", None, 1, 3, 4)]
    never = [unknown, op(1, "read", None, None, 1, 2)]
    undone = [unknown, op(1, "read", None, 1, 1, 2), op(1, "read", None, None, 3, 4)]
    assert linearizable(late, REGISTER).verdict is Verdict.HOLDS
    assert linearizable(never, REGISTER).verdict is Verdict.HOLDS
    assert linearizable(undone, REGISTER).verdict is Verdict.VIOLATED


def test_a_failed_call_has_no_effect() -> None:
    failed = op(0, "write", 1, called=0, answer=Answer.FAIL)
    assert linearizable([failed, op(1, "read", None, None, 1, 2)], REGISTER).verdict is Verdict.HOLDS
    assert linearizable([failed, op(1, "read", None, 1, 1, 2)], REGISTER).verdict is Verdict.VIOLATED


def test_keys_are_judged_apart() -> None:
    history = [
        op(0, "put", "x", None, 0, 1, key="a"),
        op(1, "get", None, None, 2, 3, key="b"),
        op(1, "get", None, "x", 4, 5, key="a"),
    ]
    assert linearizable(history, MAP).verdict is Verdict.HOLDS
    wrong = linearizable([*history, op(2, "get", None, "x", 6, 7, key="b")], MAP)
    assert (wrong.verdict, wrong.key) == (Verdict.VIOLATED, "b")


SOUND: dict[str, list[Operation]] = {
    "register": [op(0, "cas", [None, 2], True, 0, 1), op(0, "cas", [1, 3], False, 2, 3), op(1, "read", None, 2, 4, 5)],
    "counter": [op(0, "add", 2, 2, 0, 3), op(1, "add", 1, 3, 1, 2), op(0, "read", None, 3, 4, 5)],
    "set": [
        op(0, "add", "x", None, 0, 1),
        op(1, "contains", "x", True, 2, 3),
        op(1, "remove", "x", None, 4, 5),
        op(0, "read", None, [], 6, 7),
    ],
    "queue": [
        op(0, "enqueue", 1, None, 0, 5),
        op(1, "enqueue", 2, None, 1, 4),
        op(0, "dequeue", None, 2, 6, 7),
        op(0, "dequeue", None, 1, 8, 9),
        op(0, "dequeue", None, None, 10, 11),
    ],
    "map": [op(0, "put", "a", None, 0, 1), op(1, "append", "b", None, 2, 3), op(0, "get", None, "ab", 4, 5)],
}
BROKEN: dict[str, list[Operation]] = {
    "register": [op(0, "cas", [None, 2], True, 0, 1), op(1, "cas", [None, 3], True, 2, 3)],
    "counter": [op(0, "add", 1, 1, 0, 3), op(1, "add", 1, 1, 1, 2)],
    "set": [op(0, "add", "x", None, 0, 1), op(1, "contains", "x", False, 2, 3)],
    "queue": [op(0, "enqueue", 1, None, 0, 1), op(1, "dequeue", None, 1, 2, 5), op(0, "dequeue", None, 1, 3, 4)],
    "map": [op(0, "put", "a", None, 0, 1), op(1, "delete", None, None, 2, 3), op(0, "get", None, "a", 4, 5)],
}


@pytest.mark.parametrize("name", MODELS)
def test_each_model_passes_a_sound_history_and_refutes_a_broken_one(name: str) -> None:
    assert linearizable(SOUND[name], model_named(name)).verdict is Verdict.HOLDS
    assert linearizable(BROKEN[name], model_named(name)).verdict is Verdict.VIOLATED


def test_a_first_value_can_be_given() -> None:
    history = [op(0, "read", None, 5, 0, 1)]
    assert linearizable(history, COUNTER, initial=5).verdict is Verdict.HOLDS
    assert linearizable(history, COUNTER).verdict is Verdict.VIOLATED
    assert linearizable([op(0, "dequeue", None, "x", 0, 1)], QUEUE, initial=["x"]).verdict is Verdict.HOLDS
    assert linearizable([op(0, "read", None, ["a"], 0, 1)], SET, initial={"a"}).verdict is Verdict.HOLDS


def _maximum(state: Any, operation: Operation) -> Any:
    if operation.name == "raise":
        return max(state, operation.argument)
    return state if operation.answer is not Answer.OK or operation.result == state else ILLEGAL


def test_a_model_of_ones_own() -> None:
    maximum = Model(name="maximum", initial=0, step=_maximum, names=frozenset({"raise", "read"}))
    history = [op(0, "raise", 3, None, 0, 1), op(1, "raise", 2, None, 2, 3), op(0, "read", None, 3, 4, 5)]
    assert linearizable(history, maximum).verdict is Verdict.HOLDS
    assert linearizable([*history, op(0, "read", None, 2, 6, 7)], maximum).verdict is Verdict.VIOLATED


def test_a_search_that_is_given_up_is_no_verdict() -> None:
    history = [op(number, "write", number, None, number, 100 + number) for number in range(8)]
    judged = linearizable([*history, op(9, "read", None, 99, 300, 301)], REGISTER, limit=10)
    assert judged.verdict is Verdict.UNKNOWN


def test_unknown_operations_and_answers_before_their_calls_are_refused() -> None:
    with pytest.raises(UsageError, match="a queue has no operation 'read'"):
        linearizable([op(0, "read", None, 1, 0, 1)], QUEUE)
    with pytest.raises(UsageError, match="answered before it was called"):
        linearizable([op(0, "dequeue", None, 1, 5, 1)], QUEUE)
    with pytest.raises(UsageError, match="there is no model 'stack'"):
        model_named("stack")


def test_true_is_not_one() -> None:
    assert frozen({"a": [1, {True}]}) != frozen({"a": [1, {1}]})
    assert linearizable([op(0, "write", 1, None, 0, 1), op(0, "read", None, True, 2, 3)], REGISTER).refutation


def concurrent(kind: str, calls: int, *, seed: int, clients: int = 10) -> list[Operation]:
    """A correct history in which all clients are always busy; each call takes effect at some time of its own."""
    random, model, now = Random(seed), model_named(kind), 0
    state: Any = model.initial
    pending: dict[int, tuple[str, Any, int, Any]] = {}
    history: list[Operation] = []
    while len(history) < calls:
        now, client = now + 1, random.randrange(clients)
        if client not in pending:
            name = random.choice(["enqueue", "dequeue"] if kind == "queue" else ["read", "write", "cas"])
            argument: Any = {"enqueue": now, "write": now % 5, "cas": [now % 5, now % 3]}.get(name)
            pending[client] = name, argument, now, ...
            continue
        name, argument, called, result = pending.pop(client)
        if result is not ...:
            history.append(op(client, name, argument, result, called, now))
            continue
        tried = [None, True, False] if name == "cas" else [state if kind == "register" else (*state, None)[0]]
        asked = [op(client, name, argument, one, 0, 1) for one in tried]
        after = [(one.result, model.step(state, one)) for one in asked]
        result, state = next((told, then) for told, then in after if then is not ILLEGAL)
        pending[client] = name, argument, called, result if name not in ("write", "enqueue") else None
    cut = [op(one, *asked[:2], None, asked[2], None, Answer.UNKNOWN) for one, asked in pending.items()]
    return history + cut


@pytest.mark.parametrize("kind", ["register", "queue"])
@pytest.mark.parametrize("seed", range(3))
def test_ten_clients_ten_thousand_correct_calls_need_hardly_more_tries_than_calls(kind: str, seed: int) -> None:
    judged = linearizable(concurrent(kind, 10_000, seed=seed), model_named(kind), limit=60_000)
    assert judged.verdict is Verdict.HOLDS


@pytest.mark.parametrize(("kind", "reads"), [("register", "read"), ("queue", "dequeue")])
def test_one_answer_from_nowhere_among_thousands_is_named_alone(kind: str, reads: str) -> None:
    history = concurrent(kind, 3000, seed=1)
    place = max(place for place, one in enumerate(history[:2000]) if one.name == reads)
    history[place] = replace(history[place], result=-1)
    assert refuted(linearizable(history, model_named(kind))) == [(reads, None, -1)]


FIRST, SECOND = op(0, "enqueue", 1, None, 0, 1), op(0, "enqueue", 2, None, 2, 3)
# What a history has beside its refutation, the refutation, and why it is one.
SIGNS: dict[str, tuple[list[Operation], list[Operation], str]] = {
    "an item is taken before it is put in": (
        [op(1, "enqueue", 1, None, 2, 3)],
        [op(0, "dequeue", None, 1, 0, 1)],
        "it was put in later",
    ),
    "an item is taken twice": (
        [FIRST],
        [op(1, "dequeue", None, 1, 2, 3), op(2, "dequeue", None, 1, 2, 4)],
        "it was put in once",
    ),
    "an item overtakes another one": (
        [SECOND],
        [FIRST, op(1, "dequeue", None, 2, 4, 5), op(1, "dequeue", None, 1, 6, 7)],
        "2 was put in behind 1",
    ),
    "an item gets lost": (
        [SECOND],
        [FIRST, op(1, "dequeue", None, 2, 4, 5)],
        "2 was put in behind 1, which nobody was given until then",
    ),
    "a queue with an item in it is found empty": (
        [],
        [FIRST, op(1, "dequeue", None, None, 2, 3), op(1, "dequeue", None, 1, 4, 5)],
        "",
    ),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_a_broken_queue_of_any_length_gives_itself_away(sign: str) -> None:
    beside, refutation, why = SIGNS[sign]
    filled = [op(3, "enqueue", n, None, 4 * n, 4 * n + 1) for n in range(9, 2000)]
    judged = linearizable([*beside, *refutation, *filled], QUEUE, limit=1)
    assert (judged.verdict, judged.refutation, judged.why) == (Verdict.VIOLATED, tuple(refutation), why)
    assert why in refutation_words(judged, QUEUE)


def test_an_item_that_an_unknown_answer_may_have_been_is_not_lost() -> None:
    beside, refutation, _ = SIGNS["an item gets lost"]
    history = [*beside, *refutation, op(2, "dequeue", None, None, 0, None, Answer.UNKNOWN)]
    assert linearizable(history, QUEUE).verdict is Verdict.HOLDS


VALUES = st.integers(0, 2)
QUEUED = st.integers(0, 4)
CALLS: dict[str, st.SearchStrategy[tuple[str, Any, Any]]] = {
    "register": st.one_of(
        st.tuples(st.just("read"), st.none(), st.none() | VALUES),
        st.tuples(st.just("write"), VALUES, st.none()),
        st.tuples(st.just("cas"), st.lists(VALUES, min_size=2, max_size=2), st.booleans()),
    ),
    "counter": st.one_of(
        st.tuples(st.just("read"), st.none(), VALUES), st.tuples(st.just("add"), VALUES, st.none() | VALUES)
    ),
    "set": st.one_of(
        st.tuples(st.just("read"), st.none(), st.lists(VALUES, unique=True)),
        st.tuples(st.sampled_from(["add", "remove"]), VALUES, st.none()),
        st.tuples(st.just("contains"), VALUES, st.booleans()),
    ),
    "queue": st.one_of(
        st.tuples(st.just("enqueue"), QUEUED, st.none()), st.tuples(st.just("dequeue"), st.none(), st.none() | QUEUED)
    ),
    "map": st.one_of(
        st.tuples(st.just("get"), st.none(), st.sampled_from([None, "a", "ab"])),
        st.tuples(st.just("put"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("append"), st.just("b"), st.none()),
        st.tuples(st.just("delete"), st.none(), st.none()),
    ),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[Model, list[Operation]]:
    """Up to six calls of any answers, at any times, of one thing."""
    name = draw(st.sampled_from(sorted(CALLS)))
    history = []
    for process in range(draw(st.integers(1, 6))):
        call, argument, result = draw(CALLS[name])
        called = draw(st.integers(0, 8))
        answer = draw(st.sampled_from([Answer.OK, Answer.OK, Answer.OK, Answer.UNKNOWN, Answer.FAIL]))
        end = called + draw(st.integers(1, 6)) + 0.5
        history.append(op(process, call, argument, result, called, end, answer))
    return model_named(name), history


def has_an_order(history: list[Operation], model: Model) -> bool:
    """All orders of all subsets that hold every answered call, tried one after the other."""
    sure = [one for one in history if one.answer is Answer.OK]
    doubtful = [one for one in history if one.answer is Answer.UNKNOWN]
    for chosen in range(1 << len(doubtful)):
        some = [*sure, *(one for number, one in enumerate(doubtful) if chosen >> number & 1)]
        if any(is_legal(order, model) for order in permutations(some)):
            return True
    return False


def is_legal(order: tuple[Operation, ...], model: Model) -> bool:
    state: Any = model.initial
    for place, one in enumerate(order):
        if any(later.returned is not None and later.returned < one.called for later in order[place + 1 :]):
            return False
        state = model.step(state, one)
        if state is ILLEGAL:
            return False
    return True


@settings(max_examples=400)
@given(histories())
def test_the_verdict_is_that_of_trying_every_order(drawn: tuple[Model, list[Operation]]) -> None:
    model, history = drawn
    judged = linearizable(history, model)
    assert (judged.verdict is Verdict.HOLDS) == has_an_order(history, model)


@settings(max_examples=200)
@given(histories())
def test_an_order_that_is_given_is_one_and_a_refutation_refutes_and_has_nothing_to_spare(
    drawn: tuple[Model, list[Operation]],
) -> None:
    model, history = drawn
    judged = linearizable(history, model)
    for _, order in judged.order:
        assert is_legal(order, model)
        assert {id(one) for one in order} >= {id(one) for one in history if one.answer is Answer.OK}
    if judged.verdict is Verdict.VIOLATED:
        assert judged.refutation
        last = max(one.returned or 0 for one in judged.refutation)
        rest = [one for one in history if one.called <= last and one.answer is not Answer.FAIL]

        def refutes(known: tuple[Operation, ...]) -> bool:
            return not has_an_order([one if one in known else _doubted(one) for one in rest], model)

        if "nobody was given" in judged.why:  # what the others were answered counts as well
            return
        assert refutes(judged.refutation)
        for one in judged.refutation:
            assert not refutes(tuple(other for other in judged.refutation if other is not one))


def _doubted(one: Operation) -> Operation:
    return op(one.process, one.name, one.argument, None, one.called, None, Answer.UNKNOWN)
