"""Which scenarios a command line means: files, folders, names, or everything in `./scenarios`.

Loads files, runs nothing. All problems of all files that matter are reported in one go. Of many files, only those in
which a wanted name may stand are read as scenarios. Read `loader.py` next.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from chaos.errors import UsageError
from chaos.scenario.loader import load
from chaos.scenario.model import Profile, Scenario
from chaos.scenario.problems import Problem, ScenarioError

__all__ = ["DEFAULT_FOLDER", "discover", "now_and_later"]

DEFAULT_FOLDER = "scenarios"
_NOT_SCENARIOS = frozenset({"pyproject.toml"})
_WILD = re.compile(r"[*?]|\[.*\]")  # in a name asked for: what stands for other letters


def discover(wanted: Sequence[str] = ()) -> list[Scenario]:
    """The scenarios that `wanted` names, each once, ordered by path within each argument.

    Args:
        wanted: paths of files or folders, or names (with `*` and `?` as wildcards) of scenarios in `./scenarios`;
            everything there when empty.

    Raises:
        UsageError: nothing of that name, or nothing at all.
        ScenarioError: files are wrong, or two scenarios share a name.
    """
    paths = [Path(argument) for argument in wanted if os.path.lexists(argument)]
    names = [argument for argument in wanted if not os.path.lexists(argument)]
    if not wanted:
        paths = [_default_folder("name a file, a folder or a scenario")]
    loaded, problems = _load_all(_files_of(paths))
    found = {id(scenario): scenario for scenario in loaded}
    if names:
        files = _files_of([_default_folder(_unknown_path(names))])
        shelf, shelf_problems = _load_all(file for file in files if _may_hold(file, names))
        missing = _missing(names, shelf)
        if missing:
            shelf, shelf_problems = _load_all(files)
            missing = _missing(names, shelf)
        if missing and not shelf_problems:
            raise _unknown(missing[0], shelf)
        # A broken file may be the one that was meant; when every name was found elsewhere it is not in the way.
        problems += shelf_problems if missing else []
        known = {_real(scenario) for scenario in loaded}
        chosen = [s for s in shelf if any(fnmatchcase(s.name, name) for name in names) and _real(s) not in known]
        found |= {id(scenario): scenario for scenario in chosen}
    scenarios = list(found.values())
    problems += _duplicates(scenarios)
    if problems:
        raise ScenarioError(problems)
    return scenarios


def now_and_later(
    scenarios: Iterable[Scenario], wanted: Sequence[str], profile: Profile
) -> tuple[list[Scenario], list[Scenario]]:
    """Which of the scenarios found are run, and which wait for a longer profile.

    Args:
        scenarios: what `discover` found.
        wanted: what it was asked for; whatever a name or a file of it means is run in any profile.
        profile: that of the run.
    """
    order = list(Profile)
    names = [argument for argument in wanted if not os.path.lexists(argument)]
    files = {Path(argument).resolve() for argument in wanted if os.path.lexists(argument)}
    now: list[Scenario] = []
    later: list[Scenario] = []
    for scenario in scenarios:
        named = _real(scenario) in files or any(fnmatchcase(scenario.name, name) for name in names)
        fits = order.index(scenario.profile) <= order.index(profile)
        (now if named or fits else later).append(scenario)
    return now, later


def _default_folder(hint: str) -> Path:
    folder = Path(DEFAULT_FOLDER)
    if not folder.is_dir():
        raise UsageError(f"there is no folder ./{DEFAULT_FOLDER} here", hint)
    return folder


def _unknown_path(names: Sequence[str]) -> str:
    return f'"{names[0]}" is no file either; check the path, or change to the folder above {DEFAULT_FOLDER}/'


def _files_of(paths: Iterable[Path]) -> list[Path]:
    files: dict[Path, Path] = {}
    for path in paths:
        inside = list(_walk(path)) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"no scenario (*.toml) in {path}", "name a folder that holds some, or a file")
        for file in inside:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.toml")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.name not in _NOT_SCENARIOS:
            yield path


def _may_hold(file: Path, names: Sequence[str]) -> bool:
    """Whether a file may be the scenario of one of the names (or of more, or none): a look at its bytes, not its sense.

    A name stands in its file letter by letter, unless it is written with escapes.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return True
    return b"\\" in content or any(
        all(piece.encode("utf-8", "surrogateescape") in content for piece in _WILD.split(name)) for name in names
    )


def _missing(names: Sequence[str], shelf: Sequence[Scenario]) -> list[str]:
    return [name for name in names if not any(fnmatchcase(scenario.name, name) for scenario in shelf)]


def _load_all(files: Iterable[Path]) -> tuple[list[Scenario], list[Problem]]:
    problems: list[Problem] = []
    scenarios = [scenario for file in files if (scenario := _load_or_note(file, problems))]
    return scenarios, problems


def _load_or_note(file: Path, problems: list[Problem]) -> Scenario | None:
    try:
        return load(file)
    except ScenarioError as error:
        problems += error.problems
        return None


def _duplicates(scenarios: Iterable[Scenario]) -> list[Problem]:
    first: dict[str, Scenario] = {}
    return [
        Problem(
            file=scenario.origin,
            line=0,
            key="name",
            message=f'"{scenario.name}" is also the name in {first[scenario.name].origin}',
            hint="rename one of them",
        )
        for scenario in scenarios
        if first.setdefault(scenario.name, scenario) is not scenario
    ]


def _unknown(name: str, shelf: Sequence[Scenario]) -> UsageError:
    close = get_close_matches(name, [scenario.name for scenario in shelf], n=1)
    hint = f'did you mean "{close[0]}"?' if close else "`chaos list` shows the names"
    return UsageError(f'"{name}" is neither a file nor the name of a scenario in ./{DEFAULT_FOLDER}', hint)


def _real(scenario: Scenario) -> Path:
    return Path(scenario.origin).resolve()
