import os
from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.faults.disk import FailAt, FailPolicy
from chaos.trace.recorder import RecordOptions, record

QUICK = RecordOptions(sources=False, deadline_s=10)


@pytest.mark.parametrize(("for_good", "left"), [(False, ["b", "c"]), (True, [])])
def test_the_nth_call_is_refused_alone_or_all_after_it(tmp_path: Path, for_good: bool, left: list[str]) -> None:
    def write_three() -> None:
        for name in "abc":
            descriptor = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)
            try:
                os.write(descriptor, b"x")
            except OSError as error:
                errors.append(error.errno)
                os.unlink(tmp_path / name)
            os.close(descriptor)
        assert set(errors) == {ENOSPC}

    errors: list[int | None] = []
    policy = FailPolicy(FailAt(nth=1, errno=ENOSPC, for_good=for_good, calls=frozenset({"write"})))
    assert record(write_three, tmp_path, options=QUICK, policy=policy).exit_code == 0
    assert sorted(os.listdir(tmp_path)) == left
    assert len(policy.refused) == (3 if for_good else 1)


def test_a_path_chooses_among_calls(tmp_path: Path) -> None:
    def sync_two() -> None:
        for name in ("a", "b"):
            descriptor = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)
            try:
                os.fsync(descriptor)
            except OSError:
                os.unlink(tmp_path / name)

    policy = FailPolicy(FailAt(nth=1, errno=EIO, calls=frozenset({"fsync"}), path="b"))
    assert record(sync_two, tmp_path, options=QUICK, policy=policy).exit_code == 0
    assert os.listdir(tmp_path) == ["a"]
    assert [call.path for call in policy.refused] == ["b"]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="counts from 1"):
        FailAt(nth=0, errno=EIO)
    with pytest.raises(UsageError, match="no error number"):
        FailAt(nth=1, errno=0)
