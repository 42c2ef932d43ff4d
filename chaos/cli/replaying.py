"""`chaos replay` and `chaos report`: one finding once more, one run once more."""

import os
import shlex
import subprocess
from functools import partial
from pathlib import Path

from rich.console import Console

from chaos.cli.arguments import ReplayArguments, ReportArguments
from chaos.cli.edge import say
from chaos.cli.files import write_reports
from chaos.errors import UsageError
from chaos.observations import Ending, Finding, Outcome
from chaos.report.folder import finding_path, latest_run, load_run
from chaos.report.live_replay import LiveReplay
from chaos.report.replay import Replay
from chaos.report.terminal import console_for_people, print_run
from chaos.report.text import printable
from chaos.scenario.runner import find_finding, live_drive, rebuilt_state, replay_live, replay_roles, replay_state

__all__ = ["replay_finding", "show_report"]


def replay_finding(arguments: ReplayArguments) -> int:
    """Check one finding's crash state again: exit code 1 when it still shows, 0 when not."""
    path, replay = find_finding(arguments.finding, arguments.report)
    if isinstance(replay, LiveReplay):
        return _live(path, replay, shell=arguments.shell)
    if arguments.shell:
        return _shell(path, replay)
    replayed = replay_state(path, replay, replay_roles(path))
    say(f"{replay.scenario}: {replay.crashes}")
    _print(f"recovery {_words(replayed.outcome)}")
    for violation in replayed.violations:
        _print(f"{violation.oracle}: {violation.message} ({violation.damage.value})")
    _print(f"finding {replay.finding}: {'still shows' if replayed.shows else 'is gone'}")
    return 1 if replayed.shows else 0


def _live(path: Path, replay: LiveReplay, *, shell: bool) -> int:
    if shell:
        raise UsageError(f"finding {replay.finding} has no crash state to open a shell in", "leave --shell out")
    say(f"{replay.scenario}: {replay.kind}, {replay.recipe}")
    shows, lines = replay_live(replay, live_drive(path, replay))
    for line in lines:
        _print(line)
    _print(f"finding {replay.finding}: {'still shows' if shows else 'is gone'}")
    return 1 if shows else 0


def show_report(arguments: ReportArguments) -> int:
    """Print a run that was kept, and write the reports asked for."""
    folder = arguments.run or latest_run(arguments.report)
    if not folder.is_dir():
        raise UsageError(f"there is no run folder {folder}", "name one, or leave it out for the latest")
    run = load_run(folder)
    replay = partial(_replay_command, folder)
    print_run(run, console_for_people(), replay=replay)
    files = {"json": arguments.json, "junit": arguments.junit, "page": arguments.html, "summary": arguments.markdown}
    write_reports(run, replay=replay, **files)
    return 0


def _replay_command(folder: Path, finding: Finding) -> str:
    """The command line that reproduces a finding that is kept; "" for others, and for those of a function in a test."""
    kept = finding_path(folder, finding)
    try:
        path, replay = find_finding(str(kept), folder)
        _ = live_drive(path, replay) if isinstance(replay, LiveReplay) else replay_roles(path)
    except UsageError:
        return ""
    return f"chaos replay {shlex.quote(os.path.relpath(kept))}"


def _shell(path: Path, replay: Replay) -> int:
    shell = os.environ.get("SHELL") or "/bin/sh"
    with rebuilt_state(path, replay) as disk:
        say(f"the crash state of finding {replay.finding} is in {disk}, and is gone when the shell ends")
        try:
            subprocess.run([shell], cwd=disk, env={**os.environ, "CHAOS_DISK": disk}, check=False)
        except OSError as error:
            raise UsageError(f"the shell {shell} can't be started: {error.strerror}", "set SHELL") from None
    return 0


def _words(outcome: Outcome) -> str:
    if outcome.ending is Ending.RETURNED:
        return f"returned {outcome.value[:500]}"
    where = f" ({outcome.frames[0].file}:{outcome.frames[0].line})" if outcome.frames else ""
    return f"{outcome.ending.value}: {outcome.error_type}: {outcome.error}{where}"


def _print(text: str) -> None:
    Console(highlight=False).print(printable(text), markup=False, soft_wrap=True)
