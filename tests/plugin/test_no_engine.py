"""Where the machine can't measure: the tests fail and say so, or are skipped where that was asked for."""

import pytest

from tests.plugin.running import PLAIN_PROGRAM, run

# What a sandbox does: seccomp(2) is forbidden from here on, by a filter of its own (seccomp(2), bpf in linux/filter.h).
SANDBOX = """\
import ctypes
import platform
import struct

NUMBER = {"x86_64": 317, "aarch64": 277}[platform.machine()]
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO_EPERM, ALLOW = 0x00050001, 0x7FFF0000
FILTER = b"".join(
    struct.pack("HBBI", *one)
    for one in ((LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, NUMBER), (RETURN, 0, 0, ERRNO_EPERM), (RETURN, 0, 0, ALLOW))
)


def pytest_configure():
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(FILTER, len(FILTER))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(FILTER) // 8, ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""
TEXT = (
    PLAIN_PROGRAM
    + """\
def worker(disk, witness):
    (disk / "state.json").touch()


def test_crash(crash):
    crash(workload=replace, recover=load)


def test_race(race):
    race(worker, worker)


def test_faults(faults):
    faults(workload=replace, recover=load, fault={"call": "write", "errno": "EIO"})


def test_child(faults, tmp_path):
    with faults.child(tmp_path, call="write", nth=1, errno="EIO") as child:
        child(print)


def test_nothing_written(crash):
    crash(workload=lambda disk, ack: None, recover=load)
"""
)


def test_tests_that_can_not_be_measured_fail_and_say_how_to_skip_them(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SANDBOX)
    printed = run(pytester, TEXT, "-k", "not nothing", passed=1, failed=3)
    assert printed.count("\n  or: --chaos-no-engine skip skips the tests that this machine can't measure\n") == 3
    assert "Python code alone, by the portable engine, in 1 test" in printed


def test_they_are_skipped_where_that_was_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SANDBOX)
    pytester.makeini("[pytest]\nchaos_no_engine = skip\n")
    printed = run(pytester, TEXT, "-rs", "-k", "not nothing", passed=1, skipped=3)
    assert "not measured on this machine: the syscall engine can't be used here: " in printed


def test_what_can_be_measured_is_never_skipped(pytester: pytest.Pytester) -> None:
    printed = run(pytester, TEXT, "--chaos-no-engine", "skip", "-k", "nothing", failed=1)
    assert "--chaos-no-engine" not in printed.partition("FAILURES")[2]


def test_another_word_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SANDBOX)
    printed = run(pytester, TEXT, "--chaos-no-engine", "ignore", "-k", "race", failed=1)
    assert '--chaos-no-engine: expected one of fail, skip, got "ignore"' in printed
