"""Keys and shapes that several kinds of scenario files share, and how a target becomes data.

Read `explore.py` next.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from chaos.child.target import CommandTarget, PythonTarget, Target
from chaos.disk.models import model_named
from chaos.errors import UsageError
from chaos.observations import Bounds, Damage
from chaos.scenario.model import MODEL_PATTERN, Drive
from chaos.scenario.quantities import DURATION_PATTERN, SIZE_PATTERN, count_from_1, duration_s, size_bytes
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Mismatch, Table, Tables, Value, choice, each, measured, text, texts_by_name

__all__ = [
    "BOUNDS",
    "COUNT",
    "DURATION",
    "ENV",
    "REF",
    "SIZE",
    "TARGET",
    "Kind",
    "bounds_from",
    "check_env",
    "expect",
    "made",
    "model_of",
    "oracles",
]

_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_REF_PATTERN = rf"^{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}(\.{_IDENTIFIER})*$"
_TARGET = '"module:object" or a list of commands'
_COMMAND = 'a command as a list of arguments, such as ["git", "status"]'

REF = text(_TARGET, _REF_PATTERN)
_ARGUMENT = text("a string without NUL")
_COMMANDS = each(each(_ARGUMENT, _COMMAND, at_least=1), "a list of commands", at_least=1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind of scenario is written.

    Attributes:
        fields: its keys, besides those that all kinds have.
        build: makes its settings of their values; reports to the reader what is wrong, and may then give None.
            The path is the folder in which targets are looked for first.
        rule: what holds between keys, for the JSON schema; `build` reports the same.
    """

    fields: tuple[Field, ...]
    build: Callable[[Reader, Mapping[str, Any], Path], Drive | None]
    rule: Mapping[str, Any] = field(default_factory=dict)


def _parse_target(value: object) -> Any:
    if isinstance(value, str):
        return REF.parse(value)
    if not isinstance(value, list) or not value:
        raise Mismatch(_TARGET, value)
    if all(isinstance(argument, str) for argument in value):
        raise Mismatch(_TARGET, value, "put the command in one more pair of brackets: [[...]]")
    return _COMMANDS.parse(value)


def model_of(names: Sequence[str]) -> Value:
    """One of `names`, or a model of the user's own: a preset and the rules that differ."""
    named = choice(names, MODEL_PATTERN)

    def parse(value: object) -> str:
        try:
            return str(named.parse(value))
        except Mismatch:
            if not (isinstance(value, str) and " " in value):
                raise
        try:
            hint = f"write it as {' '.join(model_named(value).name.split())!r}"
        except UsageError as error:
            hint = f"{error.message.partition(': ')[2] or error.message}; {error.hint}"
        raise Mismatch("a persistence model", value, hint)

    return Value(schema=named.schema, parse=parse)


TARGET = Value(schema={"anyOf": [dict(REF.schema), dict(_COMMANDS.schema)]}, parse=_parse_target)
DURATION = measured(
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": DURATION_PATTERN}]}, duration_s
)
SIZE = measured({"type": "string", "pattern": SIZE_PATTERN}, size_bytes)
COUNT = measured({"type": "integer", "minimum": 1}, count_from_1)
ENV = Field(
    key="env",
    shape=texts_by_name("a table of strings", rf"^{_IDENTIFIER}$"),
    about="environment variables for the commands",
)

BOUNDS = Field(
    key="bounds",
    shape=Table(
        fields=(
            Field(key="memory", shape=SIZE, about="resident memory of one recovery, beyond what it began with"),
            Field(key="file", shape=SIZE, about="the longest file that workload or recovery leaves"),
            Field(key="recovery", shape=DURATION, about="wall time of one recovery"),
            Field(key="rounds", shape=COUNT, about="acknowledgements that one run of the workload makes"),
        )
    ),
    about="what a run may take, for the oracles bounded and (rounds) terminates",
)
_BOUNDS = {
    "memory": "memory_bytes",
    "file": "file_bytes",
    "disk": "disk_bytes",
    "recovery": "recovery_s",
    "rounds": "rounds",
}


def bounds_from(values: Mapping[str, Any]) -> Bounds:
    """The bounds that a file gives."""
    return Bounds(**{_BOUNDS[key]: value for key, value in values.get("bounds", {}).items()})


def oracles(names: Sequence[str]) -> Field:
    """The key `oracles`, with the names that a kind has."""
    return Field(
        key="oracles",
        shape=each(choice(names), "a list of oracles", at_least=1, unique=True),
        about="what must hold",
    )


def expect(names: Sequence[str], models: Sequence[str], *, own_models: bool = False) -> Field:
    """The tables `expect`.

    Args:
        names: the oracles that a kind has.
        models: what a finding's model may be.
        own_models: whether it may be one of the user's own as well.
    """
    fields = (
        Field(
            key="oracle",
            shape=choice(names),
            about="which oracle objects",
            required=True,
            example=f'oracle = "{names[0]}"',
        ),
        Field(
            key="model",
            shape=model_of(models) if own_models else choice(models),
            about="the weakest model that shows it",
        ),
        Field(key="damage", shape=choice([damage.value for damage in Damage]), about="what kind of damage"),
        Field(
            key="source",
            shape=text('a file\'s name, with its line from 1 if wanted ("store.py:42")', r"^(?!.*:0+$)[^\x00]+$"),
            about='the line to blame: "store.py", "store.py:42", or the path of the file that was written to',
        ),
    )
    return Field(key="expect", shape=Tables(fields=fields), about="findings that are meant to appear")


def made(value: Any, folder: Path, env: tuple[tuple[str, str], ...]) -> Target:
    """A target as data."""
    if isinstance(value, str):
        return PythonTarget(ref=value, search=(str(folder),))
    return CommandTarget(commands=value, env=env)


def check_env(reader: Reader, env: tuple[tuple[str, str], ...], targets: Iterable[Target]) -> None:
    """Report an environment that no command gets."""
    if env and not any(isinstance(target, CommandTarget) for target in targets):
        reader.report(
            ("target", "env"), "there is no command to give it to", "set os.environ in the target, or remove it"
        )
