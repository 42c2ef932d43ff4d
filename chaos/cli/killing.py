"""`chaos validate`: the model `kill` held against real kills of the scenarios' own workloads.

One line a scenario. A tree that the model does not have is a fault of this harness (exit code 4); a workload that
does something else in every run can't be compared, and is said to be not measured (3, when none could be).
"""

import sys

from chaos.cli.arguments import ValidateArguments
from chaos.cli.edge import say
from chaos.errors import HarnessFault, NotMeasured
from chaos.report.text import counted, printable
from chaos.scenario import Explore, discover
from chaos.scenario.runner import LiveKills, kill_for_real

__all__ = ["validate"]

_SHOWN = 5


def validate(arguments: ValidateArguments) -> int:
    """Kill, compare, print; the exit code.

    Raises:
        NotMeasured: no scenario's workload could be compared.
    """
    told = faults = 0
    for scenario in discover(arguments.wanted or ()):
        if not isinstance(scenario.drive, Explore):
            _print(f"{scenario.name}: not measured: it has no recorded workload")
            continue
        try:
            found = kill_for_real(scenario.drive, kills=arguments.kills, seed=f"{arguments.seed} {scenario.name}")
        except NotMeasured as why:
            _print(f"{scenario.name}: not measured: {why.message}")
            continue
        told += len(found.told)
        faults += len(found.unlisted)
        _print(f"{scenario.name}: {_words(found)}")
        for one in found.unlisted[:_SHOWN]:
            _print(f"    not among the model's states: {one.at}")
    if faults:
        say(f"chaos: harness fault: the model `kill` does not have {counted(faults, 'tree')} that real kills left")
        return HarnessFault.exit_code
    if not told:
        raise NotMeasured("no workload could be compared with a first run of its own", "name some: chaos list")
    return 0


def _words(found: LiveKills) -> str:
    inside = sum(one.inside for one in found.told)
    other = len(found.killed) - len(found.told)
    words = (
        f"{counted(len(found.told), 'kill')} at {counted(found.calls, 'call')}, {inside} of them inside a write; "
        f"{len(found.told) - len(found.unlisted)} of {len(found.told)} trees among {counted(found.states, 'state')}"
    )
    return words + (f"; {counted(other, 'run')} went another way and tell nothing" if other else "")


def _print(line: str) -> None:
    sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()
