"""Who stands still for good, as /proc tells."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from chaos.race.standing import is_locked, rests

FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
BEGIN = "import os, select, signal, sys, threading, time\n"
PATIENCE_S = 30.0


@contextmanager
def resting(text: str) -> Iterator[int]:
    """A program that has come to rest after it printed a line."""
    program = subprocess.Popen(
        [sys.executable, "-c", BEGIN + text], stdout=subprocess.PIPE, stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline()
        give_up = monotonic() + PATIENCE_S
        while not rests(program.pid) and monotonic() < give_up:
            select.select([], [], [], 0.01)
        yield program.pid
    finally:
        os.killpg(program.pid, 9)  # with the children that it has
        program.communicate()


SAY = "print('here', flush=True)\n"
LOCK = "lock = threading.Lock()\nlock.acquire()\n"


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        (LOCK + SAY + "lock.acquire()", True),
        (LOCK + "threading.Thread(target=lock.acquire).start()\n" + SAY + "lock.acquire()", True),
        (LOCK + "os.fork()\n" + SAY + "lock.acquire()", True),
        (LOCK + SAY + "lock.acquire(timeout=1000)", False),
        (SAY + "sys.stdin.read()", False),
        (LOCK + "threading.Thread(target=sys.stdin.read).start()\n" + SAY + "lock.acquire()", False),
        (LOCK + "os.fork() or sys.stdin.read()\n" + SAY + "lock.acquire()", False),
        (LOCK + "signal.signal(signal.SIGALRM, print)\n" + SAY + "lock.acquire()", False),
    ],
)
def test_locked_is_who_waits_without_limit_for_threads_that_do_so_too(text: str, locked: bool) -> None:
    with resting(text) as pid:
        give_up = monotonic() + PATIENCE_S
        while locked and not is_locked(pid, FUTEX) and monotonic() < give_up:
            select.select([], [], [], 0.01)
        assert is_locked(pid, FUTEX) == locked


def test_who_is_gone_holds_up_nobody() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert is_locked(pid, FUTEX)
    os.waitpid(pid, 0)
