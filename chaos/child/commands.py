"""Runs command lines one after the other in the watched folder, without a shell.

Standard library only; loaded where a target is a command, and nowhere else. The first command that
fails ends the run. Read `actors.py` next.
"""

import os
import select
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from chaos.child.isolated import CommandError
from chaos.child.values import LIMIT_BYTES

__all__ = ["expand", "run_commands"]

_CHUNK_BYTES = 1 << 16
_TAIL_BYTES = 2000
# Python ignores these; a program started from it expects them as the kernel delivers them.
_RESTORED_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


def expand(command: Sequence[str], folder: str) -> tuple[str, ...]:
    """A command's arguments with `{disk}` and `{python}` filled in."""
    return tuple(word.replace("{disk}", folder).replace("{python}", sys.executable) for word in command)


def run_commands(
    commands: Sequence[Sequence[str]],
    folder: str,
    env: Mapping[str, str],
    done: Callable[[int], None] | None = None,
) -> str:
    """Run the commands in `folder` and return what the last one printed.

    What the others print goes where this process's own output goes. The working directory of this process changes.

    Args:
        commands: argument lists; `{disk}` and `{python}` stand for the folder and this interpreter.
        folder: the working directory; also in `CHAOS_DISK`.
        env: set on top of this process's environment.
        done: called with a command's number, from 0, when it has ended with exit code 0.

    Raises:
        CommandError: a command failed, can't be started, or printed more than 16 MiB.
    """
    os.chdir(folder)
    environment = {**os.environ, **env, "CHAOS_DISK": folder}
    printed = b""
    for number, command in enumerate(commands):
        printed = _run(expand(command, folder), environment, keep=number == len(commands) - 1)
        if done is not None:
            done(number)
    return printed.decode("utf-8", "surrogateescape")


def _run(command: tuple[str, ...], environment: dict[str, str], *, keep: bool) -> bytes:
    reading, writing = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writing, 1)] if keep else []
        try:
            pid = os.posix_spawnp(command[0], command, environment, file_actions=actions, setsigdef=_RESTORED_SIGNALS)
        except OSError as error:
            raise CommandError(f"{command[0]} can't be started: {os.strerror(error.errno or 0)}", 127) from error
        os.close(writing)
        writing = -1
        printed = _read_until_exit(pid, reading)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if code:
        os.write(1, printed[-_TAIL_BYTES:])
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise CommandError(f"{shlex.join(command)[:300]} {ended}", code)
    return printed


def _read_until_exit(pid: int, reading: int) -> bytes:
    """Read until the process is gone; something that it left running may hold the pipe open for ever."""
    os.set_blocking(reading, False)
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(handle, select.POLLIN)
    printed = bytearray()
    ended = False
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if not ended and _drain(reading, printed):
                ended = True
                poll.unregister(reading)
            if len(printed) > LIMIT_BYTES:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise CommandError(f"printed more than {LIMIT_BYTES} bytes", 1)
            if handle in ready:
                return bytes(printed)
    finally:
        os.close(handle)


def _drain(reading: int, printed: bytearray) -> bool:
    """Read what is there; True at the end of the stream."""
    while len(printed) <= LIMIT_BYTES:
        try:
            chunk = os.read(reading, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            return True
        printed += chunk
    return False
