"""From the words of a command line to typed options; a wrong word is named with its option.

Read `arguments.py` for the words.
"""

import os
import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, cast

from chaos.child.target import CommandTarget, PythonTarget, Target
from chaos.disk import model_named
from chaos.errors import UsageError
from chaos.scenario import Budget, Engine, Profile, RunOptions
from chaos.scenario.model import ENGINES, MODELS
from chaos.scenario.quantities import budget, duration_s

__all__ = ["chosen", "deadline_s", "run_options", "target_named"]

_OF_A_SHELL = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"})
_REF = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class _Words(Protocol):
    """What the options of several commands have in common."""

    @property
    def seed(self) -> int: ...
    @property
    def budget(self) -> str: ...
    @property
    def report(self) -> Path: ...


def run_options(words: _Words) -> RunOptions:
    """The options of a run.

    Raises:
        UsageError: which option is wrong, and what was expected.
    """
    engine = getattr(words, "engine", "")
    return RunOptions(
        seed=words.seed,
        budget=_budget(words.budget),
        jobs=getattr(words, "jobs", 0),
        profile=Profile(chosen("--profile", getattr(words, "profile", "ci"), [one.value for one in Profile])),
        models=tuple(dict.fromkeys(_model(name) for name in getattr(words, "models", None) or ())),
        depth=getattr(words, "depth", None),
        engine=cast("Engine", chosen("--engine", engine, ENGINES)) if engine else None,
        report_dir=words.report,
    )


def chosen(option: str, word: str, known: Sequence[str]) -> str:
    """One of the words that an option takes.

    Raises:
        UsageError: it is none of them.
    """
    if word in known:
        return word
    close = get_close_matches(word, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else ""
    raise UsageError(f'{option}: expected one of {", ".join(known)}, got "{word}"', hint)


def _model(word: str) -> str:
    return model_named(word).name if " " in word else chosen("--model", word, MODELS)


def deadline_s(option: str, word: str) -> float:
    """A duration that an option takes; a bare number is seconds.

    Raises:
        UsageError: it is none.
    """
    try:
        return duration_s(float(word) if word.replace(".", "", 1).isdigit() else word)
    except ValueError as error:
        raise UsageError(f'{option}: expected {error}, got "{word}"') from None


def target_named(option: str, text: str) -> Target:
    """A command line, or `module:function` of the current folder.

    Raises:
        UsageError: it is neither.
    """
    if _REF.fullmatch(text):
        return PythonTarget(ref=text, search=(os.getcwd(),))
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option}: {error} in {text!r}", "quote the command as for a shell") from None
    if not words:
        raise UsageError(f"{option} is empty", "give a command line, or module:function")
    if left := [word for word in words if word in _OF_A_SHELL and word in text.split()]:
        hint = f"start one: {option} {shlex.quote('sh -c ' + shlex.quote(text))}"
        raise UsageError(f"{option}: {left[0]} would be an argument of {words[0]}, for no shell reads it", hint)
    return CommandTarget(commands=(words,))


def _budget(word: str) -> Budget | None:
    if not word:
        return None
    try:
        return budget(word)
    except ValueError as error:
        raise UsageError(f'--budget: expected {error}, got "{word}"') from None
