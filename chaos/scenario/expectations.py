"""What was found against what was expected, in both directions.

Pure. A violation that nobody expected is a surprise; an expectation that nothing met is a miss: the scenario no
longer shows the weakness that it is there to show. Read `runner.py` next.
"""

from collections.abc import Sequence
from pathlib import PurePath

from chaos.observations import Damage, Finding
from chaos.scenario.model import Expectation

__all__ = ["described", "meets", "missed", "surprises"]


def meets(finding: Finding, expectation: Expectation) -> bool:
    """Whether `finding` is one that `expectation` speaks of."""
    return (
        finding.oracle == expectation.oracle
        and expectation.model in (None, finding.model)
        and expectation.damage in (None, finding.damage)
        and (expectation.source is None or _blames(finding, expectation.source))
    )


def surprises(findings: Sequence[Finding], expected: Sequence[Expectation]) -> tuple[Finding, ...]:
    """The violations that no expectation speaks of; what healed itself is none."""
    return tuple(
        finding
        for finding in findings
        if finding.damage is not Damage.SELF_HEALED and not any(meets(finding, entry) for entry in expected)
    )


def missed(findings: Sequence[Finding], expected: Sequence[Expectation]) -> tuple[Expectation, ...]:
    """The expectations that no finding meets."""
    return tuple(entry for entry in expected if not any(meets(finding, entry) for finding in findings))


def described(expectation: Expectation) -> str:
    """An expectation on one line, for people."""
    parts = [f"oracle {expectation.oracle}"]
    parts += [f"model {expectation.model}"] if expectation.model else []
    parts += [f"damage {expectation.damage.value}"] if expectation.damage else []
    parts += [f"source {expectation.source}"] if expectation.source else []
    return ", ".join(parts)


def _blames(finding: Finding, source: str) -> bool:
    if finding.source is None:
        return False
    file, colon, line = source.rpartition(":")
    if not (colon and line.isdigit()):
        file, line = source, ""
    wanted = PurePath(file).parts
    return PurePath(finding.source.file).parts[-len(wanted) :] == wanted and line in ("", str(finding.source.line))
