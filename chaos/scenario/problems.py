"""What is wrong with a scenario file: all of it at once, each with file, line, key and next step.

Pure data and its printed form. Read `loader.py` next.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from chaos.errors import UsageError

__all__ = ["Problem", "ScenarioError", "shown"]

_SHOWN_LIMIT = 60  # characters of a wrong value: enough to recognise it in the file


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: as the user named it.
        line: from 1; 0 when the file as a whole is meant.
        key: the dotted key, or "" when no key is meant.
        message: what is wrong, and with which value.
        hint: the next step.
    """

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [place, self.key, self.message] if self.key else [place, self.message]
        return ": ".join(parts) + (f"; next: {self.hint}" if self.hint else "")


@final
class ScenarioError(UsageError):
    """One or more scenario files are wrong.

    Attributes:
        problems: all that was found, in the order of files and lines.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return ScenarioError, (self.problems,)


def shown(value: object) -> str:
    """A TOML value for a message, on one line and bounded."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_LIMIT else text[: _SHOWN_LIMIT - 3] + "..."
