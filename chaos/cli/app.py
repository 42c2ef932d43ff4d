"""The command `chaos`: its words, and nothing behind them.

Each command imports its work when it is called: `chaos --help` must answer at once, and rich, the engines and the
explorer together cost several times what the help does (the rule is in `chaos/__init__.py`). The options are in
`arguments.py`, what becomes of errors and signals in `edge.py`.
"""

# ruff: noqa: PLC0415 - see above

import typer

from chaos.cli.arguments import (
    DoctorArguments,
    ExploreArguments,
    ListArguments,
    RaceArguments,
    RecordArguments,
    ReplayArguments,
    ReportArguments,
    RunArguments,
    SchemaArguments,
    ValidateArguments,
)
from chaos.cli.edge import command, output_refused
from chaos.cli.streams import OutputRefused, prepare_streams
from chaos.errors import EXIT_INTERRUPTED

__all__ = ["app", "main"]

# No rich help: it alone would cost more than all the rest of `chaos --help`.
app = typer.Typer(
    name="chaos",
    help="Kill a program at every system call, let its processes race, and judge what is left of its data.",
    epilog="Exit codes: 0 all as expected; 1 a violation, or an expected one is missing; 2 wrong usage or a bad "
    "scenario; 3 not measured; 4 harness fault; 130 interrupted; 141 nobody reads the output any more.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# What follows the command line to run belongs to it, options and all.
_WITH_COMMAND_LINE = {"allow_interspersed_args": False}


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    prepare_streams()
    try:
        app(prog_name="chaos")
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    except OutputRefused as error:  # only help is printed outside a command, see `edge.py`
        raise SystemExit(output_refused(error)) from None


def _run(arguments: RunArguments) -> int:
    """Run scenarios: record, explore, judge, compare with what each expects."""
    from chaos.cli.running import run_scenarios

    return run_scenarios(arguments)


def _list(arguments: ListArguments) -> int:
    """Show the scenarios: name, what each is about, what it expects."""
    from chaos.cli.shelf import list_scenarios

    return list_scenarios(arguments)


def _record(arguments: RecordArguments) -> int:
    """Record what a command does to a folder, into a trace file."""
    from chaos.cli.traces import record_trace

    return record_trace(arguments)


def _explore(arguments: ExploreArguments) -> int:
    """Run a check on every state that a crash of a trace may leave."""
    from chaos.cli.traces import explore_trace

    return explore_trace(arguments)


def _race(arguments: RaceArguments) -> int:
    """Run command lines side by side, in every order of their system calls that can be tried."""
    from chaos.cli.racing import race_commands

    return race_commands(arguments)


def _replay(arguments: ReplayArguments) -> int:
    """Try one finding again: 1 it still shows, 0 it is gone."""
    from chaos.cli.replaying import replay_finding

    return replay_finding(arguments)


def _report(arguments: ReportArguments) -> int:
    """Show a run that was kept."""
    from chaos.cli.replaying import show_report

    return show_report(arguments)


def _doctor(arguments: DoctorArguments) -> int:
    """Say what works on this machine, and why not."""
    if arguments.validate:
        from chaos.cli.validating import validate_models

        return validate_models(arguments)
    from chaos.cli.doctor import examine

    return examine()


def _schema(_: SchemaArguments) -> int:
    """Print the JSON schema of scenario files."""
    from chaos.cli.shelf import print_schema

    return print_schema()


def _validate(arguments: ValidateArguments) -> int:
    """Really kill the scenarios' workloads, and hold what they leave against the model."""
    from chaos.cli.killing import validate

    return validate(arguments)


app.command("run")(command(_run, RunArguments))
app.command("list")(command(_list, ListArguments))
app.command("record", context_settings=_WITH_COMMAND_LINE)(command(_record, RecordArguments))
app.command("explore")(command(_explore, ExploreArguments))
app.command("race", context_settings=_WITH_COMMAND_LINE)(command(_race, RaceArguments))
app.command("replay")(command(_replay, ReplayArguments))
app.command("report")(command(_report, ReportArguments))
app.command("doctor")(command(_doctor, DoctorArguments))
app.command("schema")(command(_schema, SchemaArguments))
app.command("validate")(command(_validate, ValidateArguments))
