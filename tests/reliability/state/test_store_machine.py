"""The store against a model, by a state machine: both backends, with conflicts, roll-backs, reopening and damage.

The model keeps every committed state by version. After damage the store may stand on an earlier state, which it must
name, or on the last; it must never stand on anything that was not committed.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    Conflict,
    StateStore,
    VersionConflictError,
    open_store,
)

KEYS = st.sampled_from(["a", "b", "c/d", "\u00e9"])
VALUES = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("a\u00e9\n", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=3),
    max_leaves=5,
)
WRITES = st.lists(st.tuples(KEYS, st.none() | VALUES, st.booleans()), min_size=1, max_size=4)


def flip(path: Path, position: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 0x10
    path.write_bytes(content)


class StoreMachine(RuleBasedStateMachine):
    kind: BackendKind

    def __init__(self) -> None:
        super().__init__()
        shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(dir=shm))
        self.path = self.folder / "store"
        self.values: dict[str, Any] = {}
        self.committed: list[dict[str, Any]] = [{}]
        self.seen = 0
        self.incidents = 0
        self.store = self.open()

    @initialize(cache=st.booleans())
    def choose_cache(self, cache: bool) -> None:
        self.store.close()
        self.store = self.open(cache)

    def open(self, cache: bool = True) -> StateStore:
        settings = BackendSettings(durability="process", keep_versions=3)
        return open_store(self.path, backend=self.kind, settings=settings, cache=cache)

    @staticmethod
    def content(store: StateStore) -> dict[str, Any]:
        keys = store.keys()
        return {key: store.get(key) for key in keys}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(writes=WRITES)
    def commit(self, writes: list[tuple[str, Any, bool]]) -> None:
        before = self.store.version()
        with self.store.transaction() as transaction:
            for key, value, delete in writes:
                if delete:
                    transaction.delete(key)
                else:
                    transaction.put(key, value)
            expected = dict(self.values)
            for key, value, delete in writes:
                expected.pop(key, None)
                if not delete:
                    expected[key] = value
            keys = transaction.keys()
            assert {key: transaction.get(key) for key in keys} == expected
        if self.store.version() == before:
            assert expected == self.values, "a commit that changed something made no version"
            return
        self.seen, self.values = self.store.version(), expected
        assert self.seen == before + 1
        self.committed.append(dict(expected))

    @rule(writes=WRITES)
    def roll_back(self, writes: list[tuple[str, Any, bool]]) -> None:
        with pytest.raises(ZeroDivisionError), self.store.transaction() as transaction:
            for key, value, _ in writes:
                transaction.put(key, value)
            raise ZeroDivisionError

    @rule(key=KEYS, value=VALUES, off=st.sampled_from([0, 0, 1, -1]), wins=st.booleans())
    def expect(self, key: str, value: Any, off: int, wins: bool) -> None:
        expected = self.store.version(key) + off
        if off and not wins:
            with pytest.raises(VersionConflictError):
                self.store.put(key, value, expected_version=expected)
            return
        policy = Conflict.LAST_WRITER_WINS if wins else Conflict.REJECT
        version = self.store.put(key, value, expected_version=expected, on_conflict=policy)
        assert version == self.store.version(key) > self.seen
        self.seen = version
        self.values[key] = value
        self.committed.append(dict(self.values))

    @rule(key=KEYS)
    def history(self, key: str) -> None:
        found = self.store.history(key)
        assert len(found) <= 3
        assert [entry.version for entry in found] == sorted({entry.version for entry in found})
        if key in self.values:
            assert found[-1].value == self.values[key]

    @rule(key=KEYS, data=st.data())
    def restore(self, key: str, data: st.DataObject) -> None:
        past = self.store.history(key)
        if not past:
            return
        entry = data.draw(st.sampled_from(past))
        before = self.store.version()
        self.store.restore(key, entry.version)
        self.values.pop(key, None)
        if not entry.deleted:
            self.values[key] = entry.value
        if self.store.version() != before:
            self.seen = self.store.version()
            self.committed.append(dict(self.values))

    @rule()
    def prune(self) -> None:
        self.store.prune()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule()
    def second_opener(self) -> None:
        other = self.open()
        assert self.content(other) == self.values
        other.put("a", "other")
        other.close()
        self.values["a"] = "other"
        self.seen = self.store.version()
        self.committed.append(dict(self.values))

    @precondition(lambda self: self.seen > 0)
    @rule(position=st.floats(0, 1, exclude_max=True))
    def damage(self, position: float) -> None:
        self.store.close()
        flip(self.path, position)
        self.store = self.open()
        found = self.content(self.store)
        assert found in self.committed
        if found != self.values:
            assert len(self.store.incidents()) > self.incidents, "a loss, and nobody was told"
            assert self.store.version() > self.seen
        self.incidents = len(self.store.incidents())
        self.values, self.seen = found, self.store.version()

    @precondition(lambda self: self.seen > 0)
    @rule(position=st.floats(0, 1, exclude_max=True))
    def damage_good_generation(self, position: float) -> None:
        self.store.close()
        good = self.folder / ("store.good" if self.kind == "sqlite" else "store.previous")
        content = good.read_bytes()
        flip(good, position)
        self.reopen()
        self.the_store_is_the_model()
        good.write_bytes(content)  # damage to both at once is in `test_damage.py`

    @invariant()
    def the_store_is_the_model(self) -> None:
        assert self.content(self.store) == self.values
        assert self.store.version() == self.seen


class SqliteMachine(StoreMachine):
    kind = "sqlite"


class JsonMachine(StoreMachine):
    kind = "json"


BOUNDS = settings(max_examples=60, stateful_step_count=20)
TestSqliteStore = pytest.mark.slow(SqliteMachine.TestCase)
TestJsonStore = pytest.mark.slow(JsonMachine.TestCase)
SqliteMachine.TestCase.settings = BOUNDS
JsonMachine.TestCase.settings = BOUNDS
