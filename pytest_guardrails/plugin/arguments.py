"""What a test gives to a fixture or a marker, as targets and settings; what makes no sense is refused with one message.

It runs nothing. A fixture's arguments are a table, argument -> (setting, what makes it); the parsers that several
tables need stand here. Read `door.py` for what becomes of a call.
"""

import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, final

from chaos.child.actors import unrun_words
from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Roles, Target
from chaos.errors import UsageError
from chaos.observations import Bounds
from chaos.scenario.model import MODELS
from chaos.scenario.quantities import budget, count_from_1, duration_s, size_bytes

__all__ = [
    "COMMON_SETTINGS",
    "HISTORY_SETTINGS",
    "STATE_SETTINGS",
    "Call",
    "Settings",
    "TargetLike",
    "known_names",
    "parsed",
    "refusal",
    "table",
    "tables",
    "unchanged",
]

TargetLike = Callable[..., Any] | str | Sequence[Sequence[str]]
"""A callable, "module:object", or a list of commands."""

Settings = Mapping[str, tuple[str, Callable[[Any], Any]]]
"""Argument -> (setting, what makes it; its `ValueError` completes "expected ..."); no setting: it is only looked at."""

# "power" is every model up to the one that promises least; a finding then names the weakest that shows it.
_POWER = MODELS[: MODELS.index("posix") + 1]

# What each role is called with, by whatever names; other roles are looked at by nobody before they are called.
_GIVEN = {
    "workload": ("disk", "ack"),
    "resume": ("disk", "ack"),
    "worker": ("disk", "witness"),
    "recover": ("disk",),
    "setup": ("disk",),
    "check": ("value", "acked"),
}
_RACE_CHECK = ("disk", "results")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a fixture.

    Attributes:
        fixture: its name, for errors.
        given: the arguments by name, those of the marker among them.
        here: the test's folder, where modules are looked for first.
    """

    fixture: str
    given: Mapping[str, Any]
    here: str

    def needed(self, value: object, role: str) -> Target:
        """A target as data.

        Args:
            value: what the test gave.
            role: what it was given as.

        Raises:
            UsageError: it is none.
        """
        if value is None:
            hint = "give a callable, 'module:object', or a list of commands"
            raise UsageError(f"{self.fixture}: {role} is None", hint)
        if callable(value):
            self._refuse_unrun(value, role)
            self._refuse_uncallable(value, role)
            return CallableTarget(function=value)
        if isinstance(value, str) and ":" in value:
            return PythonTarget(ref=value, search=(self.here, *_own_search()))
        if isinstance(value, (list, tuple)) and value and all(map(_is_command, value)):
            return CommandTarget(commands=tuple(tuple(command) for command in value))
        raise UsageError(
            f"{self.fixture}({role}=...): expected a callable, 'module:object', or a list of commands, got {value!r}",
            "a command is a list of arguments: [['git', 'fsck']]",
        )

    def _refuse_unrun(self, function: Callable[..., Any], role: str) -> None:
        """Refuse what does nothing when it is called: the test would test nothing."""
        if unrun := unrun_words(function):
            name = getattr(function, "__name__", "it")
            told = f"{self.fixture}({role}=...): expected a plain function, and {name} is {unrun[0]}"
            raise UsageError(told, unrun[1])

    def _refuse_uncallable(self, function: Callable[..., Any], role: str) -> None:
        """Refuse what can't take the arguments of its role: it would raise each time, and be told as a finding."""
        given = _RACE_CHECK if (self.fixture, role) == ("race", "check") else _GIVEN.get(role)
        try:
            signature = inspect.signature(function, follow_wrapped=False)
        except (TypeError, ValueError):  # code in C, which tells nothing
            return
        if given is None:
            return
        try:
            signature.bind(*given)
        except TypeError as error:
            name = getattr(function, "__name__", "it")
            call = f"{name}({', '.join(given)})"
            told = f"{self.fixture}({role}=...): it is called as {call}, and {name}{signature} can't be: {error}"
            raise UsageError(told, f"let it take {', '.join(given)}") from None

    def targets(self, *roles: str) -> dict[str, Any]:
        """The targets among the arguments, by role; None for those that are not given."""
        given = {role: self.given.get(role) for role in roles}
        return {role: None if value is None else self.needed(value, role) for role, value in given.items()}

    def roles(self, workload: object, recover: object) -> Roles:
        """The target of a fixture that runs a workload and recovers from what it leaves."""
        return Roles(
            workload=self.needed(workload, "workload"),
            recover=self.needed(recover, "recover"),
            **self.targets("setup", "check", "resume"),
        )

    def settings(self, *parsers: Settings) -> dict[str, Any]:
        """The other arguments as settings; those that are not given are left out."""
        return {name: value for one in parsers for name, value in parsed(self.fixture, self.given, one).items()}


def known_names(owner: str, given: Mapping[str, Any], known: Sequence[str], needed: Sequence[str] = ()) -> None:
    """Refuse arguments that a fixture or a marker does not have.

    Args:
        owner: its name.
        given: the arguments.
        known: the names of those that it has.
        needed: the names of those that are given apart.

    Raises:
        UsageError: which one, and what was probably meant.
    """
    for name in given:
        if name in needed:
            raise UsageError(f"{owner} has no argument {name!r}", "give it to the call of the fixture")
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join((*needed, *known))}"
            raise UsageError(f"{owner} has no argument {name!r}", hint)


def parsed(owner: str, given: Mapping[str, Any], parsers: Settings) -> dict[str, Any]:
    """Arguments as settings.

    Raises:
        UsageError: which one is wrong, and what was expected.
    """
    found = {}
    for name, (setting, parse) in parsers.items():
        if name in given:
            try:
                found[setting] = parse(given[name])
            except ValueError as error:
                raise UsageError(f"{owner}({name}=...): expected {error}, got {given[name]!r}") from None
    found.pop("", None)
    return found


def refusal(owner: str, error: Exception) -> str:
    """What is wrong, with the name of the fixture or marker in front, unless the message begins with it."""
    text = str(error)
    return text if text.startswith((f"{owner}(", f"{owner}.", f"{owner}:", f"{owner} ")) else f"{owner}: {text}"


def tables(made: Callable[[Mapping[str, Any]], Any], example: str) -> Callable[[object], tuple[Any, ...]]:
    """What makes each of a list of tables.

    Args:
        made: makes one; it may raise a `UsageError` of its own.
        example: a list as it should be.
    """

    def parse(given: object) -> tuple[Any, ...]:
        if not isinstance(given, (list, tuple)) or not all(isinstance(table, Mapping) for table in given):
            raise ValueError(f"a list of tables such as {example}")
        return tuple(map(made, given))

    return parse


def table(made: Callable[[Mapping[str, Any]], Any], example: str) -> Callable[[object], Any]:
    """As `tables`, for one."""

    def parse(given: object) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError(f"a table such as {example}")
        return made(given)

    return parse


def unchanged(value: Any) -> Any:
    """What makes a setting that is judged elsewhere."""
    return value


def _own_search() -> tuple[str, ...]:
    """What this process has put on `sys.path`, as pytest's `pythonpath` does: targets by name are found there too."""
    of_python = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(
        path
        for path in sys.path
        if os.path.isdir(path) and not any(path == one or path.startswith(f"{one}{os.sep}") for one in of_python)
    )


def _is_command(command: object) -> bool:
    return isinstance(command, (list, tuple)) and bool(command) and all(isinstance(word, str) for word in command)


def _names(given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise ValueError("a name, or a list of names")
    return tuple(sorted(names) if isinstance(names, (set, frozenset)) else names)


def _names_or_none(given: object) -> tuple[str, ...] | None:
    return None if given is None else _names(given)


def _models(given: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for name in _names(given) for one in (_POWER if name == "power" else (name,))))


def _jobs(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError("a number of processes, or 0 for one on each processor")
    return given


def _bounds(given: object) -> Bounds:
    if not isinstance(given, Mapping) or not given.keys() <= _BOUNDS.keys():
        raise ValueError(f"a mapping with keys among {', '.join(_BOUNDS)}")
    return Bounds(**parsed("bounds", given, _BOUNDS))


_BOUNDS: Settings = {
    "memory": ("memory_bytes", size_bytes),
    "file": ("file_bytes", size_bytes),
    "recovery": ("recovery_s", duration_s),
    "rounds": ("rounds", count_from_1),
}
# What every fixture of the harness takes,
COMMON_SETTINGS: Settings = {
    "oracles": ("oracles", _names_or_none),
    "deadline": ("deadline_s", duration_s),
    "budget": ("", budget),
}
# what those take that recover from crash states,
STATE_SETTINGS: Settings = {
    "model": ("models", _models),
    "exclude": ("exclude", _names),
    "workload_deadline": ("workload_deadline_s", duration_s),
    "memory": ("memory_bytes", size_bytes),
    "bounds": ("bounds", _bounds),
    "jobs": ("", _jobs),
}
# and those whose workers tell of their calls.
HISTORY_SETTINGS: Settings = {
    "history": ("history", unchanged),
    "initial": ("initial", unchanged),
}
