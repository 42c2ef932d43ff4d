"""`chaos record` and `chaos explore`: the two halves of a run by hand, with a trace file between them."""

import os
import shlex
from pathlib import Path
from typing import cast

from chaos.child.target import UNKNOWN, Roles
from chaos.cli.arguments import ExploreArguments, RecordArguments
from chaos.cli.edge import say
from chaos.cli.running import run_and_report
from chaos.cli.settings import chosen, deadline_s, run_options, target_named
from chaos.errors import NotMeasured, UsageError
from chaos.report.text import counted
from chaos.scenario import Engine, Explore, Scenario
from chaos.scenario.model import ENGINES, ORACLES
from chaos.scenario.runner import record_command
from chaos.trace.file import load, save
from chaos.trace.options import RecordOptions

__all__ = ["explore_trace", "record_trace"]


def record_trace(arguments: RecordArguments) -> int:
    """Record a command line into a trace file."""
    folder = arguments.folder or Path.cwd()
    engine = cast("Engine", chosen("--engine", arguments.engine, ENGINES))
    options = RecordOptions(
        exclude=tuple(arguments.exclude or ()),
        deadline_s=deadline_s("--deadline", arguments.deadline),
        cwd=os.fspath(folder),
    )
    _check_outside(arguments.output, folder)
    trace = record_command(arguments.command, folder, options, engine)
    save(trace, arguments.output)
    operations, acks = counted(len(trace.ops), "operation"), counted(len(trace.acks), "acknowledgement")
    say(f"{arguments.output}: {operations}, {acks}, {counted(trace.calls, 'trapped call')}, engine {trace.engine}")
    for note in trace.notes:
        say(f"note: {note}")
    if trace.exit_code:
        say(f"note: the command ended with exit code {trace.exit_code}")
    if trace.unmeasured:
        first = trace.unmeasured[0]
        raise NotMeasured(f"can't be modelled: {first.path or 'the run'}: {first.reason}", "leave it out by --exclude")
    say(f"next: chaos explore {shlex.quote(str(arguments.output))} --check COMMAND")
    return 0


def explore_trace(arguments: ExploreArguments) -> int:
    """Run a check on every crash state of a trace."""
    options = run_options(arguments)
    oracles = tuple(dict.fromkeys(chosen("--oracle", name, ORACLES) for name in arguments.oracles or ("recovers",)))
    if "resumable" in oracles:
        raise UsageError("--oracle resumable runs the workload on, and a trace can't be run", "leave it out")
    deadline = deadline_s("--deadline", arguments.deadline)
    trace = load(arguments.trace)
    check = target_named("--check", arguments.check)
    drive = Explore(
        roles=Roles(workload=UNKNOWN, recover=check),
        models=options.models or ("kill",),
        oracles=oracles,
        deadline_s=deadline,
    )
    scenario = Scenario(name=arguments.trace.stem, drive=drive, origin=str(arguments.trace))
    command = f"chaos explore {arguments.trace}"
    return run_and_report([(scenario, trace)], options, command=command)[1]


def _check_outside(output: Path, folder: Path) -> None:
    if output.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"the trace {output} would lie in the watched folder {folder}", "write it elsewhere, or name --folder"
        )
