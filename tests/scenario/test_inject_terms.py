"""An injection's settings, as a recording needs them and as a replay file keeps them."""

from dataclasses import replace

import pytest

from chaos.child.target import PythonTarget, Roles
from chaos.errors import UsageError
from chaos.faults.fault import parse_fault
from chaos.faults.plan import Plan
from chaos.observations import Bounds
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Inject
from chaos.scenario.runner.inject_terms import (
    base_of,
    inject_from,
    inject_settings,
    inject_targets,
    oracles_of,
    patient,
)

ROLES = Roles(
    setup=PythonTarget(ref="t:setup"),
    workload=PythonTarget(ref="t:work", search=("/home",)),
    recover=PythonTarget(ref="t:recover"),
)
FAULTS = (parse_fault({"call": "write", "nth": 2, "errno": "EIO"}),)
DRIVE = Inject(
    roles=ROLES,
    faults=FAULTS,
    oracles=("recovers", "bounded"),
    exclude=("*.lock", "a,b"),
    deadline_s=1.5,
    workload_deadline_s=2.5,
    memory_bytes=1 << 20,
    bounds=Bounds(file_bytes=10, recovery_s=0.5, rounds=3),
)


def replay_of(drive: Inject) -> LiveReplay:
    return LiveReplay(
        kind="inject",
        finding="0" * 12,
        scenario="one",
        oracle="recovers",
        recipe=Plan(faults=drive.faults).text(),
        oracles=drive.oracles or (),
        settings=inject_settings(drive),
    )


@pytest.mark.parametrize("drive", [DRIVE, Inject(roles=ROLES, faults=FAULTS, oracles=("recovers",))])
def test_a_replay_file_gives_the_drive_back(drive: Inject) -> None:
    assert inject_from(replay_of(drive), inject_targets(drive)) == drive


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({"deadline_s": "soon"}, inject_targets(DRIVE)),
        ({"bounds": '{"none": 1}'}, inject_targets(DRIVE)),
        ({}, {"worker 0": ROLES.workload}),
    ],
)
def test_a_damaged_replay_file_is_refused(settings: dict[str, str], targets: dict[str, PythonTarget]) -> None:
    with pytest.raises(UsageError, match="damaged"):
        inject_from(replace(replay_of(DRIVE), settings=settings), targets)


def test_struck_runs_have_ten_times_what_a_run_without_faults_takes_within_reason() -> None:
    base = base_of(replace(DRIVE, workload_deadline_s=None))
    assert [patient(base, clean_s).workload_deadline_s for clean_s in (0.1, 2.0, 30.0)] == [10.0, 20.0, 60.0]
    assert patient(base_of(DRIVE), 30.0).workload_deadline_s == 2.5


def test_by_default_the_end_of_runs_is_judged_and_bounds_where_there_are_some() -> None:
    plain = replace(DRIVE, oracles=None, bounds=Bounds(rounds=3))
    assert oracles_of(plain) == ("durable", "recovers", "finite", "atomic", "terminates")
    assert "bounded" in oracles_of(replace(plain, bounds=Bounds(file_bytes=1)))
    assert oracles_of(DRIVE) == ("recovers", "bounded")
