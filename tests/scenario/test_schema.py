"""The published schema and the loader say the same."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.scenario import ScenarioError, json_schema
from chaos.scenario.loader import parse
from chaos.scenario.toml import parse_toml

ROOT = Path(__file__).resolve().parents[2]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_published_file_is_the_schema() -> None:
    published = ROOT / "chaos" / "scenario" / "scenario.schema.json"
    assert json.loads(published.read_text()) == json_schema(), "write it anew: chaos schema > " + str(published)


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path) -> None:
    VALIDATOR.validate(parse_toml(path.read_text()))


WORDS = [
    "",
    "a",
    "a:b",
    "a.b:c.d",
    "a:",
    "a b:c",
    "kill",
    "posix",
    "recovers",
    "clean",
    "fork",
    "command",
    "explore",
    "auto",
    "10s",
    "0s",
    "5 ms",
    "10",
    "64MB",
    "0MB",
    "1.5GiB",
    "cannot start",
    "x\n",
]
SCALARS = st.sampled_from([0, 1, 1000, -1, 2.5, -0.5, math.inf, True, False, *WORDS])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=4)


def table(*keys: str, values: st.SearchStrategy[Any] = VALUES) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values))


TARGETS = st.fixed_dictionaries(
    {"workload": st.just("a:b") | VALUES, "recover": st.just("a:b") | VALUES},
    optional={"setup": VALUES, "check": VALUES, "resume": VALUES, "other": VALUES},
)
DOCUMENTS = st.fixed_dictionaries(
    # No newline at the end: the validator's `$` is Python's, which also matches before one; JSON schema's does not.
    {"name": st.just("x") | SCALARS.filter(lambda word: word != "x\n"), "target": TARGETS | VALUES},
    optional={
        "description": SCALARS,
        "kind": SCALARS,
        "models": VALUES,
        "isolation": SCALARS,
        "oracles": VALUES,
        "exclude": VALUES,
        "deadline": SCALARS,
        "workload_deadline": SCALARS,
        "memory": SCALARS,
        "budget": SCALARS,
        "engine": SCALARS,
        "depth": SCALARS | st.just(2),
        "other": SCALARS,
        "expect": st.lists(table("oracle", "model", "damage", "source", "other", values=SCALARS), max_size=2),
    },
)


RACERS = st.lists(st.just("a:b") | VALUES, max_size=3) | VALUES
RACES = st.fixed_dictionaries(
    {
        "name": st.just("x"),
        "kind": st.just("race"),
        "target": st.fixed_dictionaries(
            {"workers": RACERS}, optional={"setup": VALUES, "check": VALUES, "workload": VALUES}
        )
        | VALUES,
    },
    optional={
        "oracles": VALUES,
        "history": SCALARS | st.just("queue"),
        "initial": VALUES,
        "deadline": SCALARS,
        "steps": SCALARS,
        "budget": SCALARS,
        "models": VALUES,
        "expect": st.lists(table("oracle", "model", "damage", "source", values=SCALARS), max_size=2),
    },
)


def as_toml(document: dict[str, Any]) -> str:
    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {value(inner)}" for key, inner in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        return "inf" if item == math.inf else json.dumps(item)

    return "".join(f"{key} = {value(item)}\n" for key, item in document.items())


@given(DOCUMENTS | RACES)
def test_loader_and_schema_agree(document: dict[str, Any]) -> None:
    text = as_toml(document)
    assert parse_toml(text) == document
    # What only the loader can know is left out: these keys alone bring it in.
    document = {key: item for key, item in document.items() if key != "isolation"}
    by_schema = VALIDATOR.is_valid(document)
    try:
        parse(as_toml(document), file="x.toml", folder=Path("/"))
        by_loader = True
    except ScenarioError:
        by_loader = False
    assert by_loader == by_schema, text


def test_the_agreement_is_tried_on_good_documents_too() -> None:
    good = {"name": "x", "target": {"workload": "a:b", "recover": [["true"]]}, "budget": "10", "deadline": "5 ms"}
    assert VALIDATOR.is_valid(good)
    assert parse(as_toml(good), file="x.toml", folder=Path("/")).name == "x"
    race = {"name": "x", "kind": "race", "target": {"workers": ["a:b", [["true"]]]}, "steps": 5}
    for terms in ({"initial": 1, "history": "counter"}, {"initial": 1, "oracles": ["no_lost_update"]}, {}):
        assert VALIDATOR.is_valid(race | terms)
        assert parse(as_toml(race | terms), file="x.toml", folder=Path("/")).drive.kind == "race"


RACE = {"kind": "race", "target": {"workers": ["a:b", "a:c"]}}
FLEET = {"kind": "fleet", "target": {"worker": "a:b"}}


@pytest.mark.parametrize("kind", [RACE, FLEET])
def test_a_first_value_that_nothing_looks_at_is_refused_by_both(kind: dict[str, Any]) -> None:
    document = {"name": "x", **kind, "initial": 1}
    assert VALIDATOR.is_valid(document | {"history": "counter"})
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ScenarioError, match="initial"):
        parse(as_toml(document), file="x.toml", folder=Path("/"))
