"""What was acknowledged is found in recovered values though the two differ in form, where the run proves it."""

import json
from typing import Any

import pytest

from chaos.observations import Damage, Verdict
from chaos.oracles.durable import blind, durable
from chaos.oracles.evidence import proven_rule
from tests.oracles.making import reference, returned, seen


def field(number: int) -> dict[str, Any]:
    return {"count": number, "ok": True}


def lines(number: int) -> str:
    return "".join(f"entry-{one}\n" for one in range(1, number + 1))


FORMS = [
    pytest.param(lambda n: f"{n}\n", (1, 2, 3), id="a number and its printed digits"),
    pytest.param(lambda n: f"{n}\n".encode(), (1, 2, 3), id="bytes"),
    pytest.param(lambda n: n, ("1", "2", "3"), id="digits and their number"),
    pytest.param(field, (1, 2, 3), id="a field"),
    pytest.param(field, ("1", "2", "3"), id="a field, and digits"),
    pytest.param(lambda n: json.dumps(field(n), indent=1), (1, 2, 3), id="printed JSON"),
    pytest.param(lambda n: f"{n} saved, count={n};\n", (1, 2, 3), id="words"),
    pytest.param(lines, ("entry-1", "entry-2", "entry-3"), id="printed lines"),
    pytest.param(lambda n: json.dumps(lines(n).split()), ("entry-1", "entry-2", "entry-3"), id="a printed list"),
]


@pytest.mark.parametrize(("shown", "acked"), FORMS)
def test_an_acknowledgement_made_too_early_is_seen_whatever_the_form(shown: Any, acked: tuple[object, ...]) -> None:
    early = reference(*[shown(number) for number in (0, 0, 1, 2, 3)], acked=acked)
    answer = durable(seen(shown(1), acked=2), early)
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.LOST)
    assert durable(seen(shown(2), acked=2), early).verdict is Verdict.HOLDS
    assert blind(early) == ""


@pytest.mark.parametrize(("shown", "acked"), FORMS)
def test_one_in_time_is_not(shown: Any, acked: tuple[object, ...]) -> None:
    in_time = reference(*[shown(number) for number in (0, 1, 2, 3, 3)], acked=acked)
    for made in (1, 2):
        assert durable(seen(shown(made), acked=made), in_time).verdict is Verdict.HOLDS
        assert durable(seen(shown(made + 1), acked=made), in_time).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(reference("a", "b", "c", "c", acked=(1, 2)), id="nothing of it is there"),
        pytest.param(reference({"n": 0}, {"n": 1}, {"n": 2}, {"n": 0}, acked=(1, 2)), id="not in the end"),
        pytest.param(reference({"n": 0}, {"n": 2}, {"n": 1}, {"n": 2}, acked=(1, 2)), id="it goes back"),
        pytest.param(reference({"n": 7}, {"n": 7}, {"n": 7}, {"n": 2}, acked=(1, 2)), id="the last one alone"),
        pytest.param(reference(*[{"n": n} for n in (0, 1, 2, 1, 1)], acked=(1, 2, 1)), id="values that repeat"),
        pytest.param(
            reference("1 2 a", "1 2 b", "1 2 c", "1 2 c", acked=(1, 2)), id="printed before anything was saved"
        ),
        pytest.param(reference("0 a", "0 1 b", "0 1 c", "0 1 c", acked=(0, 1)), id="numbers of commands in a text"),
    ],
)
def test_where_the_run_proves_nothing_nothing_is_claimed_and_that_is_told(run: Any) -> None:
    assert proven_rule(run) is None
    assert "acknowledgements made too early are not judged" in blind(run)


def test_what_a_place_shows_besides_says_nothing() -> None:
    run = reference(*[field(number) for number in (0, 1, 2, 3, 3)], acked=(1, 2, 3))
    for torn in ({"count": 99}, {"count": 0, "fresh": True}, {"ok": True}, "damaged"):
        assert "acknowledged and not there" not in durable(seen(torn, acked=2), run).message


def test_one_place_that_shows_it_is_enough() -> None:
    both = reference(*[{"now": n, "checkpoint": n} for n in (0, 1, 2, 3, 3)], acked=(1, 2, 3))
    assert durable(seen({"now": 2, "checkpoint": 1}, acked=2), both).verdict is Verdict.HOLDS
    assert durable(seen({"now": 1, "checkpoint": 1, "lost": 1}, acked=2), both).verdict is Verdict.VIOLATED


def test_where_something_else_tells_that_it_is_not_told_twice() -> None:
    told = {"acked": (1, 2)}
    assert blind(reference("a", "b", "c", "c", checked=True, **told)) == ""  # type: ignore[arg-type]
    assert blind(reference("a", "b", "c", "c", writers=2, **told)) == ""
    assert blind(reference("a", "b", "c", "c", vague="they differ", **told)) == ""  # type: ignore[arg-type]
    assert blind(reference("a", "a", "a", "a", **told)) == ""  # type: ignore[arg-type]
    assert blind(reference("a", returned("a"))) == ""
