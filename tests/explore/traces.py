"""Small traces made by hand, as a recording would give them: a file overwritten in place, and one replaced."""

import dataclasses
import json

from chaos.trace.model import Ack, InitialNode, Kind, NodeType, Op, Trace

STATE = "state.json"


def text(number: int) -> bytes:
    return json.dumps({"count": number, "log": "x" * 20}).encode()


def overwrite(steps: int = 2) -> Trace:
    """`json.dump` over the old file, acknowledged after each step."""
    ops: list[Op] = []
    acks = []
    for number in range(1, steps + 1):
        ops.append(Op(seq=len(ops), kind=Kind.TRUNCATE, call="openat", node=1, path=STATE))
        ops.append(Op(seq=len(ops), kind=Kind.WRITE, call="write", node=1, path=STATE, data=text(number)))
        acks.append(Ack(after=len(ops), process=0, value=str(number)))
    return _trace(ops, acks)


def replace(steps: int = 2) -> Trace:
    """A temporary file renamed over the old one, acknowledged after each step."""
    ops: list[Op] = []
    acks = []
    for number in range(1, steps + 1):
        node, at = number + 1, len(ops)
        tmp = Op(seq=at, kind=Kind.CREATE, call="openat", node=node, mode=0o644, path="tmp", parent=0, name="tmp")
        ops.append(tmp)
        ops.append(Op(seq=at + 1, kind=Kind.WRITE, call="write", node=node, path="tmp", data=text(number)))
        renamed = dataclasses.replace(tmp, seq=at + 2, kind=Kind.RENAME, call="rename", mode=0, victim=number)
        ops.append(dataclasses.replace(renamed, to_parent=0, to_name=STATE, to_path=STATE))
        acks.append(Ack(after=len(ops), process=0, value=str(number)))
    return _trace(ops, acks)


def _trace(ops: list[Op], acks: list[Ack]) -> Trace:
    return Trace(
        engine="syscalls",
        command="by hand",
        initial=(
            InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755),
            InitialNode(node=1, type=NodeType.FILE, mode=0o644, data=text(0), names=((0, STATE),)),
        ),
        ops=tuple(ops),
        acks=tuple(acks),
    )
