"""What a trial of an engine showed; the same for every engine, and importable on every system."""

from dataclasses import dataclass
from typing import final

__all__ = ["EngineReport"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """What the trial showed.

    Attributes:
        works: whether the engine can be used.
        why: why not; empty when it works.
        details: the machine and its settings, one line each, for people.
    """

    works: bool
    why: str
    details: tuple[str, ...]
