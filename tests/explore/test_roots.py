"""The folder of an exploration is gone when its process is, however that ended, and so is everyone who saw to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from chaos.explore.roots import make_root, remove_root

_GIVE_UP_S = 30.0
_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """\
import os, sys
from chaos.explore.roots import make_root
root = make_root(sys.argv[1])
os.makedirs(os.path.join(root, "disk", "closed"))
open(os.path.join(root, "disk", "closed", "file"), "w").close()
os.chmod(os.path.join(root, "disk", "closed"), 0o500)
print(root, flush=True)
sys.stdin.read()
"""


def _keepers(root: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if root in (process.info["cmdline"] or ())]


def _keeper(root: str) -> int:
    """The one heir, once it has its name: the kernel gives a program that after `Popen` has returned."""
    _wait(lambda: bool(_keepers(root)))
    (keeper,) = _keepers(root)
    return keeper


def _wait(condition: Callable[[], bool]) -> None:
    give_up = monotonic() + _GIVE_UP_S
    while not condition():
        assert monotonic() < give_up
        sleep(0.01)


def _ended(process: "subprocess.Popen[str]", number: int) -> None:
    process.send_signal(number)
    process.wait(_GIVE_UP_S)


def _ended_with_its_group(process: "subprocess.Popen[str]", number: int) -> None:
    os.killpg(process.pid, number)
    process.wait(_GIVE_UP_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("end", [_ended, _ended_with_its_group])
def test_a_process_that_is_killed_leaves_no_folder(
    end: Callable[["subprocess.Popen[str]", int], None], number: int, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],  # where no other exploration removes what is left
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        root = process.stdout.readline().strip()
        assert os.path.isdir(root)
        end(process, number)
    _wait(lambda: not os.path.exists(root) and not _keepers(root))


def test_a_folder_that_is_removed_leaves_nobody() -> None:
    before = psutil.Process().children()
    root = make_root()
    assert _keeper(root)
    remove_root(root)
    assert not os.path.exists(root)
    assert not _keepers(root)
    assert psutil.Process().children() == before


def test_a_folder_whose_heir_was_killed_is_removed_all_the_same() -> None:
    root = make_root()
    os.kill(_keeper(root), signal.SIGKILL)
    remove_root(root)
    assert not os.path.exists(root)
