"""The BPF program, run by a small interpreter of its own for both architectures."""

import os
import re
import struct
from pathlib import Path

import pytest

from chaos.syscalls.filter import ALLOW, NOTIFY, Instruction, build_filter, encode
from chaos.syscalls.tables import ARCHITECTURES, RULES, Architecture

BOTH = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
GETPID = {"x86_64": 39, "aarch64": 172}


def interpret(program: tuple[Instruction, ...], number: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    data = struct.pack("=iIQ6Q", number, audit, 0, *arguments, *(0,) * (6 - len(arguments)))
    accumulator = position = 0
    while True:
        code, if_true, if_false, constant = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code in {0x15, 0x35}:
            hit = accumulator == constant if code == 0x15 else accumulator >= constant
            position += if_true if hit else if_false
        else:
            assert code == 0x06
            return constant


def verdict(architecture: Architecture, name: str, *arguments: int) -> int:
    return interpret(build_filter(architecture), architecture.numbers[name], architecture.audit, arguments)


@BOTH
def test_every_call_without_a_rule_is_trapped_and_others_are_not(architecture: Architecture) -> None:
    program = build_filter(architecture)
    trapped = {number for number in range(600) if interpret(program, number, architecture.audit) == NOTIFY}
    unconditional = {number for name, number in architecture.numbers.items() if name not in RULES}
    always_at_zero = {architecture.numbers[name] for name in ("mknod", "mknodat") if name in architecture.numbers}
    assert trapped == unconditional | always_at_zero
    assert interpret(program, GETPID[architecture.name], architecture.audit) == ALLOW


@BOTH
def test_another_architectures_calls_are_trapped_whatever_they_are(architecture: Architecture) -> None:
    assert interpret(build_filter(architecture), GETPID[architecture.name], 0x40000003) == NOTIFY


def test_the_x32_convention_is_trapped() -> None:
    architecture = ARCHITECTURES["x86_64"]
    assert interpret(build_filter(architecture), 0x40000000 | 39, architecture.audit) == NOTIFY
    assert interpret(build_filter(architecture), 0x3FFFFFFF, architecture.audit) == ALLOW


@BOTH
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (os.O_RDONLY, ALLOW),
        (os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, ALLOW),
        (os.O_RDONLY | os.O_DIRECTORY, ALLOW),
        (os.O_WRONLY | os.O_CREAT, NOTIFY),
        (os.O_RDONLY | os.O_TRUNC, NOTIFY),
        (0o20000000 | os.O_RDWR, NOTIFY),
        ((1 << 40) | os.O_RDONLY, ALLOW),
    ],
)
def test_only_opens_that_change_something_are_trapped(architecture: Architecture, flags: int, expected: int) -> None:
    assert verdict(architecture, "openat", 3, 0x1234, flags) == expected
    if "open" in architecture.numbers:
        assert verdict(architecture, "open", 0x1234, flags) == expected


@BOTH
@pytest.mark.parametrize(
    ("flags", "expected"), [(0x01, NOTIFY), (0x03, NOTIFY), (0x02, ALLOW), (0x21, ALLOW), (0x22, ALLOW)]
)
def test_only_shared_mappings_of_files_are_trapped(architecture: Architecture, flags: int, expected: int) -> None:
    assert verdict(architecture, "mmap", 0, 4096, 3, flags, 5, 0) == expected


@BOTH
def test_other_argument_rules(architecture: Architecture) -> None:
    assert verdict(architecture, "ioctl", 1, 0x40049409) == NOTIFY
    assert verdict(architecture, "ioctl", 1, 0x4020940D) == NOTIFY
    assert verdict(architecture, "ioctl", 1, 0x5401) == ALLOW
    assert verdict(architecture, "mknodat", 3, 0, 0o100644) == NOTIFY
    assert verdict(architecture, "mknodat", 3, 0, 0o010644) == ALLOW
    assert verdict(architecture, "prlimit64", 0, 1) == NOTIFY
    assert verdict(architecture, "prlimit64", 0, 7) == ALLOW
    assert verdict(architecture, "clone", 0x20000 | 17) == NOTIFY
    assert verdict(architecture, "clone", 17) == ALLOW
    assert verdict(architecture, "seccomp", 1, 8) == NOTIFY
    assert verdict(architecture, "seccomp", 1, 0) == ALLOW
    assert verdict(architecture, "open_by_handle_at", 3, 0, os.O_TRUNC) == NOTIFY


@BOTH
def test_a_selection_of_calls_and_the_kernels_limits(architecture: Architecture) -> None:
    program = build_filter(architecture, ["write", "no_such_call"])
    assert interpret(program, architecture.numbers["write"], architecture.audit) == NOTIFY
    assert interpret(program, architecture.numbers["fsync"], architecture.audit) == ALLOW
    whole = build_filter(architecture)
    assert len(whole) <= 4096
    assert all(instruction.if_true <= 255 and instruction.if_false <= 255 for instruction in whole)
    assert len(encode(whole)) == 8 * len(whole)


@BOTH
def test_the_tables_name_each_number_once(architecture: Architecture) -> None:
    assert len(set(architecture.numbers.values())) == len(architecture.numbers)
    assert set(RULES) <= set(ARCHITECTURES["x86_64"].numbers)


def test_the_tables_agree_with_the_kernels_headers() -> None:
    """Where the headers of both are installed, each number is looked up in them."""
    headers = {
        "x86_64": [*Path("/usr/include").glob("**/asm/unistd_64.h")],
        "aarch64": [*Path("/usr/include").glob("asm-generic/unistd.h")],
    }
    if not any(headers.values()):
        pytest.skip("no kernel headers here")
    for name, files in headers.items():
        for file in files[:1]:
            text = file.read_text()
            known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
            numbers = ARCHITECTURES[name].numbers
            common = known.keys() & numbers.keys()
            assert {call: numbers[call] for call in common} == {call: int(known[call]) for call in common}
            assert len(common) > 40
