"""The child's side of `ChildStep`: `python -m ... package.module:function FD PARENT`, context on stdin, answer to FD.

It asks the kernel to be killed with its parent, so that no step goes on without an owner. Read `child_step.py` for the
other side.
"""

import ctypes
import importlib
import os
import signal
import sys
from dataclasses import fields
from typing import Any

from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.loops.stepping import DependencyError, StepResult

__all__ = ["main"]

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main(arguments: list[str]) -> int:
    """Run the step.

    Args:
        arguments: reference, descriptor of the answer, number of the parent process.
    """
    reference, descriptor, parent = arguments[0], int(arguments[1]), int(arguments[2])
    os.set_inheritable(descriptor, False)
    _die_with(parent)
    context = finite_json.loads(sys.stdin.buffer.read())
    answer = finite_json.dumps(_answer(reference, context)).encode()
    with os.fdopen(descriptor, "wb") as file:
        file.write(answer)
    return 0


def _answer(reference: str, context: dict[str, Any]) -> dict[str, Any]:
    try:
        module, _, name = reference.partition(":")
        step = importlib.import_module(module)
        for part in name.split("."):
            step = getattr(step, part)
        said = step(context)  # type: ignore[operator]
        result = said if isinstance(said, StepResult) else StepResult(value=said)
        plain = {entry.name: getattr(result, entry.name) for entry in fields(result) if entry.name != "usage"}
        plain["kind"] = result.kind.value
        finite_json.check(plain)
    except Exception as error:  # noqa: BLE001 - the edge of a process: it is sent to the parent
        message = finite_json.printable(f"{type(error).__name__}: {error}")
        return {"error": message, "dependency": isinstance(error, DependencyError)}
    return plain


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be asked
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
