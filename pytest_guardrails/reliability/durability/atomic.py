"""Stand-in, never committed: the durable branch brings the real one."""

import os
from pathlib import Path

__all__ = ["write_atomic"]


def write_atomic(path: Path, data: bytes, *, durability: str = "power") -> None:
    """Replace a file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        if durability == "power":
            os.fsync(file.fileno())
    temporary.replace(path)
