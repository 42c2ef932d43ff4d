"""Saving and loading a checkpoint of 1 kB and 30 kB, beside temporary file, fsync, replace, fsync of the folder."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_guardrails.reliability.state import Checkpoint, Checkpoints, open_store
from tests.benchmarks.figures import Figure, interleave, spread

__all__ = ["measure"]

OURS, PEER = "Checkpoints", "raw file"


def payload(size_bytes: int) -> dict[str, Any]:
    """Text, numbers and lists, about this large as JSON."""
    step = {"step": 1, "status": "retry", "score": 0.5, "files": ["a.py", "b.py"], "feedback": "x" * 120}
    return {"steps": [step] * max(1, size_bytes // len(json.dumps(step)))}


def measure(quick: bool) -> list[Figure]:
    """Milliseconds a save, microseconds a load."""
    figures = []
    for size_bytes in (1000, 30_000):
        with tempfile.TemporaryDirectory() as scratch:
            figures += _size(Path(scratch), size_bytes, quick)
    return figures


def _size(folder: Path, size_bytes: int, quick: bool) -> list[Figure]:
    saves, rounds = (20, 3) if quick else (60, 9)
    store = open_store(folder / "store")
    checkpoints = Checkpoints(store)
    body = payload(size_bytes)

    def ours(number: int) -> None:
        checkpoints.save(Checkpoint(run_id="run", iteration_index=number, payload=body), allow_rewind=True)

    def raw(number: int) -> None:
        with (folder / "raw.tmp").open("w") as file:
            json.dump({"run_id": "run", "iteration_index": number, "payload": body}, file)
            file.flush()
            os.fsync(file.fileno())
        (folder / "raw.tmp").replace(folder / "raw")
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def load_ours(_number: int) -> None:
        store.clear_cache()
        assert checkpoints.load("run") is not None

    def load_raw(_number: int) -> None:
        assert json.loads((folder / "raw").read_bytes())

    def sample(act: Callable[[int], None], scale: float) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            for number in range(saves):
                act(number)
            return (time.perf_counter() - began) / saves * scale

        return run

    saved = interleave({OURS: sample(ours, 1e3), PEER: sample(raw, 1e3)}, rounds)
    loaded = interleave({OURS: sample(load_ours, 1e6), PEER: sample(load_raw, 1e6)}, rounds)
    store.close()
    kilobytes = size_bytes // 1000
    return [*_figures(saved, f"save of {kilobytes} kB", "ms"), *_figures(loaded, f"load of {kilobytes} kB", "us")]


def _figures(samples: dict[str, list[float]], what: str, unit: str) -> list[Figure]:
    base = spread(samples[PEER])[0]
    figures = []
    for name, found in samples.items():
        median, low, high = spread(found)
        judged = name == OURS and what.startswith("save")
        figures.append(
            Figure(
                name=f"{what}: {name}",
                unit=unit,
                value=median,
                low=low,
                high=high,
                aim="within 1.2 x the raw pattern" if judged else "",
                holds=median <= 1.2 * base if judged else None,
                ratios={PEER: median / base} if name == OURS else {},
            )
        )
    return figures
