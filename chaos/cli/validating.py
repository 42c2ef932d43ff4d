"""`chaos doctor --validate-models`: the persistence models held against the file systems of this machine's kernel.

Prints one paragraph a file system: how many real states were held against its model, which of its rules they showed
broken, and the smallest workload of a state that the model forbids. Read `chaos/disk/validate.py` for what is done.
"""

import platform
import sys
from time import monotonic

from chaos.cli.arguments import DoctorArguments
from chaos.cli.edge import say
from chaos.disk.models import model_named
from chaos.disk.real import FILESYSTEMS, probe
from chaos.disk.tree import Tree
from chaos.disk.validate import BACKGROUND_S, UNSHOWABLE, Miss, Validation, stronger, validate
from chaos.disk.wording import operation_text
from chaos.errors import UsageError
from chaos.trace.model import NodeType

__all__ = ["validate_models", "validation_words"]

_VIOLATED, _NOT_MEASURED = 1, 3


def validate_models(arguments: DoctorArguments) -> int:
    """Validate the models asked for; 1 when a real state is outside its model, 3 when nothing could be tried.

    Raises:
        UsageError: an unknown file system is asked for.
    """
    wanted = arguments.filesystems or list(FILESYSTEMS)
    for name in wanted:
        if name not in FILESYSTEMS:
            raise UsageError(f"no file system {name!r}", f"use one of: {', '.join(FILESYSTEMS)}")
    tried = [found for name in wanted if (found := _tried(name, arguments)) is not None]
    if not tried:
        say("no file system could be tried: nothing was measured")
        return _NOT_MEASURED
    return _VIOLATED if any(one.misses for one in tried) else 0


def _tried(name: str, arguments: DoctorArguments) -> Validation | None:
    refusal = probe(name)
    if refusal:
        sys.stdout.write(f"{name}: not tried: {refusal}\n")
        return None
    began = monotonic()
    found = validate(
        name,
        model_named(name),
        count=arguments.workloads,
        seed=arguments.seed,
        wait_s=BACKGROUND_S if arguments.background else 0.0,
        progress=lambda done: say(f"  {name}: {done} workloads") if done % 100 == 0 else None,
    )
    sys.stdout.write("\n".join(validation_words(found, monotonic() - began)) + "\n")
    sys.stdout.flush()
    return found


def validation_words(found: Validation, seconds: float) -> list[str]:
    """What came of one file system, as lines."""
    told = "no real state outside the model" if not found.misses else f"{found.misses} WORKLOADS OUTSIDE THE MODEL"
    lines = [
        f"{found.filesystem} (Linux {platform.release()}): {found.workloads} workloads, {found.states} real states "
        f"in {seconds:.0f} s: {told}"
    ]
    if found.smallest is not None:
        lines += _miss_words(found.smallest)
    shown = ", ".join(f"{rule} ({count})" for rule, count in found.shown.items())
    lines.append(f"  rules that some workload needs to be as weak as they are: {shown or 'none'}")
    if found.unshown:
        lines.append(f"  rules that no workload needed to be so weak: {', '.join(found.unshown)}")
    hidden = [rule for rule in stronger(model_named(found.model)) if rule in UNSHOWABLE]
    lines += [f"  can't be shown on images: {rule} ({UNSHOWABLE[rule]})" for rule in hidden]
    return lines


def _miss_words(miss: Miss) -> list[str]:
    ops, nudges = miss.workload.trace.ops, miss.workload.nudges
    lines = [f"  the smallest workload found; its power was cut after operation {miss.point}:"]
    for op, nudge in zip(ops, nudges, strict=True):
        lines.append(f"    {op.seq + 1}. {operation_text(op)}" + (f"; then {nudge.kind.value}" if nudge else ""))
    return [*lines, "  what was found:", *(f"    {line}" for line in _tree_words(miss.tree))]


def _tree_words(tree: Tree) -> list[str]:
    lines = []
    for path, number in tree.paths():
        node = tree.nodes[number]
        size = f", {node.content.size} bytes" if node.type is NodeType.FILE else ""
        runs = _runs(bytes(node.content)) if node.type is NodeType.FILE else ""
        lines.append(f"{path}: {node.type.value} {node.mode:o}{size}{runs}")
    return lines or ["an empty folder"]


def _runs(data: bytes) -> str:
    """Which byte values stand where: each write of a workload has a value of its own."""
    runs: list[tuple[int, int]] = []
    for position, value in enumerate(data):
        if not runs or runs[-1][1] != value:
            runs.append((position, value))
    return "".join(f", {value:#04x} from {position}" for position, value in runs[:8])
