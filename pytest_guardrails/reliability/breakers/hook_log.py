"""One line a run in the configured log file. Lean: the `logging` module costs more than a hook's whole bookkeeping."""

import os
from contextlib import suppress
from datetime import datetime

from pytest_guardrails.reliability.breakers.config import Config

__all__ = ["log_line"]

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def log_line(config: Config, level: str, message: str, wall_s: float) -> None:
    """Append a line; nothing happens without a file, below the configured level, or when it can't be written."""
    path = config.log_file
    if path is None or _LEVELS[level] < _LEVELS[config.value("logging.level")]:
        return
    fields = {
        "asctime": datetime.fromtimestamp(wall_s).isoformat(" ", "milliseconds"),
        "levelname": level,
        "message": message.replace("\n", "\\n"),
        "name": "guardrails.hooks",
        "process": os.getpid(),
    }
    line = (config.value("logging.format") % fields + "\n").encode("utf-8", "backslashreplace")
    with suppress(OSError):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
