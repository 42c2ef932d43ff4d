"""What recording adds to a trapped call, beside the same program untraced and under strace with the same detail.

The program saves a small file over and over: open, write, fsync, rename. It takes its own time, so starting it does
not count. strace reads paths and full strings (`-y -s`), follows forks and filters by seccomp, as we do. The peers'
times come from the same interleaved rounds on one tmpfs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from chaos.trace.recorder import RecordOptions, record
from tests.benchmarks.figures import Figure, interleave, spread

CALLS_PER_SAVE = 4
TRACED = "write,pwrite64,writev,openat,rename,renameat,renameat2,fsync,fdatasync,ftruncate,unlink,mkdir"
AIM_US = 35.0
PROGRAM = """
import os, sys, time
folder, saves, report = sys.argv[1], int(sys.argv[2]), sys.argv[3]
data, temporary, kept = b"x" * 1000, folder + "/t", folder + "/f"
def save():
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(temporary, kept)
for _ in range(20):
    save()
start = time.perf_counter()
for _ in range(saves):
    save()
taken = time.perf_counter() - start
open(report, "w").write(str(taken))
"""


def measure(quick: bool) -> list[Figure]:
    """Microseconds added to each trapped call."""
    saves, rounds = (200, 3) if quick else (2000, 7)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        contestants = _contestants(Path(scratch), saves)
        samples = interleave(contestants, rounds)
    plain = samples.pop("untraced")
    figures = [_figure("untraced", plain, {})]
    base = spread(plain)[0]
    added = {name: [sample - base for sample in found] for name, found in samples.items()}
    peer = spread(added["strace"])[0] if "strace" in added else 0.0
    for name, found in added.items():
        ratios = {"strace": spread(found)[0] / peer} if peer and name != "strace" else {}
        figures.append(_figure(f"added by {name}", found, ratios))
    return figures


def _contestants(scratch: Path, saves: int) -> dict[str, Callable[[], float]]:
    folder, report, program = scratch / "disk", scratch / "report", scratch / "program.py"
    folder.mkdir()
    program.write_text(PROGRAM)
    command = [sys.executable, "-S", str(program), str(folder), str(saves), str(report)]

    def result() -> float:
        return float(report.read_text()) / saves / CALLS_PER_SAVE * 1e6

    def untraced() -> float:
        subprocess.run(command, check=True)
        return result()

    def recording(sources: bool) -> Callable[[], float]:
        def run() -> float:
            whole = [command[0], *command[2:]]
            trace = record(whole, folder, options=RecordOptions(sources=sources))
            assert trace.exit_code == 0
            assert len(trace.ops) >= saves * CALLS_PER_SAVE
            assert not sources or trace.ops[-1].source
            return result()

        return run

    def strace() -> float:
        options = ["-f", "--seccomp-bpf", "-y", "-s", "100000", "-e", f"trace={TRACED}", "-o", str(scratch / "log")]
        subprocess.run(["strace", *options, *command], check=True)
        return result()

    found = {"untraced": untraced, "recording": recording(False), "recording with source lines": recording(True)}
    if shutil.which("strace"):
        found["strace"] = strace
    return found


def _figure(name: str, samples: list[float], ratios: dict[str, float]) -> Figure:
    middle, low, high = spread(samples)
    ours = name.startswith("added by recording")
    fits = middle <= AIM_US and ratios.get("strace", 0.0) <= 1 / 3
    return Figure(
        name=name,
        unit="us/call",
        value=middle,
        low=low,
        high=high,
        aim=f"at most {AIM_US:g} us, and a third of strace's" if ours else "",
        holds=fits if ours else None,
        ratios=ratios,
    )
