"""Where a recorded target runs: beside its supervisor while it is alone, anywhere once it is not."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chaos.child import processor
from chaos.child.ack import ack
from chaos.child.processor import own_processor
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import proven

QUICK = RecordOptions(sources=False, deadline_s=30)
ALL = os.sched_getaffinity(0)

pytestmark = pytest.mark.skipif(len(ALL) < 2, reason="there is one processor only")


@pytest.fixture(autouse=True)
def claims_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CLAIM", f"chaos-test-{os.getpid()}")  # other tests record as well


def seen(folder: Path) -> None:
    (folder / "f").write_bytes(b"x")
    ack(len(os.sched_getaffinity(0)))


def test_a_target_of_one_thread_shares_the_supervisors_processor(tmp_path: Path) -> None:
    trace = proven(lambda: seen(tmp_path), tmp_path, options=QUICK)
    assert [one.value for one in trace.acks] == ["1"]
    assert os.sched_getaffinity(0) == ALL


def test_a_second_thread_sets_all_free(tmp_path: Path) -> None:
    def program() -> None:
        seen(tmp_path)
        thread = threading.Thread(target=seen, args=(tmp_path,))
        thread.start()
        thread.join()
        seen(tmp_path)

    trace = proven(program, tmp_path, options=QUICK)
    assert [one.value for one in trace.acks] == ["1", str(len(ALL)), str(len(ALL))]


def test_a_second_process_sets_all_free(tmp_path: Path) -> None:
    def program() -> None:
        seen(tmp_path)
        script = f"open({str(tmp_path / 'g')!r}, 'w'); import os; print(len(os.sched_getaffinity(0)))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        ack(int(done.stdout))
        seen(tmp_path)

    trace = proven(program, tmp_path, options=QUICK)
    assert [one.value for one in trace.acks] == ["1", str(len(ALL)), str(len(ALL))]


def test_a_thread_that_makes_no_call_is_noticed(tmp_path: Path) -> None:
    def program() -> None:
        seen(tmp_path)
        hold = threading.Event()
        thread = threading.Thread(target=hold.wait)
        thread.start()
        for _ in range(300):
            os.unlink(tmp_path / "f")
            (tmp_path / "f").write_bytes(b"x")
        seen(tmp_path)
        hold.set()

    trace = proven(program, tmp_path, options=QUICK)
    assert [one.value for one in trace.acks] == ["1", str(len(ALL))]


def test_recordings_side_by_side_do_not_share_a_processor(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "f").write_bytes(b"x")
        ack(sorted(os.sched_getaffinity(0)))

    with own_processor() as mine:
        os.sched_setaffinity(0, ALL)
        (one,) = proven(program, tmp_path, options=QUICK).acks
    assert one.value == f"[{min(ALL - {mine})}]"
