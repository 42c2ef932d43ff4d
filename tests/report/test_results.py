"""Statuses, exit codes and expectations: doubt never counts as a pass, wrong in either direction fails."""

from dataclasses import dataclass

import pytest

from chaos.observations import Damage, Finding, Verdict
from chaos.oracles import OracleVerdict
from chaos.report.expectations import compare, matches
from chaos.report.results import ScenarioResult, Statistics, Status, Stop, exit_code, status, violations, why
from tests.report.making import finding, scenario_result


@dataclass(frozen=True)
class Want:
    oracle: str | None = None
    model: str | None = None
    damage: Damage | None = None
    source: str | None = None


def with_findings(*findings: Finding, expected: tuple[Want, ...] = ()) -> ScenarioResult:
    return scenario_result(findings=findings, expectation=compare(expected, findings))


# Expectations


def test_with_no_expectation_a_violation_is_a_surprise() -> None:
    assert compare((), [finding()]).surprises == ("0123456789ab",)


def test_an_expected_finding_meets_the_expectation() -> None:
    assert compare([Want(oracle="recovers")], [finding()]).met


def test_an_expectation_without_its_finding_is_missing() -> None:
    result = compare([Want(oracle="durable", damage=Damage.LOST)], [])
    assert result.missing == ("oracle durable, damage lost acknowledgement",)
    assert not result.met


def test_an_expectation_of_an_oracle_that_was_not_asked_says_so() -> None:
    missing = compare([Want(oracle="resumable")], [], ["recovers", "atomic"]).missing
    assert missing == ("oracle resumable (which was not asked: name it in `oracles`, beside recovers, atomic)",)
    assert compare([Want(oracle="atomic")], [], ["recovers", "atomic"]).missing == ("oracle atomic",)


def test_a_second_finding_that_nothing_expects_is_a_surprise() -> None:
    result = compare([Want(oracle="recovers")], [finding(), finding(id="f" * 12, oracle="atomic")])
    assert result.surprises == ("f" * 12,)
    assert not result.missing


def test_self_healed_damage_need_not_be_expected_and_may_be() -> None:
    healed = finding(damage=Damage.SELF_HEALED)
    assert compare((), [healed]).met
    assert compare([Want(damage=Damage.SELF_HEALED)], [healed]).met


@pytest.mark.parametrize(
    "want",
    [
        Want(),
        Want(model="kill"),
        Want(damage=Damage.CANNOT_START),
        Want(source="targets.py"),
        Want(source="app/targets.py:12"),
        Want(source="targets.py:12 save"),
        Want(source="save"),
    ],
)
def test_each_attribute_matches_what_it_names(want: Want) -> None:
    assert matches(want, finding())


@pytest.mark.parametrize(
    "want",
    [
        Want(oracle="atomic"),
        Want(model="posix"),
        Want(damage=Damage.LOUD),
        Want(source="targets.py:1"),
        Want(source="gets.py"),
        Want(source="other.py"),
    ],
)
def test_each_attribute_refuses_what_it_does_not_name(want: Want) -> None:
    assert not matches(want, finding())


def test_a_source_may_name_a_path_or_a_librarys_line() -> None:
    foreign = finding(source=None, extra={"blamed": "write() of 3 bytes to state.json"})
    assert matches(Want(source="state.json"), foreign)
    deep = finding(extra={"frames": "/usr/lib/python3.11/dbm/dumb.py:140 _commit; /home/ada/targets.py:3 save"})
    assert matches(Want(source="dumb.py"), deep)


# Status and exit code


def test_a_scenario_that_holds_passes() -> None:
    assert (status(scenario_result()), exit_code([scenario_result()])) == (Status.PASSED, 0)


def test_a_violation_is_exit_code_1() -> None:
    result = with_findings(finding())
    assert (status(result), exit_code([result])) == (Status.VIOLATED, 1)


def test_an_expected_finding_is_exit_code_0_and_a_missing_one_is_1() -> None:
    assert exit_code([with_findings(finding(), expected=(Want(),))]) == 0
    missing = with_findings(expected=(Want(),))
    assert exit_code([missing]) == 1
    assert why(missing) == "expected and not found: any violation"


def test_self_healed_damage_is_no_violation() -> None:
    result = with_findings(finding(damage=Damage.SELF_HEALED))
    assert not violations(result)
    assert exit_code([result]) == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"statistics": Statistics()}, "no crash state was reached"),
        (
            {"unmeasured": ("can't be modelled: a.db: mapped by io_uring",)},
            "can't be modelled: a.db: mapped by io_uring",
        ),
        ({"verdicts": ()}, "no oracle could tell"),
        (
            {"verdicts": (OracleVerdict(oracle="atomic", verdict=Verdict.UNKNOWN, reason="2 writers"),)},
            "no oracle could tell: atomic: 2 writers",
        ),
        ({"stop": Stop(status=Status.NOT_MEASURED, message="no engine works here")}, "no engine works here"),
    ],
)
def test_what_tested_nothing_never_passes(changed: dict[str, object], reason: str) -> None:
    result = scenario_result(**changed)
    assert (status(result), why(result), exit_code([result])) == (Status.NOT_MEASURED, reason, 3)


def test_an_oracle_asked_for_by_name_that_can_not_tell_is_not_a_pass() -> None:
    verdicts = (
        OracleVerdict(oracle="recovers", verdict=Verdict.HOLDS, held=3),
        OracleVerdict(oracle="atomic", verdict=Verdict.UNKNOWN, reason="2 writers"),
    )
    assert status(scenario_result(verdicts=verdicts)) is Status.PASSED
    assert status(scenario_result(verdicts=verdicts, asked=("atomic",))) is Status.NOT_MEASURED


def test_a_violation_counts_also_where_something_was_not_measured() -> None:
    result = with_findings(finding())
    unmeasured = scenario_result(findings=result.findings, expectation=result.expectation, unmeasured=("x",))
    assert status(unmeasured) is Status.VIOLATED


def test_a_target_broken_without_a_crash_is_a_violation_though_no_state_was_reached() -> None:
    broken = finding(state="")
    result = scenario_result(findings=(broken,), expectation=compare((), [broken]), statistics=Statistics())
    assert status(result) is Status.VIOLATED


def test_an_oracles_own_crash_is_a_harness_fault() -> None:
    verdicts = (OracleVerdict(oracle="atomic", verdict=Verdict.UNKNOWN, fault="KeyError: 'x'"),)
    result = scenario_result(verdicts=verdicts)
    assert (status(result), why(result), exit_code([result])) == (Status.FAULT, "KeyError: 'x'", 4)


def test_among_several_scenarios_interruption_fault_usage_violation_and_doubt_win_in_this_order() -> None:
    passed, violated = scenario_result(), with_findings(finding())
    doubt = scenario_result(statistics=Statistics())
    usage = scenario_result(stop=Stop(status=Status.USAGE, message="x"))
    fault = scenario_result(stop=Stop(status=Status.FAULT, message="x"))
    cut = scenario_result(stop=Stop(status=Status.INTERRUPTED, message="x"))
    results = [passed, doubt, violated, usage, fault, cut]
    assert [exit_code(results[: n + 1]) for n in range(len(results))] == [0, 3, 1, 2, 4, 130]
    assert exit_code([passed], interrupted=True) == 130


def test_a_run_of_nothing_tested_nothing() -> None:
    assert exit_code([]) == 3


def test_a_model_of_which_nothing_was_tried_is_no_pass() -> None:
    result = scenario_result(findings=(), statistics=Statistics(states=40, by_model=(("kill", 40),), untried=("ext4",)))
    assert status(result) is Status.NOT_MEASURED
    assert why(result) == "the budget ended before any state of ext4 alone was tried; give a larger one"
