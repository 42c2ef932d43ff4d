"""The states that real images hold, as crash states of a trace: what `model = "real:ext4"` explores.

The recorded operations are performed again on a real image, twice: once with nothing but them, once with the journal
made to commit after each. What a power cut would have left after each operation is looked up among the model's own
states, so that it has a recipe, and everything that is done with a state can be done with it. Read `real.py` for the
images, `space.py` for states.
"""

import platform
from collections.abc import Iterator
from typing import Final

from chaos.disk.models import REAL_PREFIX, PersistenceModel
from chaos.disk.real import FILESYSTEMS, probe, real_states
from chaos.disk.space import StateSpace
from chaos.disk.states import CrashState
from chaos.disk.workloads import Nudge, NudgeKind, Workload
from chaos.errors import HarnessFault, NotMeasured
from chaos.trace.model import Trace

__all__ = ["confirmation", "crash_states", "is_real"]

_COMMIT: Final = Nudge(kind=NudgeKind.COMMIT)
# Of an image: what is written at all must fit, several versions of it, journal and metadata beside it.
_SHARE: Final = 4


def is_real(model: PersistenceModel) -> bool:
    """Whether a model stands for the images themselves."""
    return model.name.startswith(REAL_PREFIX)


def confirmation(model: PersistenceModel) -> str:
    """What a state found on an image is stamped with."""
    return f"confirmed on {model.base}, Linux {platform.release()}"


def crash_states(space: StateSpace) -> Iterator[CrashState]:
    """What real images held after each of the trace's operations.

    Raises:
        NotMeasured: such images can't be mounted here, or do not show what this trace needs.
        HarnessFault: an image held what the model does not allow; `chaos doctor --validate-models` tells more.
    """
    trace, filesystem = space.trace, space.model.base
    _check(trace, filesystem)
    commits = Workload(trace=trace, nudges=(_COMMIT,) * len(trace.ops))
    plain, committed = real_states([Workload(trace=trace), commits], filesystem)
    for point, found in enumerate(zip(plain, committed, strict=True)):
        wanted = {tree.digest for tree in found}
        for state in space.states_at(point):
            if state.digest in wanted:
                yield state
        legal = [space.contains(point, tree) for tree in found]
        if not all(legal):
            raise HarnessFault(
                f"after {point} operations a real {filesystem} image holds what model {filesystem} does not allow",
                "run `chaos doctor --validate-models` and report what it shows",
            )


def _check(trace: Trace, filesystem: str) -> None:
    refusal = probe(filesystem)
    if refusal:
        raise NotMeasured(f"no real {filesystem} images here: {refusal}", f'use the model "{filesystem}"')
    if any(op.errno for op in trace.ops):
        raise NotMeasured("a sync of this run failed, which an image does not repeat", f'use the model "{filesystem}"')
    size = sum(len(node.data) for node in trace.initial) + sum(len(op.data) for op in trace.ops)
    if size * _SHARE > FILESYSTEMS[filesystem].size_bytes:
        raise NotMeasured(
            f"the run writes {size >> 20} MiB, too much for the small images", f'use the model "{filesystem}"'
        )
