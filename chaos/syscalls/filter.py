"""The seccomp filter as data: a pure function from a table of calls to a BPF program.

The program looks at the architecture, then at the call's number, then, where `tables.RULES` has one, at an argument.
A call that belongs to another architecture or calling convention than the supervisor reads is trapped whatever it
is, so that it can be reported. Nothing here talks to the kernel. Read `supervisor.py` next.

A BPF instruction is `(code, jump if true, jump if false, constant)`; jumps count instructions to skip, at most 255.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, final

from chaos.syscalls.tables import READING_RULES, READS, RULES, Architecture, Rule

__all__ = ["ALLOW", "NOTIFY", "Instruction", "build_filter", "encode", "reading_filter"]

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
NOTIFY = 0x7FC00000  # SECCOMP_RET_USER_NOTIF

_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; both architectures are little-endian


@final
class Instruction(NamedTuple):
    """One BPF instruction."""

    code: int
    if_true: int
    if_false: int
    constant: int


def build_filter(
    architecture: Architecture, names: Iterable[str] | None = None, rules: Mapping[str, Rule] = RULES
) -> tuple[Instruction, ...]:
    """The filter for one architecture.

    Args:
        architecture: whose numbers to use.
        names: the calls to trap; all of the architecture's table when None. Unknown names are left out.
        rules: the argument tests.
    """
    numbers = architecture.numbers
    chosen = [name for name in (numbers if names is None else names) if name in numbers]
    program = [
        Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        Instruction(_RETURN, 0, 0, NOTIFY),
        Instruction(_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.foreign_from is not None:
        program.append(Instruction(_JUMP_GREATER_EQUAL, 0, 1, architecture.foreign_from))
        program.append(Instruction(_RETURN, 0, 0, NOTIFY))
    for name in chosen:
        program.extend(_test(numbers[name], rules.get(name)))
    program.append(Instruction(_RETURN, 0, 0, ALLOW))
    return tuple(program)


def reading_filter(architecture: Architecture) -> tuple[Instruction, ...]:
    """The filter that traps reads and all opens as well."""
    numbers = {**architecture.numbers, **READS[architecture.name]}
    return build_filter(replace(architecture, numbers=numbers), rules=READING_RULES)


def encode(program: Iterable[Instruction]) -> bytes:
    """The program as the kernel's array of `struct sock_filter`."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _test(number: int, rule: Rule | None) -> list[Instruction]:
    """Instructions that return a verdict when the call's number is `number`, and fall through otherwise."""
    if rule is None:
        return [Instruction(_JUMP_EQUAL, 0, 1, number), Instruction(_RETURN, 0, 0, NOTIFY)]
    hit, miss = (ALLOW, NOTIFY) if rule.inverted else (NOTIFY, ALLOW)
    count = len(rule.values)
    body = [
        Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * rule.argument),
        Instruction(_AND, 0, 0, rule.mask),
        *(Instruction(_JUMP_EQUAL, count - index, 0, value) for index, value in enumerate(rule.values)),
        Instruction(_RETURN, 0, 0, miss),
        Instruction(_RETURN, 0, 0, hit),
    ]
    return [Instruction(_JUMP_EQUAL, 0, len(body), number), *body]
