"""The process of the command `pytest-guardrails`, also as `python -m pytest_guardrails.cli`.

`hook run` stands in the way of every tool call of an agent, so it goes straight to its own room; all else loads the
command line proper. This is why imports are inside functions here.
"""

# ruff: noqa: PLC0415 - see above

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    _open_streams()
    try:
        if len(sys.argv) > 2 and sys.argv[1] in ("hook", "hooks") and sys.argv[2] == "run":
            _leave(_run_hook())
        from pytest_guardrails.cli.app import main as command

        command()
    except KeyboardInterrupt:  # while things are loaded; later ones are met where the work is
        sys.exit(130)


def _open_streams() -> None:
    """Where one of the three standard streams is closed, open it on nothing.

    Else the next file that is opened, such as a lock of the store, gets its number, and what is said goes into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # the lowest number that is free
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _run_hook() -> int:
    # Nothing here lives long enough to be collected.
    import gc

    gc.disable()
    from pytest_guardrails.reliability.breakers.hook_run import run_hook

    return run_hook(sys.argv[3:])


def _leave(code: int) -> None:
    """End without the interpreter's long farewell: all that must last is on the disk."""
    try:
        sys.stdout.flush()
    except OSError:
        code = code or 1
    os._exit(code)


if __name__ == "__main__":
    main()
