"""A sync that fails once: the program is told, the next one succeeds, and the trace knows."""

import os
from collections.abc import Callable
from errno import EIO
from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.faults.syncs import FailingSync
from chaos.trace.model import Kind
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import proven

QUICK = RecordOptions(sources=False, deadline_s=10)


def saver(folder: Path) -> Callable[[], None]:
    def save() -> None:
        with (folder / "f").open("wb", buffering=0) as file:
            file.write(b"data")
            failed = [number for number in (sync(file.fileno()) for _ in range(3)) if number]
        (folder / "told").write_text(str(failed))

    return save


def sync(descriptor: int) -> int | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("nth", [1, 3])
def test_the_nth_sync_fails_and_no_other(tmp_path: Path, nth: int) -> None:
    policy = FailingSync(nth)
    trace = proven(saver(tmp_path), tmp_path, options=QUICK, policy=policy)
    assert [op.errno for op in trace.ops if op.kind is Kind.FSYNC] == [EIO * (n == nth) for n in (1, 2, 3)]
    assert (tmp_path / "told").read_text() == str([EIO])
    assert policy.fired is not None


def test_where_there_are_fewer_syncs_none_fails(tmp_path: Path) -> None:
    policy = FailingSync(4)
    trace = proven(saver(tmp_path), tmp_path, options=QUICK, policy=policy)
    assert policy.fired is None
    assert not any(op.errno for op in trace.ops)


def test_syncs_are_counted_from_one() -> None:
    with pytest.raises(UsageError, match="counted from 1"):
        FailingSync(0)
