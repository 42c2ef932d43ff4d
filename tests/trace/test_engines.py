"""Both engines pass one suite."""

from pathlib import Path

import pytest

from chaos.syscalls.probe import probe
from chaos.trace import portable, recorder
from chaos.trace.model import Trace
from chaos.trace.options import Program, RecordOptions
from tests.trace.engine_conformance import Conformance


class TestPortable(Conformance):
    def record(self, program: Program, folder: Path, options: RecordOptions) -> Trace:
        trace = portable.record(program, folder, options=options)
        assert trace.engine == "portable"
        return trace


@pytest.mark.skipif(not probe().works, reason=probe().why)
class TestSyscalls(Conformance):
    def record(self, program: Program, folder: Path, options: RecordOptions) -> Trace:
        trace = recorder.record(program, folder, options=options)
        assert trace.engine == "syscalls"
        return trace
