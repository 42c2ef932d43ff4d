"""`chaos list`, `chaos run --list` and `chaos schema`: what there is, without running any of it."""

import json
import sys
from collections.abc import Sequence

from chaos.cli.arguments import ListArguments
from chaos.report import compare
from chaos.scenario import Explore, Fleet, Inject, Race, Scenario, discover, json_schema
from chaos.scenario.model import Drive

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
        sys.stdout.write(f"{scenario.name}\n")
        if scenario.description:
            sys.stdout.write(f"    {scenario.description}\n")
        sys.stdout.write(f"    {_drive_words(scenario.drive)}\n")
        for expected in compare(scenario.expect, ()).expected:
            sys.stdout.write(f"    expects: {expected}\n")
        sys.stdout.write(f"    {scenario.origin}\n")


def _drive_words(drive: Drive) -> str:
    oracles = f"; oracles: {', '.join(drive.oracles)}" if drive.oracles else ""
    if isinstance(drive, Explore):
        twice = "; and again after each crash" if drive.depth == 2 else ""
        return f"models: {', '.join(drive.models)}{twice}{oracles}"
    if isinstance(drive, Inject):
        crashed = f"; crashed under: {', '.join(drive.models)}" if drive.models else ""
        return f"faults: {'; '.join(fault.words() for fault in drive.faults)}{crashed}{oracles}"
    if isinstance(drive, Race):
        return f"race of {len(drive.workers)} processes{oracles}"
    if isinstance(drive, Fleet):
        faults = ", ".join(dict.fromkeys(fault.kind.value for fault in drive.faults)) or "none"
        return f"fleet of {drive.workers} processes; faults: {faults}{oracles}"
    troubles = ", ".join(one.value for one in drive.troubles)
    return f"agent under a fake LLM{f'; at each request: {troubles}' if troubles else ''}{oracles}"
