"""Runs one of the README's two commands, exactly as it stands there, on a fresh copy of this checkout.

Usage: readme.py run|test. The copy is made of what git tracks and lives in a temporary folder, so the command finds
no virtual environment, no cache and no leftovers: what works here works on a fresh machine.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(which: str) -> str:
    """The shell command behind the marker `<!-- command: WHICH -->` in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- command: {which} -->\n```sh\n(.+?)\n```", text, re.DOTALL)
    if not found:
        raise SystemExit(f"README.md: no command marked {which!r}")
    return found.group(1)


def main() -> int:
    line = command(sys.argv[1])
    print("+", line, flush=True)
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        archive = subprocess.run(
            ["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=tracked, capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        return subprocess.run(["bash", "-c", line], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
