"""What the fixtures of the harness share: markers, several of them in one test, and replays."""

import re
import shlex
import sys

import pytest

from tests.plugin.running import PLAIN_PROGRAM, refused, replay_id, run, run_anew, told
from tests.warm import run_pytest

PROGRAM = (
    PLAIN_PROGRAM
    + """\
def setup(disk):
    (disk / "n").write_text("0")


def naive(disk, witness):
    (disk / "n").write_text(str(int((disk / "n").read_text() or 0) + 1))


def check(disk, results):
    assert int((disk / "n").read_text()) == len(results)


"""
)
BOTH = (
    PROGRAM
    + """\
def test_both(crash, race):
    crash(workload=replace, recover=load)
    race(naive, naive, setup=setup, check=check)
"""
)


def test_a_finding_of_the_second_fixture_in_a_test_is_replayed_by_it_and_by_it_alone(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, BOTH, failed=1))
    assert f"race: finding {finding} still shows" in run(pytester, BOTH, "--chaos-replay", finding, failed=1)
    mended = BOTH.replace("check=check", "oracles=['returns']").replace("read_text() or 0", "read_text() or '0'")
    run(pytester, mended, "--chaos-replay", finding, passed=1)


@pytest.mark.usefixtures("every_plugin")
def test_a_replay_alone_runs_the_finding_s_test_alone(pytester: pytest.Pytester) -> None:
    text = (
        PLAIN_PROGRAM
        + """def test_first(crash):
    crash(workload=replace, recover=load)


@pytest.mark.parametrize("workload", [replace, overwrite])
def test_weak(crash, workload):
    crash(workload=workload, recover=load)
"""
    )
    finding = replay_id(run(pytester, text, failed=1, passed=2))
    alone = run(pytester, text, "--chaos-replay", finding, failed=1, deselected=2)
    distributed = run_anew(pytester, text, "--chaos-replay", finding, "-n", "1", failed=1)
    assert "2 deselected" in alone
    assert all(f"crash: finding {finding} still shows" in printed for printed in (alone, distributed))


def test_fixtures_that_replayed_nothing_are_named_once(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, BOTH, failed=1))
    other = BOTH.replace("test_both", "test_other")
    printed = run(pytester, other, "--chaos-replay", finding, passed=1, errors=1)
    assert f"crash, race: finding {finding} is of another test; nothing was replayed here" in printed


def test_a_finding_of_another_kind_is_refused_by_name(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, BOTH.replace("    crash(workload=replace, recover=load)\n", ""), failed=1))
    other = BOTH.replace("    race(naive, naive, setup=setup, check=check)\n", "")
    assert "is of kind race, and this is of kind explore" in run(pytester, other, "--chaos-replay", finding, failed=1)


def test_the_replay_command_can_be_called_from_where_pytest_was(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\n")
    monkeypatch.chdir(pytester.mkdir("inner"))
    text = """\
@pytest.mark.parametrize("name", ["a#1"])
def test_weak(crash, name):
    crash(workload=replace, recover=load)
    crash(workload=overwrite, recover=load)
"""
    (pytester.path / "inner" / "test_it.py").write_text(PLAIN_PROGRAM + text)
    monkeypatch.setenv("CI", "true")  # the summary then repeats all of a failure's text
    printed = run_pytest(pytester, "-p", "no:cacheprovider").stdout.str()
    (command,) = set(re.findall("^replay: pytest (.+)$", printed, re.MULTILINE))
    again = run_pytest(pytester, "-p", "no:cacheprovider", *shlex.split(command))
    again.assert_outcomes(failed=1)
    assert "still shows" in again.stdout.str()


def test_markers_of_a_class_and_of_its_test_add_up_and_the_nearer_one_wins(pytester: pytest.Pytester) -> None:
    text = """\
@pytest.mark.crash(oracles=["recovers"], budget=1000)
class TestGroup:
    @pytest.mark.crash(budget=3)
    def test_it(self, crash):
        assert crash(workload=replace, recover=load).statistics.states == 3

    @pytest.mark.crash(oracles=["clean"])
    def test_clean(self, crash):
        assert crash(workload=overwrite, recover=load).statistics.states > 3
"""
    run(pytester, PLAIN_PROGRAM + text, passed=2)


def test_the_fixture_faults_has_its_marker_too(pytester: pytest.Pytester) -> None:
    text = """\
FULL = {"call": "write", "errno": "ENOSPC", "onwards": True}


@pytest.mark.faults(oracles=["recovers"])
def test_marked(faults):
    faults(workload=overwrite, recover=load, fault=FULL)


@pytest.mark.faults(oracles=["clean"])
def test_clean(faults):
    faults(workload=overwrite, recover=load, fault=FULL)
"""
    run(pytester, PLAIN_PROGRAM + text, "--strict-markers", failed=1, passed=1)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("crash('power')", "crash: @pytest.mark.crash takes arguments by name"),
        ("crash(workload=replace)", "crash: @pytest.mark.crash has no argument 'workload'"),
        ("crash(modl='kill')", "did you mean model?"),
    ],
)
def test_a_marker_that_makes_no_sense_is_refused_by_its_name(
    pytester: pytest.Pytester, marker: str, words: str
) -> None:
    text = f"@pytest.mark.{marker}\ndef test_it(crash):\n    crash(workload=replace, recover=load)\n"
    assert words in run(pytester, PLAIN_PROGRAM + text, failed=1)


def test_one_name_needs_no_list(pytester: pytest.Pytester) -> None:
    text = "def test_it(crash):\n    crash(workload=overwrite, recover=load, oracles='clean', exclude='*.tmp')\n"
    run(pytester, PLAIN_PROGRAM + text, passed=1)


def test_a_test_that_takes_a_fixture_and_never_calls_it_fails(pytester: pytest.Pytester) -> None:
    text = """\
import unittest


@pytest.mark.parametrize("fixture", ["crash", "faults", "race", "fleet"])
def test_by_name(fixture, request):
    request.getfixturevalue(fixture)


def test_crash(crash):
    pass


def test_faults(faults, tmp_path):
    faults.child(tmp_path, call="write", nth=1, errno="EIO")


def test_race(race):
    pass


def test_fleet(fleet, crash):
    crash(workload=replace, recover=load)


def test_skipped(crash):
    pytest.skip("not here")


def test_wrong(crash):
    assert False


class TestOldStyle(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _own(self, crash):
        self.crash = crash

    def test_it(self):
        pass
"""
    printed = run(pytester, PLAIN_PROGRAM + text, passed=5, failed=5, skipped=1)
    for fixture in ("crash", "faults", "race", "fleet"):
        first, second = told(printed, f"test_{fixture}")
        assert first == f"{fixture}: the test takes it and never called it: nothing was tested"
        assert second.startswith(f"  next: {fixture}(")


def test_functions_that_a_call_does_not_run_are_refused(pytester: pytest.Pytester) -> None:
    program = (
        PLAIN_PROGRAM
        + """\
async def later(*given):
    pass


def generator(*given):
    yield


class Object:
    async def __call__(self, *given):
        pass


"""
    )
    wrong = [
        (
            "crash(workload=later, recover=load)",
            r"^crash\(workload=\.\.\.\): expected a plain function, and later is an",
        ),
        ("crash(workload=replace, recover=generator)", "generator is a generator, which runs only"),
        ("crash(workload=replace, recover=load, check=Object())", r"crash\(check=\.\.\.\): .* is an async function"),
        ("race(later, later)", r"^race\(worker=\.\.\.\): .*asyncio\.run"),
        ("fleet(generator, recover=load)", r"^fleet\(worker=\.\.\.\): "),
    ]
    refused(pytester, program, "crash, race, fleet", wrong)


def test_functions_that_can_not_take_what_they_are_called_with_are_refused(pytester: pytest.Pytester) -> None:
    program = PLAIN_PROGRAM + "def alone(disk):\n    pass\n\n\ndef three(a, b, c):\n    pass\n\n\n"
    wrong = [
        (
            "crash(workload=alone, recover=load)",
            r"^crash\(workload=\.\.\.\): it is called as alone\(disk, ack\), and alone\(disk\) can't be: too many",
        ),
        ("crash(workload=replace, recover=three)", r"crash\(recover=\.\.\.\): .* missing a required argument"),
        ("crash(workload=replace, recover=load, check=alone)", r"called as alone\(value, acked\)"),
        ("race(alone, alone)", r"^race\(worker=\.\.\.\): it is called as alone\(disk, witness\)"),
        ("race(replace, replace, check=alone)", r"called as alone\(disk, results\)"),
        ("fleet(alone, recover=load)", r"^fleet\(worker=\.\.\.\): it is called as alone\(disk, witness\)"),
    ]
    refused(pytester, program, "crash, race, fleet", wrong)


WRAPPED = """
import functools

def with_disk_alone(function):
    @functools.wraps(function)
    def run(disk, ack):
        function(disk)
        ack(1)
    return run

@with_disk_alone
def decorated(disk):
    (disk / "new").write_text('{"n": 1}')
    (disk / "new").replace(disk / "state.json")

def test_decorated(crash):
    crash(workload=decorated, recover=load)

class Store:
    def work(self, disk, ack, *more, last=3):
        replace(disk, ack)

def test_method_and_partial(crash):
    crash(workload=functools.partial(Store().work, last=2), recover=lambda *given: load(*given))
"""


def test_decorated_functions_methods_and_partials_are_called_as_they_are(pytester: pytest.Pytester) -> None:
    run(pytester, PLAIN_PROGRAM + WRAPPED, passed=2)


def test_targets_by_name_are_found_where_the_test_finds_modules(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npythonpath = src\n")
    pytester.mkdir("src")
    (pytester.path / "src" / "own.py").write_text(PLAIN_PROGRAM)
    (pytester.path / "inner").mkdir()
    text = """\
def test_it(crash):
    crash(workload="own:replace", recover="own:load")


def test_race(race):
    race("racing:worker", "racing:worker")
"""
    (pytester.path / "src" / "racing.py").write_text("def worker(disk, witness):\n    (disk / 'a').write_text('1')\n")
    (pytester.path / "inner" / "test_it.py").write_text(text)
    run_pytest(pytester, "-p", "no:cacheprovider", "inner").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("options", "variable", "states"), [([], "", 3), (["--chaos-budget", "4"], "", 4), ([], "5", 5)]
)
def test_the_nearest_budget_wins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], variable: str, states: int
) -> None:
    pytester.makeini("[pytest]\nchaos_budget = 2\n")
    monkeypatch.setenv("CHAOS_BUDGET", variable)
    text = f"""\
def test_own(crash):
    assert crash(workload=replace, recover=load, budget=3).statistics.states == {states}


@pytest.mark.crash(budget=3)
def test_marked(crash):
    assert crash(workload=replace, recover=load).statistics.states == {states}


def test_none(crash):
    assert crash(workload=replace, recover=load).statistics.states == {states if options or variable else 2}
"""
    run(pytester, PLAIN_PROGRAM + text, *options, passed=3)


def test_a_second_session_of_one_process_finds_the_fixtures_too(pytester: pytest.Pytester) -> None:
    text = """\
import pytest


@pytest.mark.parametrize("fixture", ["crash", "faults", "race", "fleet"])
def test_by_name(fixture, request):
    request.getfixturevalue(fixture)
"""
    pytester.makepyfile(test_it=text)
    twice = "import pytest\nassert pytest.main() == pytest.ExitCode.OK\nassert pytest.main() == pytest.ExitCode.OK\n"
    assert pytester.run(sys.executable, "-c", twice).ret == 0
