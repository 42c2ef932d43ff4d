"""`chaos list`, `chaos run --list` and `chaos schema`: what there is, without running any of it."""

import json
import sys
from collections.abc import Sequence

from chaos.cli.arguments import ListArguments
from chaos.scenario import Scenario, discover, json_schema
from chaos.scenario.expectations import described

__all__ = ["list_scenarios", "print_scenarios", "print_schema"]


def list_scenarios(arguments: ListArguments) -> int:
    """Print the wanted scenarios."""
    print_scenarios(discover(arguments.wanted or ()))
    return 0


def print_schema() -> int:
    """Print the JSON schema of scenario files."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def print_scenarios(scenarios: Sequence[Scenario]) -> None:
    """One paragraph a scenario, its name alone at the beginning of a line."""
    for scenario in scenarios:
        drive = scenario.drive
        sys.stdout.write(f"{scenario.name}\n")
        if scenario.description:
            sys.stdout.write(f"    {scenario.description}\n")
        sys.stdout.write(f"    models: {', '.join(drive.models)}; oracles: {', '.join(drive.oracles)}\n")
        for expectation in scenario.expect:
            sys.stdout.write(f"    expects: {described(expectation)}\n")
        sys.stdout.write(f"    {scenario.origin}\n")
