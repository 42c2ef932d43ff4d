"""The process of the command `chaos` (and of `guardrails-chaos`, as other projects use the short name, too).

Ctrl-C means a quiet end with exit code 130 from the first moment on, before the command itself has been imported.
"""

import os
import signal
from types import FrameType

from chaos.errors import EXIT_INTERRUPTED


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    signal.signal(signal.SIGINT, _leave)
    from chaos.cli import main as command  # noqa: PLC0415 - only now, see above

    command()


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
