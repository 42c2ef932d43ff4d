"""What the session says of what it tried, where all is well: in the terminal, under xdist, in JUnit XML."""

import json
import re
from xml.etree import ElementTree

import pytest

from tests.plugin.running import PLAIN_PROGRAM, run, run_anew

TEXT = (
    PLAIN_PROGRAM
    + """\
def worker(disk, witness):
    (disk / "state.json").touch()


def test_sound(crash):
    crash(workload=replace, recover=load)


def test_cut(crash, race):
    crash(workload=replace, recover=load, budget=2)
    race(worker, worker, budget=2)


def test_weak(crash):
    crash(workload=overwrite, recover=load)


def test_other():
    pass
"""
)


def summary_of(printed: str) -> list[str]:
    found = re.search(r"^=+ chaos =+\n(.+?)\n=", printed, re.MULTILINE | re.DOTALL)
    return found[1].splitlines() if found else []


def test_one_line_says_what_was_tried(pytester: pytest.Pytester) -> None:
    (line,) = summary_of(run(pytester, TEXT, passed=3, failed=1))
    assert re.fullmatch(
        r"3 tests tried \d+ crash states, [12] episodes?; not all that there are in 1 test",
        line,
    )


def test_verbose_tells_of_each_call(pytester: pytest.Pytester) -> None:
    sound, cut, race, weak, _ = summary_of(run(pytester, TEXT, "-v", passed=3, failed=1))
    assert re.fullmatch(
        r"test_it.py::test_sound crash: \d+ crash states at \d+ crash points, all that there are; model kill; "
        r"held: durable, recovers, finite, atomic",
        sound,
    )
    assert "test_cut crash: 2 crash states at 1 crash point, not all that there are (" in cut
    assert "); model kill; held: " in cut
    assert re.search(r"test_cut race: [12] episodes?; held: terminates, returns", race)
    assert re.search(r"test_weak crash: \d+ crash states at \d+ crash points, all that there are; .*; violated$", weak)


def test_quiet_says_nothing_and_so_does_a_session_without_our_fixtures(pytester: pytest.Pytester) -> None:
    assert summary_of(run(pytester, TEXT, "-q", "-k", "weak", failed=1)) == []
    assert summary_of(run(pytester, TEXT, "-k", "other", passed=1)) == []


@pytest.mark.usefixtures("every_plugin")
def test_workers_of_xdist_are_heard_too(pytester: pytest.Pytester) -> None:
    (line,) = summary_of(run_anew(pytester, TEXT, "-n", "2", passed=3, failed=1))
    assert line.startswith("3 tests tried ")


def test_what_the_portable_engine_can_not_see_is_said(pytester: pytest.Pytester) -> None:
    lines = summary_of(run(pytester, TEXT, "-v", "-k", "sound", "--chaos-engine", "portable", passed=1))
    assert lines[0].endswith("; portable engine: Python code alone was followed")
    assert lines[1].endswith("; Python code alone, by the portable engine, in 1 test")


def test_junit_xml_has_it_as_a_property(pytester: pytest.Pytester) -> None:
    run(pytester, TEXT, "-k", "sound", "--junit-xml", "report.xml", passed=1)
    (found,) = ElementTree.parse(pytester.path / "report.xml").iter("property")
    assert found.get("name") == "chaos"
    told = json.loads(str(found.get("value")))
    assert (told["fixture"], told["result"], told["unit"], told["all"]) == ("crash", "passed", "crash state", True)


def test_what_no_oracle_sees_is_told_where_all_is_well_too(pytester: pytest.Pytester) -> None:
    text = PLAIN_PROGRAM + (
        "import hashlib\n\n\n"
        "def shown(disk):\n    return hashlib.sha256(json.dumps(load(disk)).encode()).hexdigest()\n\n\n"
        "def test_blind(crash):\n    crash(workload=replace, recover=shown)\n"
    )
    (short,) = summary_of(run(pytester, text, passed=1))
    assert short.endswith("; acknowledgements made too early not judged in 1 test (-v says why)")
    verbose, _ = summary_of(run(pytester, text, "-v", passed=1))
    assert "; durable: acknowledgements made too early are not judged, because the recovered values do not" in verbose
