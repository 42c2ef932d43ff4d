"""The options of each command, as frozen data; Typer reads them from the annotations.

Order of precedence: command line, environment, the scenario's file, default. Read `app.py` next.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

__all__ = [
    "DoctorArguments",
    "ExploreArguments",
    "ListArguments",
    "RaceArguments",
    "RecordArguments",
    "ReplayArguments",
    "ReportArguments",
    "RunArguments",
    "SchemaArguments",
    "ValidateArguments",
]

_Wanted = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PATH|NAME]...", help="Files, folders or names of scenarios. Default: all in ./scenarios."),
]
_Seed = Annotated[int, typer.Option(help="Seed of everything drawn by chance.", envvar="CHAOS_SEED")]
_BudgetText = Annotated[
    str, typer.Option(help="Where to stop: 60s, or 1000 states or episodes.", envvar="CHAOS_BUDGET")
]
_Jobs = Annotated[
    int, typer.Option(help="Processes that check states. 0: one for each processor.", envvar="CHAOS_JOBS", min=0)
]
_ProfileName = Annotated[
    str, typer.Option(help="quick, ci or deep: gives the budget where nobody does.", envvar="CHAOS_PROFILE")
]
_Models = Annotated[
    list[str] | None, typer.Option("--model", help="Persistence model, instead of the scenario's. May be repeated.")
]
_EngineName = Annotated[str, typer.Option(help="auto, syscalls or portable.", envvar="CHAOS_ENGINE")]
_ReportFolder = Annotated[
    Path, typer.Option("--report", metavar="DIR", help="Where run folders are kept.", envvar="CHAOS_REPORT")
]
_CommandLine = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command line to run.")]
_Exclude = Annotated[list[str] | None, typer.Option(help="Glob of files not to watch. May be repeated.")]
_Seconds = Annotated[str, typer.Option(help="For one recovery: 10s.")]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunArguments:
    """`chaos run`."""

    wanted: _Wanted = None
    seed: _Seed = 0
    budget: _BudgetText = ""
    jobs: _Jobs = 0
    profile: _ProfileName = "ci"
    models: _Models = None
    engine: _EngineName = ""
    depth: Annotated[
        int | None, typer.Option(help="2: crash again what follows each crash.", envvar="CHAOS_DEPTH", min=1, max=2)
    ] = None
    report: _ReportFolder = Path(".chaos")
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON report there.")] = None
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML there.")] = None
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop after the first failing scenario.")] = False
    only_list: Annotated[bool, typer.Option("--list", help="Show what would be run, and stop.")] = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ListArguments:
    """`chaos list`."""

    wanted: _Wanted = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordArguments:
    """`chaos record`."""

    command: _CommandLine
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TRACE", help="Where the trace goes.")]
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Watch this folder, and run there. Default: the current folder."),
    ] = None
    exclude: _Exclude = None
    deadline: Annotated[str, typer.Option(help="For the command: 60s.")] = "60s"
    engine: _EngineName = "auto"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreArguments:
    """`chaos explore`."""

    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A file made by `chaos record`.")]
    check: Annotated[
        str,
        typer.Option(
            metavar="CMD",
            help="Run on every crash state, in its folder: a command line, or module:function(disk). "
            "It fails by exit code or exception.",
        ),
    ]
    oracles: Annotated[
        list[str] | None, typer.Option("--oracle", help="What must hold. Default: recovers. May be repeated.")
    ] = None
    models: _Models = None
    seed: _Seed = 0
    budget: _BudgetText = ""
    jobs: _Jobs = 0
    deadline: _Seconds = "10s"
    report: _ReportFolder = Path(".chaos")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RaceArguments:
    """`chaos race`."""

    commands: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND -- COMMAND...", help="The command lines, or module:function, that race."),
    ]
    setup: Annotated[str, typer.Option(metavar="CMD", help="Makes the files that every episode begins with.")] = ""
    check: Annotated[
        str, typer.Option(metavar="CMD", help="Looks at what each episode left; fails by exit code or exception.")
    ] = ""
    oracles: Annotated[
        list[str] | None, typer.Option("--oracle", help="What must hold, besides the usual. May be repeated.")
    ] = None
    history: Annotated[str, typer.Option(help="What calls are held against: register, counter, set, queue, map.")] = ""
    seed: _Seed = 0
    budget: _BudgetText = ""
    profile: _ProfileName = "ci"
    deadline: Annotated[str, typer.Option(help="For a worker, between two calls: 10s.")] = "10s"
    report: _ReportFolder = Path(".chaos")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayArguments:
    """`chaos replay`."""

    finding: Annotated[str, typer.Argument(metavar="FINDING", help="A finding's folder, its replay.json, or its id.")]
    shell: Annotated[bool, typer.Option("--shell", help="Open a shell in the crash state instead.")] = False
    report: _ReportFolder = Path(".chaos")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReportArguments:
    """`chaos report`."""

    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's folder. Default: the latest.")] = None
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON report there.")] = None
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML there.")] = None
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML page there.")] = None
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a Markdown summary there.")] = None
    report: _ReportFolder = Path(".chaos")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorArguments:
    """`chaos doctor`."""

    validate: Annotated[
        bool,
        typer.Option(
            "--validate-models",
            help="Hold the persistence models against real file systems: random workloads on images, which need root "
            "and a loop device.",
        ),
    ] = False
    workloads: Annotated[int, typer.Option(min=1, help="For --validate-models: on each file system.")] = 300
    filesystems: Annotated[
        list[str] | None,
        typer.Option("--file-system", metavar="NAME", help="For --validate-models: ext4, xfs or btrfs. Default: all."),
    ] = None
    background: Annotated[
        bool,
        typer.Option(help="For --validate-models: look again when the kernel has written back by itself, 36 s later."),
    ] = True
    seed: _Seed = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaArguments:
    """`chaos schema`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateArguments:
    """`chaos validate`."""

    wanted: _Wanted = None
    kills: Annotated[int, typer.Option(help="How often each workload is killed.", min=1)] = 200
    seed: _Seed = 0
