"""Compares what was found with what a scenario says must be found; wrong in either direction fails.

A scenario that expects nothing expects that nothing is violated. Self-healed damage need not be expected, and may
be. Pure; it must not know where expectations are written. Read `results.py` next.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from chaos.observations import Damage, Finding

__all__ = ["ExpectationResult", "Expected", "compare", "matches"]


class Expected(Protocol):
    """A finding that should appear; an attribute that is None matches anything."""

    @property
    def oracle(self) -> str | None:
        """Which oracle objects."""

    @property
    def model(self) -> str | None:
        """The weakest persistence model that shows it."""

    @property
    def damage(self) -> Damage | None:
        """What kind of damage."""

    @property
    def source(self) -> str | None:
        """Part of `file:line function` of any frame to blame, or of the path acted upon, in whole words."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationResult:
    """How findings compare with expectations.

    Attributes:
        expected: the expectations in words.
        missing: those that no finding matches.
        surprises: ids of the violations that no expectation matches; all of them when nothing is expected.
    """

    expected: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    surprises: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether exactly the expected was found."""
        return not self.missing and not self.surprises


def compare(
    expected: Sequence[Expected], findings: Sequence[Finding], judged: Collection[str] = ()
) -> ExpectationResult:
    """Match each finding with the expectations: every violation needs at least one, and each of them a finding.

    Args:
        expected: what should be found.
        findings: what was found.
        judged: the oracles that were asked; empty when that is not known.
    """
    return ExpectationResult(
        expected=tuple(_words(one) for one in expected),
        missing=tuple(
            _words(one) + _unasked(one, judged)
            for one in expected
            if not any(matches(one, finding) for finding in findings)
        ),
        surprises=tuple(
            finding.id
            for finding in findings
            if finding.damage is not Damage.SELF_HEALED and not any(matches(one, finding) for one in expected)
        ),
    )


def matches(expected: Expected, finding: Finding) -> bool:
    """Whether a finding is the expected one."""
    return (
        expected.oracle in (None, finding.oracle)
        and expected.model in (None, finding.model)
        and expected.damage in (None, finding.damage)
        and (expected.source is None or _names_source(expected.source, finding))
    )


def _names_source(wanted: str, finding: Finding) -> bool:
    # Whole words only: "store.py:4" is not "store.py:42", and "store.py" is not "my_store.py".
    pattern = re.compile(rf"(?<![\w.-]){re.escape(wanted)}(?!\w)")
    source = finding.source
    places = [finding.extra.get("blamed", ""), finding.extra.get("frames", "")]
    if source is not None:
        places.append(f"{source.file}:{source.line} {source.function}")
    return any(pattern.search(place) for place in places)


def _unasked(expected: Expected, judged: Collection[str]) -> str:
    """Some oracles are asked only when they are named."""
    if not judged or expected.oracle in (None, *judged):
        return ""
    return f" (which was not asked: name it in `oracles`, beside {', '.join(judged)})"


def _words(expected: Expected) -> str:
    named = {
        "oracle": expected.oracle,
        "model": expected.model,
        "damage": None if expected.damage is None else expected.damage.value,
        "source": expected.source,
    }
    return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None) or "any violation"
