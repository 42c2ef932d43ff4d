"""The JSON report: written, read back, refused, and described by its schema."""

import dataclasses
import json
import math
from importlib import resources
from typing import Any

import jsonschema
import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Roles
from chaos.errors import UsageError
from chaos.observations import Ending, Outcome
from chaos.report.document import SCHEMA_FILE, dump, load, published_schema
from chaos.report.replay import Replay, dump_replay, load_replay
from chaos.report.results import RunResult, Statistics, Status, Stop
from tests.report.making import finding, run_result, scenario_result

FULL = run_result(
    scenario_result(
        findings=(finding(), finding(source=None, outcome=Outcome(ending=Ending.RETURNED, value='{"$float":"nan"}'))),
        stop=Stop(status=Status.NOT_MEASURED, message="\udc80 odd \x00 path"),
        statistics=Statistics(states=3, by_model=(("kill", 2), ("ext4", 1)), left_out=("x",)),
    ),
    scenario_result(scenario="other"),
    duration_s=1.5,
)


def damaged(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dump(FULL)), **changes}).encode()


def test_a_report_reads_back_as_it_was() -> None:
    assert load(dump(FULL), "report.json") == FULL


def test_the_published_schema_accepts_reports_and_is_the_one_in_the_package() -> None:
    published = json.loads(resources.files("chaos.report").joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))
    assert published == published_schema()
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(json.loads(dump(FULL)), published, cls=jsonschema.Draft202012Validator)


def test_the_schema_refuses_a_report_with_a_wrong_type() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(damaged(exit_code="1")), published_schema())


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        dump(dataclasses.replace(FULL, duration_s=math.nan))


def test_exit_code_and_outcomes_stand_on_top() -> None:
    data = json.loads(dump(run_result(scenario_result())))
    assert (data["exit_code"], data["outcomes"]) == (0, [{"scenario": "saver", "status": "passed", "why": ""}])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (dump(FULL)[:200], "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "not a chaos-report"),
        (damaged(version=2), "reads up to 1"),
        (damaged(version="1"), "whole number"),
        (damaged(run={}), r"run\.id is missing"),
        (damaged(run={"id": 3}), r"run\.id is 3, and must be string"),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(content, "report.json")


def test_keys_from_a_later_minor_change_are_passed_over() -> None:
    assert load(damaged(extra_key=1), "report.json") == FULL


# Replay files

REPLAY = Replay(
    finding="0123456789ab",
    scenario="saver",
    oracle="recovers",
    trace="../../traces/saver.trace",
    model="kill",
    recipe="4/100",
    point=4,
    acked=1,
    oracles=("recovers",),
)
ROLES = Roles(
    workload=PythonTarget(ref="targets:workload", search=("/home/ada/app",)),
    recover=CommandTarget(commands=(("git", "fsck"),), env=(("A", "1"),)),
)


def test_a_replay_file_reads_back_as_it_was() -> None:
    assert load_replay(dump_replay(REPLAY, ROLES), "replay.json") == (REPLAY, ROLES)


def test_a_closure_of_a_test_is_named_and_refused_with_the_way_out() -> None:
    roles = dataclasses.replace(ROLES, workload=CallableTarget(function=lambda: None))
    content = dump_replay(dataclasses.replace(REPLAY, origin="tests/test_a.py::test_b"), roles)
    with pytest.raises(UsageError, match=r"test_a\.py::test_b") as caught:
        load_replay(content, "replay.json")
    assert "run that test again" in caught.value.hint


@pytest.mark.parametrize("roles", [None, {}, {"workload": {"kind": "pickle"}}, {"workload": 3}])
def test_a_replay_file_without_targets_is_refused(roles: object) -> None:
    data = {**json.loads(dump_replay(REPLAY, ROLES)), "roles": roles}
    with pytest.raises(UsageError):
        load_replay(json.dumps(data).encode(), "replay.json")


def test_runs_without_scenarios_are_reported_too() -> None:
    empty = RunResult(id="a", started="b")
    assert load(dump(empty), "x") == empty
