"""Durable updates a second, one process and four, at 10 to 10,000 keys, beside plain SQLite and other stores.

All contestants of a size are filled, then take turns in the same round on the same disk; an update counts when its
call returned, and each is then on the disk, but for sqlitedict, which switches SQLite's syncing off and cannot be told
otherwise. Four processes read, modify and write one key that they share: its final value says whether an update was
lost.

SQLite's log grows during its first thousand pages and is written over from then on, which is cheaper for the file
system; the store makes its log long at once. So the two are also compared after each has filled its first log.
"""

import fcntl
import functools
import importlib
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pytest_guardrails.reliability.durability import Durability
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, open_store
from tests.benchmarks.figures import Figure, interleave, spread
from tests.reliability.processes import Child

__all__ = ["measure"]

VALUE = {"state": "closed", "failure_count": 3, "last_error": "x" * 80}
PEER = "sqlite WAL FULL"
OURS = "store"


class Contestant(Protocol):
    def fill(self, keys: int) -> None: ...
    def update(self, key: str, number: int) -> None: ...
    def close(self) -> None: ...


class Store:
    def __init__(self, folder: Path, kind: BackendKind = "sqlite", durability: Durability = "power") -> None:
        self.store = open_store(folder / "store", backend=kind, settings=BackendSettings(durability=durability))

    def fill(self, keys: int) -> None:
        with self.store.transaction() as transaction:
            for number in range(keys):
                transaction.put(f"k{number}", VALUE)

    def update(self, key: str, number: int) -> None:
        self.store.put(key, {**VALUE, "n": number})

    def close(self) -> None:
        self.store.close()


class PlainSqlite:
    def __init__(self, folder: Path, synchronous: str = "FULL") -> None:
        self.connection = sqlite3.connect(folder / "plain", isolation_level=None, timeout=60)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.execute("CREATE TABLE IF NOT EXISTS item (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")

    def fill(self, keys: int) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        rows = [(f"k{number}", json.dumps(VALUE)) for number in range(keys)]
        self.connection.executemany("INSERT OR REPLACE INTO item VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def update(self, key: str, number: int) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(
            "INSERT INTO item VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, json.dumps({**VALUE, "n": number})),
        )
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class WholeJson:
    """flock, read, change, write a temporary file, fsync, replace, fsync of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "whole.json"
        self.lock = os.open(folder / "whole.lock", os.O_RDWR | os.O_CREAT)

    def fill(self, keys: int) -> None:
        self.write({f"k{number}": VALUE for number in range(keys)})

    def update(self, key: str, number: int) -> None:
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        state = json.loads(self.path.read_bytes())
        state[key] = {**VALUE, "n": number}
        self.write(state)
        fcntl.flock(self.lock, fcntl.LOCK_UN)

    def write(self, state: Mapping[str, Any]) -> None:
        temporary = self.folder / "whole.tmp"
        with temporary.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def close(self) -> None:
        os.close(self.lock)


class RawAppend:
    """No store at all: what the disk allows."""

    def __init__(self, folder: Path) -> None:
        self.file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def fill(self, keys: int) -> None:
        return

    def update(self, key: str, number: int) -> None:
        os.write(self.file, json.dumps([key, {**VALUE, "n": number}]).encode())
        os.fsync(self.file)

    def close(self) -> None:
        os.close(self.file)


class Lmdb:
    def __init__(self, folder: Path) -> None:
        self.env = importlib.import_module("lmdb").open(str(folder / "lmdb"), map_size=1 << 28)

    def fill(self, keys: int) -> None:
        with self.env.begin(write=True) as transaction:
            for number in range(keys):
                transaction.put(f"k{number}".encode(), json.dumps(VALUE).encode())

    def update(self, key: str, number: int) -> None:
        with self.env.begin(write=True) as transaction:
            transaction.put(key.encode(), json.dumps({**VALUE, "n": number}).encode())

    def close(self) -> None:
        self.env.close()


class Mapped:
    """A peer that is a mapping, each assignment of which is an update."""

    def __init__(self, mapping: Any, begin: Callable[[Any], Any] | None = None) -> None:
        self.mapping, self.begin = mapping, begin

    def fill(self, keys: int) -> None:
        for number in range(min(keys, 1000)):
            self.mapping[f"k{number}"] = json.dumps(VALUE)

    def update(self, key: str, number: int) -> None:
        self.mapping[key] = json.dumps({**VALUE, "n": number})

    def close(self) -> None:
        getattr(self.mapping, "close", lambda: None)()


def diskcache(folder: Path) -> Contestant:
    return Mapped(importlib.import_module("diskcache").Cache(str(folder / "diskcache"), sqlite_synchronous=2))


def sqlitedict(folder: Path) -> Contestant:
    module = importlib.import_module("sqlitedict")
    return Mapped(module.SqliteDict(str(folder / "sqlitedict"), autocommit=True, journal_mode="WAL"))


def persist_queue(folder: Path) -> Contestant:
    return Mapped(importlib.import_module("persistqueue").PDict(str(folder / "pdict"), "items"))


PEERS: dict[str, Callable[[Path], Contestant]] = {
    PEER: PlainSqlite,
    "whole-file JSON": WholeJson,
    "raw append + fsync": RawAppend,
    "LMDB": Lmdb,
    "diskcache": diskcache,
    "sqlitedict (unsynced)": sqlitedict,
    "persist-queue": persist_queue,
}


def measure(quick: bool) -> list[Figure]:
    """Updates a second, waits, shares and losses."""
    figures: list[Figure] = []
    for keys in (10, 1000) if quick else (10, 100, 1000, 10_000):
        figures += _one_process(keys, quick)
    figures += _growth(quick)
    figures += _steady(quick)
    figures += _process_level(quick)
    figures += _four_processes(quick)
    return figures


def _one_process(keys: int, quick: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[str, Contestant] = {OURS: Store(Path(scratch))}
        if keys <= 100:
            made["store (json)"] = Store(Path(scratch, "j"), "json")
        for name, make in PEERS.items():
            if name != "whole-file JSON" or keys <= 1000:
                made.update(_made(name, make, Path(scratch)))
        for contestant in made.values():
            contestant.fill(keys)
        random_keys = random.Random(7)

        def sample(contestant: Contestant) -> Callable[[], float]:
            def run() -> float:
                count = 30 if quick else 100
                began = time.perf_counter()
                for number in range(count):
                    contestant.update(f"k{random_keys.randrange(min(keys, 1000))}", number)
                return count / (time.perf_counter() - began)

            return run

        samples = interleave({name: sample(one) for name, one in made.items()}, 3 if quick else 9)
        for contestant in made.values():
            contestant.close()
    return _figures(samples, f"durable updates, {keys:,} keys", PEER, OURS, 0.8)


def _made(name: str, make: Callable[[Path], Contestant], folder: Path) -> dict[str, Contestant]:
    try:
        return {name: make(folder)}
    except ImportError:
        print(f"   not installed: {name} (extra `bench`)")
        return {}


def _figures(samples: dict[str, list[float]], what: str, peer: str, ours: str, aim: float) -> list[Figure]:
    base = spread(samples[peer])[0]
    figures = []
    for name, found in samples.items():
        median, low, high = spread(found)
        is_ours = name == ours
        figures.append(
            Figure(
                name=f"{what}: {name}",
                unit="updates/s",
                value=median,
                low=low,
                high=high,
                aim=f"at least {aim} x {peer}" if is_ours else "",
                holds=median >= aim * base if is_ours else None,
                ratios={peer: median / base} if name != peer else {},
            )
        )
    return figures


def _growth(quick: bool) -> list[Figure]:
    """The rate at the most keys by that at the fewest: stores of all sizes in turn, each with its first log filled.

    Of one run in turn, as the disk's moods change between the runs of two sizes; after the first log, as filling a
    store with many keys makes SQLite's log long at once.
    """
    sizes = (10, 1000) if quick else (10, 100, 1000, 10_000)
    first_log, count = (200, 50) if quick else (1200, 200)
    figures = []
    for name, make in {OURS: Store, PEER: PlainSqlite}.items():
        with tempfile.TemporaryDirectory() as scratch:
            made: dict[str, Contestant] = {}
            draw = random.Random(7)
            samples_of: dict[str, Callable[[], float]] = {}
            for keys in sizes:
                Path(scratch, str(keys)).mkdir()
                made[str(keys)] = contestant = make(Path(scratch, str(keys)))
                contestant.fill(keys)
                _rate(contestant, keys, first_log, draw)
                samples_of[str(keys)] = functools.partial(_rate, contestant, keys, count, draw)
            samples = interleave(samples_of, 3 if quick else 9)
            for contestant in made.values():
                contestant.close()
        rates = {keys: spread(found)[0] for keys, found in samples.items()}
        for keys in sizes[1:]:
            change = rates[str(keys)] / rates[str(sizes[0])]
            is_ours = name == OURS
            figures.append(
                Figure(
                    name=f"growth: {keys:,} keys by {sizes[0]}, after the first log: {name}",
                    unit="x",
                    value=change,
                    aim="flat: at least 0.8" if is_ours else "",
                    holds=change >= 0.8 if is_ours else None,
                )
            )
    return figures


def _rate(contestant: Contestant, keys: int, updates: int, draw: random.Random) -> float:
    """Updates a second of so many keys drawn by chance, each with a value of its own."""
    began = time.perf_counter()
    for _ in range(updates):
        contestant.update(f"k{draw.randrange(keys)}", draw.randrange(1 << 30))
    return updates / (time.perf_counter() - began)


def _steady(quick: bool) -> list[Figure]:
    keys, first_log, count = 100, 200 if quick else 1200, 50 if quick else 300
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[str, Contestant] = {OURS: Store(Path(scratch)), PEER: PlainSqlite(Path(scratch))}
        draw = random.Random(7)
        for contestant in made.values():
            contestant.fill(keys)
            _rate(contestant, keys, first_log, draw)
        samples = interleave(
            {name: functools.partial(_rate, one, keys, count, draw) for name, one in made.items()}, 3 if quick else 9
        )
        for contestant in made.values():
            contestant.close()
    return _figures(samples, "durable updates, after the first log", PEER, OURS, 0.8)


def _process_level(quick: bool) -> list[Figure]:
    peer, count = "sqlite WAL NORMAL", 300 if quick else 1000
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[str, Contestant] = {
            OURS: Store(Path(scratch), durability="process"),
            peer: PlainSqlite(Path(scratch), "NORMAL"),
        }
        waits: list[float] = []

        def sample(name: str, contestant: Contestant) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                for number in range(count):
                    start = time.perf_counter()
                    contestant.update(f"k{number % 100}", number)
                    if name == OURS:
                        waits.append(time.perf_counter() - start)
                return count / (time.perf_counter() - began)

            return run

        samples = interleave({name: sample(name, one) for name, one in made.items()}, 3 if quick else 7)
        for contestant in made.values():
            contestant.close()
    waits.sort()
    p99 = waits[int(len(waits) * 0.99)] * 1e3
    figure = Figure(
        name='level "process": p99 of an update', unit="ms", value=p99, aim="below 0.379 ms", holds=p99 < 0.379
    )
    return [*_figures(samples, 'updates at the level "process"', peer, OURS, 0.7), figure]


def _four_processes(quick: bool) -> list[Figure]:
    figures = []
    duration_s = 1.0 if quick else 4.0
    for name, make in {OURS: Store, PEER: PlainSqlite}.items():
        with tempfile.TemporaryDirectory() as scratch:
            setup = make(Path(scratch))
            setup.fill(100)
            setup.update("shared", 0)
            setup.close()

            def work(say: object, name: str = name, folder: Path = Path(scratch)) -> tuple[int, list[float]]:
                return _count_on(name, folder, duration_s)

            results = [child.result() for child in [Child(work) for _ in range(4)]]
            total = _shared_total(name, Path(scratch))
        counts = [count for count, _ in results]
        waits = sorted(wait for _, found in results for wait in found)
        p50, p99 = (waits[int(len(waits) * share)] * 1e3 for share in (0.5, 0.99))
        least, lost, ours = min(counts) * 4 / sum(counts), sum(counts) - total, name == OURS
        rows: list[tuple[str, str, float, str, bool]] = [
            ("updates", "updates/s", sum(counts) / duration_s, "", True),
            ("p50 of an update", "ms", p50, "", True),
            ("p99 of an update", "ms", p99, "at most 50 ms", p99 <= 50),
            ("least share of four", "of an equal one", least, "at least 0.8", least >= 0.8),
            ("lost updates", "updates", float(lost), "none", lost == 0),
        ]
        figures += [
            Figure(
                name=f"4 processes: {what}: {name}",
                unit=unit,
                value=value,
                aim=aim if ours else "",
                holds=holds if ours and aim else None,
            )
            for what, unit, value, aim, holds in rows
        ]
    return figures


def _count_on(name: str, folder: Path, duration_s: float) -> tuple[int, list[float]]:
    waits: list[float] = []
    step = _our_step(folder) if name == OURS else _plain_step(folder)
    end = time.monotonic() + duration_s
    while (start := time.monotonic()) < end:
        step()
        waits.append(time.monotonic() - start)
    return len(waits), waits


def _our_step(folder: Path) -> Callable[[], None]:
    store = open_store(folder / "store")

    def step() -> None:
        with store.transaction() as transaction:
            transaction.put("shared", {"n": transaction.get("shared", {"n": 0}).get("n", 0) + 1})

    return step


def _plain_step(folder: Path) -> Callable[[], None]:
    connection = PlainSqlite(folder).connection

    def step() -> None:
        connection.execute("BEGIN IMMEDIATE")
        found = json.loads(connection.execute("SELECT value FROM item WHERE key = 'shared'").fetchone()[0])
        changed = json.dumps({"n": found.get("n", 0) + 1})
        connection.execute("UPDATE item SET value = ? WHERE key = 'shared'", (changed,))
        connection.execute("COMMIT")

    return step


def _shared_total(name: str, folder: Path) -> int:
    if name == OURS:
        with open_store(folder / "store") as store:
            return int(store.get("shared")["n"])
    row = PlainSqlite(folder).connection.execute("SELECT value FROM item WHERE key = 'shared'").fetchone()
    return int(json.loads(row[0])["n"])
