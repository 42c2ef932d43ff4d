"""`chaos run`: the wanted scenarios one after the other, then the table, the findings, and the files asked for."""

from collections.abc import Sequence
from pathlib import Path

from chaos.cli.arguments import RunArguments
from chaos.cli.edge import say
from chaos.cli.files import write_reports
from chaos.cli.progress import listener_for
from chaos.cli.settings import run_options
from chaos.cli.shelf import print_scenarios
from chaos.errors import EXIT_INTERRUPTED, NotMeasured
from chaos.report import RunResult, Status, exit_code, status
from chaos.report.terminal import console_for_people, print_run
from chaos.scenario import RunOptions, Scenario, discover, now_and_later
from chaos.scenario.runner import Run
from chaos.trace.model import Trace

__all__ = ["run_and_report", "run_scenarios"]


def run_scenarios(arguments: RunArguments) -> int:
    """Run them, and return the exit code."""
    options = run_options(arguments)
    wanted = arguments.wanted or ()
    scenarios, later = now_and_later(discover(wanted), wanted, options.profile)
    if arguments.only_list:
        print_scenarios(scenarios)
        return 0
    if not scenarios:
        raise NotMeasured("there is no scenario to run", _waiting(later))
    command = " ".join(["chaos run", *(arguments.wanted or ())])
    jobs = [(scenario, None) for scenario in scenarios]
    run, code = run_and_report(jobs, options, command=command, fail_fast=arguments.fail_fast)
    if later:
        say(_waiting(later))
    write_reports(run, json=arguments.json, junit=arguments.junit)
    return code


def _waiting(later: Sequence[Scenario]) -> str:
    if not later:
        return ""
    return f"{len(later)} longer scenarios were not run: `--profile {later[0].profile.value}` runs them, or their names"


def run_and_report(
    jobs: Sequence[tuple[Scenario, Trace | None]], options: RunOptions, *, command: str, fail_fast: bool = False
) -> tuple[RunResult, int]:
    """Run scenarios, those with a trace without recording them anew, and print what came of them.

    Returns:
        the run and the exit code.
    """
    console = console_for_people()
    with listener_for(console) as listener, Run(options, command=command, listener=listener) as run:
        interrupted = False
        for scenario, trace in jobs:
            came = status(run.scenario(scenario, trace=trace))
            interrupted = came is Status.INTERRUPTED
            if interrupted or (fail_fast and came is not Status.PASSED):
                break
        result = run.finish(complete=not interrupted)
    console.print()
    print_run(result, console, replay=run.replay_command)
    say(f"run folder: {_near(run.path)}")
    return result, EXIT_INTERRUPTED if interrupted else exit_code(result.scenarios)


def _near(path: Path) -> str:
    """A path as it is best typed here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
