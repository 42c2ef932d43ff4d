"""Findings and results as plain lines, for terminals, test failures and logs alike; no colour, no width assumed.

The explanation comes first, the command that replays it last. Read `terminal.py` for the coloured form.
"""

import re
from collections.abc import Iterable, Iterator

from chaos.observations import Damage, Finding, Verdict
from chaos.report.results import ScenarioResult, Status, status, why

__all__ = ["counted", "facts", "finding_lines", "printable", "result_words", "tried", "verdict_lines"]

# Control characters steer terminals, direction marks reorder a line, and lone surrogates can't be encoded.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with everything that is not meant to be seen written as an escape."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def counted(number: int, word: str) -> str:
    """`1 state`, `2 states`."""
    return f"{number} {word}{'' if number == 1 else 'es' if word.endswith('ch') else 's'}"


def facts(finding: Finding) -> str:
    """Kind, oracle, model and number of states in one line."""
    unit = finding.extra.get("unit", "state")
    where = f"model {finding.model}, {counted(finding.states, unit)}" if finding.state else "no crash needed"
    return f"{finding.damage.value}, oracle {finding.oracle}, {where}, id {finding.id}"


def tried(results: Iterable[ScenarioResult]) -> str:
    """How much was tried in all, each kind in its own unit."""
    numbers: dict[str, int] = {}
    for result in results:
        unit = result.statistics.unit
        numbers[unit] = numbers.get(unit, 0) + result.statistics.states
    return ", ".join(counted(number, unit) for unit, number in numbers.items()) or "nothing tried"


def finding_lines(finding: Finding, replay: str = "") -> tuple[str, ...]:
    """A finding in full.

    Args:
        finding: what to tell.
        replay: the command that reproduces it, printed last; "" to leave it out.
    """
    lines = [finding.title, f"  {facts(finding)}"]
    lines += [f"  {line}" for line in finding.explanation]
    if finding.timeline:
        lines += ["", *finding.timeline]
    if finding.advice:
        lines += ["", *(f"  fix: {line}" for line in finding.advice)]
    if replay:
        lines += ["", f"  replay: {replay}"]
    return tuple(map(printable, lines))


def result_words(result: ScenarioResult) -> str:
    """How a scenario came out, in a few words."""
    came = status(result)
    if came is Status.PASSED:
        found = [finding for finding in result.findings if finding.damage is not Damage.SELF_HEALED]
        return f"as expected: {counted(len(found), 'finding')}" if result.expectation.expected else "holds"
    if came is Status.VIOLATED:
        surprises, missing = len(result.expectation.surprises), len(result.expectation.missing)
        words = [counted(surprises, "violation")] if surprises else []
        words += [f"{missing} expected not found"] if missing else []
        return "VIOLATED: " + ", ".join(words)
    return str(came.value).upper()


def verdict_lines(result: ScenarioResult) -> Iterator[str]:
    """What is worth knowing beyond the findings: the reason of a doubt, unknown oracles, what was left out, notes."""
    reason = why(result)
    if reason:
        yield reason
    if result.stop is not None and result.stop.hint:
        yield f"next: {result.stop.hint}"
    for verdict in result.verdicts:
        if verdict.fault and verdict.fault != reason:
            yield f"oracle {verdict.oracle}: {verdict.fault}"
        elif verdict.verdict is Verdict.UNKNOWN and verdict.reason not in reason:
            yield f"oracle {verdict.oracle} could not tell: {verdict.reason}"
    yield from (line for line in result.unmeasured if line not in reason)
    # Several models leave out the same, in the same words.
    yield from (f"left out: {line}" for line in dict.fromkeys(result.statistics.left_out))
    yield from result.notes
