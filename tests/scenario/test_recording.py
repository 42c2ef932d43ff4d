"""What a workload may not do while it is recorded."""

import pytest

from chaos.child.target import CommandTarget, Roles
from chaos.errors import NotMeasured
from chaos.scenario.model import Explore
from chaos.scenario.runner.recording import record_scenario


@pytest.mark.parametrize(
    "line",
    [
        'echo 1 > f; rm -r "$PWD"',
        'd=$PWD; echo 1 > f; cd /; mv "$d" "$d.old"; mkdir "$d"; echo 2 > "$d/f"; rm -r "$d.old"',
    ],
    ids=["removed", "replaced"],
)
def test_a_workload_that_does_away_with_its_folder_is_not_measured(line: str) -> None:
    shell = CommandTarget(commands=(("sh", "-c", line),))
    with pytest.raises(NotMeasured, match="removed or replaced the watched folder itself"):
        record_scenario(Explore(roles=Roles(workload=shell, recover=shell)), "syscalls")
