"""`chaos race`: command lines side by side, without any scenario file."""

import os
import shlex
from collections.abc import Iterator, Sequence

from chaos.cli.arguments import RaceArguments
from chaos.cli.running import run_and_report
from chaos.cli.settings import chosen, deadline_s, run_options, target_named
from chaos.errors import UsageError
from chaos.scenario import Race, Scenario
from chaos.scenario.kinds import RACE_ORACLES

__all__ = ["race_commands"]

_NEXT = "--"


def race_commands(arguments: RaceArguments) -> int:
    """Run them, and return the exit code.

    Raises:
        UsageError: there are fewer than two, or one can't be read.
    """
    lines = [shlex.join(words) for words in _split(arguments.commands)]
    if len(lines) < 2:
        raise UsageError("a race takes two or more command lines", "chaos race -- COMMAND -- COMMAND")
    oracles = dict.fromkeys(chosen("--oracle", name, RACE_ORACLES) for name in arguments.oracles or ())
    drive = Race(
        workers=tuple(target_named("command", line) for line in lines),
        setup=target_named("--setup", arguments.setup) if arguments.setup else None,
        check=target_named("--check", arguments.check) if arguments.check else None,
        oracles=tuple(oracles) or None,
        history=arguments.history or None,
        deadline_s=deadline_s("--deadline", arguments.deadline),
        search=(os.getcwd(),),
    )
    command = f"chaos race {' '.join(f'{_NEXT} {line}' for line in lines)}"
    scenario = Scenario(name="race", drive=drive, origin=command)
    return run_and_report([(scenario, None)], run_options(arguments), command=command)[1]


def _split(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The command lines, which `--` keeps apart."""
    line: list[str] = []
    for word in (*words, _NEXT):
        if word != _NEXT:
            line.append(word)
        elif line:
            yield tuple(line)
            line = []
