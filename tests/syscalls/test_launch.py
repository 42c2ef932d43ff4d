import ctypes
import errno
import os
import platform
from pathlib import Path

import pytest

import chaos.child.launch
import chaos.syscalls.probe
from chaos.child.launch import install_filter
from chaos.errors import NotMeasured
from chaos.syscalls.filter import ALLOW, Instruction, build_filter, encode
from chaos.syscalls.launch import architecture, launch
from chaos.syscalls.probe import probe
from chaos.trace.recorder import RecordOptions, record


def test_the_engine_works_here() -> None:
    report = probe()
    assert report.works, report
    assert report.why == ""
    assert platform.release() in report.details[0]


def in_a_recording(folder: Path, program: object) -> str:
    """What `program` returns when it is called in a recorded child."""
    reader, writer = os.pipe()

    def run() -> None:
        os.write(writer, str(program()).encode())  # type: ignore[operator]

    trace = record(run, folder, options=RecordOptions(sources=False))
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert trace.exit_code == 0
    return text


def test_a_nested_supervisor_is_told_why_it_can_not_be(tmp_path: Path) -> None:
    said = in_a_recording(tmp_path, lambda: probe().why)
    assert "another supervisor listens to this process already" in said


def test_a_nested_recording_is_not_measured(tmp_path: Path) -> None:
    def nested() -> str:
        with pytest.raises(NotMeasured, match="another supervisor") as caught:
            record(["true"], tmp_path)
        return str(caught.value.exit_code)

    assert in_a_recording(tmp_path, nested) == "3"


def test_a_sandbox_that_forbids_filters_is_named(tmp_path: Path) -> None:
    """The outer filter answers seccomp itself with EPERM, as a container's policy does."""

    def forbidden() -> str:
        known = architecture()
        number = known.numbers["seccomp"]
        # load the number; is it seccomp? then errno 1, else allow
        refuse = Instruction(0x06, 0, 0, 0x00050000 | errno.EPERM)
        load, compare = Instruction(0x20, 0, 0, 0), Instruction(0x15, 0, 1, number)
        install_plain(encode([load, compare, refuse, Instruction(0x06, 0, 0, ALLOW)]))
        return probe().why

    def install_plain(instructions: bytes) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        filter_ = chaos.child.launch._Program(len(instructions) // 8, instructions)
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        assert libc.prctl(22, 2, ctypes.byref(filter_)) == 0, ctypes.get_errno()

    child_reader, child_writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(child_writer, forbidden().encode())
        finally:
            os._exit(0)
    os.close(child_writer)
    os.waitpid(child, 0)
    with os.fdopen(child_reader) as file:
        assert "the system forbids it" in file.read()


def test_other_machines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(NotMeasured, match="riscv64"):
        launch(["true"])
    report = probe()
    assert not report.works
    assert "riscv64" in report.why


def test_memory_that_can_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("chaos.syscalls.processes.duplicate_descriptor", refuse)
    report = probe()
    assert not report.works
    assert "can't be looked into" in report.why


def test_a_filter_that_is_no_program_is_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        install_filter(b"\0" * 8, platform.machine())


def test_the_filter_covers_all_calls_of_the_table() -> None:
    known = architecture()
    assert encode(build_filter(known)) != encode(build_filter(known, ["write"]))
