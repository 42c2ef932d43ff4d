"""How like the real files their copies must be, for recovery to be judged on them.

Copies have names, contents, links, permissions, and times of the order and age of the recorded ones. A program that
wrote down a file's time finds another one there: where recovery objects to undamaged copies, or its answers differ, and
the very times of the run mend that, copies get these. Extended attributes are not followed through a run: where those
of its end change what recovery answers, nothing can be told. Read `exploring.py` next.
"""

from collections.abc import Sequence

from chaos.errors import NotMeasured
from chaos.explore.exploration import Exploration
from chaos.observations import Reference
from chaos.oracles import judge_reference
from chaos.trace.model import Trace

__all__ = ["are_better", "check_attributes", "leaves_doubt"]


def leaves_doubt(trace: Trace, reference: Reference, oracles: Sequence[str]) -> bool:
    """Whether recovery on undamaged copies leaves a doubt that the very times of the run may clear."""
    if not trace.marks or trace.exact_times:
        return False
    return bool(reference.vague or _objections(trace, reference, oracles))


def are_better(trace: Trace, exact: Reference, aged: Reference, oracles: Sequence[str]) -> bool:
    """Whether the very times clear a doubt: fewer objections, or answers that can be compared."""
    if exact.vague:
        return False
    return bool(aged.vague) or len(_objections(trace, exact, oracles)) < len(_objections(trace, aged, oracles))


def check_attributes(trace: Trace, exploration: Exploration) -> None:
    """Refuse a recovery that goes by extended attributes.

    Raises:
        NotMeasured: it answers otherwise where they are there.
    """
    held = [mark for mark in trace.marks if mark.attributes]
    reference = exploration.reference
    if not held or reference.vague:
        return
    without, whole = reference.steps[-1], exploration.observe_attributes()
    if (without.ending, without.value, without.error, without.check) != (
        whole.ending,
        whole.value,
        whole.error,
        whole.check,
    ):
        name = held[0].attributes[0][0]
        raise NotMeasured(
            f"recovery goes by extended attributes ({name}), which crash states do not have",
            "keep what recovery needs in the files themselves; nothing can be told otherwise",
        )


def _objections(trace: Trace, reference: Reference, oracles: Sequence[str]) -> tuple[object, ...]:
    return judge_reference(reference, oracles, operations=len(trace.ops))
