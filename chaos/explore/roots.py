"""The folder of one exploration, race, fleet or recording, and a heir that removes it if this process can't.

A harness that is killed, or a pytest that SIGTERM ends, runs no clean-up. So each folder has a heir: a shell that waits
for a word over a pipe. It gets one once the folder is removed, and goes; it gets the pipe's end when this process and
its forks are gone, and then removes the folder. Read `places.py` for folders that nobody is left to remove.
"""

import os
import subprocess
from contextlib import suppress
from typing import IO, cast

from chaos.explore.places import base_folder, make_folder, remove

__all__ = ["make_root", "remove_root"]

# Processes that die may still write for a moment, hence more than one attempt.
_PROGRAM = """\
read word && exit
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  chmod -R u+rwX "$0"; rm -rf "$0" && exit
  sleep 0.2
done
"""
_SHELL = "/bin/sh"
_heirs: dict[str, "subprocess.Popen[bytes]"] = {}  # by folder


def make_root(base: str | None = None) -> str:
    """Make a folder of this process, and remove those of processes that are gone.

    Args:
        base: the folder to make it in; None = one in memory where the system allows it.

    Raises:
        HarnessFault: it can't be made.
    """
    root = make_folder(base or base_folder())
    with suppress(OSError):  # without a heir a folder that stays is removed by the next exploration
        _heirs[root] = subprocess.Popen(
            [_SHELL, "-c", _PROGRAM, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            start_new_session=True,  # what ends this process with its whole group must not end the heir
        )
    return root


def remove_root(root: str) -> None:
    """Remove a folder that `make_root` made, and send its heir away."""
    heir = _heirs.pop(root, None)
    try:
        remove(root)
    finally:
        if heir is not None:
            _send_away(heir)


def _send_away(heir: "subprocess.Popen[bytes]") -> None:
    pipe = cast("IO[bytes]", heir.stdin)
    with suppress(OSError):  # somebody killed it
        pipe.write(b"\n")
        pipe.flush()
    with suppress(OSError):
        pipe.close()
    heir.wait()
