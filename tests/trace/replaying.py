"""Record, then hold the trace against the folder: each recorder test proves its trace as well."""

import os
from pathlib import Path

from chaos.disk import prove
from chaos.syscalls.calls import Policy
from chaos.trace.model import Kind, Op, Trace
from chaos.trace.recorder import Program, RecordOptions, record


def proven(
    program: Program, folder: Path, *, options: RecordOptions | None = None, policy: Policy | None = None
) -> Trace:
    """Record, and prove that replaying gives the folder as it is."""
    trace = record(program, folder, options=options or RecordOptions(sources=False), policy=policy)
    prove(trace, os.fspath(folder))
    return trace


def measured(program: Program, folder: Path, *, options: RecordOptions | None = None) -> Trace:
    """Likewise, for a program that must succeed and be followed completely."""
    trace = proven(program, folder, options=options)
    assert trace.exit_code == 0
    assert not trace.unmeasured
    return trace


def kinds(trace: Trace) -> list[str]:
    return [op.kind.value for op in trace.ops]


def writes(trace: Trace, path: str | None = None) -> list[tuple[int, bytes]]:
    return [(op.offset, op.data) for op in trace.ops if op.kind is Kind.WRITE and path in (None, op.path)]


def only(trace: Trace, kind: Kind) -> Op:
    found = [op for op in trace.ops if op.kind is kind]
    assert len(found) == 1, found
    return found[0]
