"""What every backend must do, as one suite: a class to derive from, with a fixture that opens a store at a path.

A further backend passes this unchanged. Damage and crashes are in files of their own, since they depend on what lies
on the disk.
"""

import heapq
import json
import math
import operator
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.durability import FencedError, JsonRefusedError
from pytest_guardrails.reliability.state import (
    BackendSettings,
    Conflict,
    StateStore,
    TransactionError,
    TransactionStatus,
    VersionConflictError,
    thaw,
)
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child

Open = Callable[..., StateStore]
VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**70),
    1.5,
    5e-324,
    "",
    "text \u2028 \U0001f600",
    [],
    {},
    {"a": [1, {"b": None}], "": [[]]},
]


class Conformance:
    """Derive from it, and give a fixture `open_store` that opens the store of this test, with settings by name."""

    def test_a_new_store_is_empty(self, open_store: Open) -> None:
        with open_store() as store:
            assert store.keys() == []
            assert store.get("nothing", "default") == "default"
            assert (store.version(), store.version("nothing")) == (0, 0)

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_a_value_comes_back_as_it_went_in(self, open_store: Open, value: Any) -> None:
        with open_store() as store:
            store.put("key", value)
            assert store.get("key") == value
        with open_store() as store:
            found = store.get("key", "missing")
            assert found == value
            assert type(thaw(found)) is type(value)

    @pytest.mark.parametrize(
        "value",
        [math.nan, [math.inf], {"x": -math.inf}, "\ud800", {1: 1}, object()],
        ids=["nan", "inf", "-inf", "surrogate", "key", "object"],
    )
    def test_what_is_not_finite_json_is_refused_and_changes_nothing(self, open_store: Open, value: Any) -> None:
        with open_store() as store:
            store.put("key", "before")
            with pytest.raises(JsonRefusedError), store.transaction() as transaction:
                transaction.put("other", 1)
                transaction.put("key", value)
            assert store.get("key") == "before"
            assert store.keys() == ["key"]

    @pytest.mark.parametrize("key", ["", "@x", "a\0b", "x" * 1001, "\udfff"])
    def test_a_bad_key_is_refused(self, open_store: Open, key: str) -> None:
        with open_store() as store, pytest.raises((ConfigurationError, JsonRefusedError)):
            store.put(key, 1)

    @pytest.mark.parametrize("key", ["a b", "../../etc/passwd", "%00", "\u00e9", "e\u0301", "K", "k", "x" * 1000])
    def test_keys_are_kept_apart_as_they_are(self, open_store: Open, key: str) -> None:
        with open_store() as store:
            store.put("other", 0)
            store.put(key, 1)
            assert (store.get(key), store.get("other")) == (1, 0)
            assert sorted(store.keys()) == sorted([key, "other"])

    def test_a_transaction_holds_whole_or_not_at_all(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("a", 1)
            error = KeyError("mine")
            with pytest.raises(KeyError) as caught, store.transaction() as transaction:
                transaction.put("a", 2)
                transaction.put("b", 2)
                transaction.delete("a")
                raise error
            assert caught.value is error
            assert (store.get("a"), store.get("b")) == (1, None)
            with store.transaction() as transaction:
                transaction.put("a", 3)
                transaction.put("b", 3)
            assert (store.get("a"), store.get("b")) == (3, 3)
            assert store.version("a") == store.version("b") == store.version()

    def test_a_transaction_sees_its_own_writes_and_others_do_not_yet(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("gone", 1)
            with store.transaction() as transaction:
                transaction.put("new", {"n": 1})
                transaction.delete("gone")
                assert transaction.get("new") == {"n": 1}
                assert transaction.get("gone") is None
                assert transaction.keys() == ["new"]
                assert store.keys() == ["gone"]
            assert store.keys() == ["new"]

    def test_keys_are_found_by_prefix_and_sorted(self, open_store: Open) -> None:
        with open_store() as store:
            for key in ("b/2", "a", "b/1", "b", "c", "b%"):
                store.put(key, 0)
            assert store.keys("b/") == ["b/1", "b/2"]
            assert store.keys() == ["a", "b", "b%", "b/1", "b/2", "c"]

    def test_versions_only_grow_also_over_deletion_and_reopening(self, open_store: Open) -> None:
        seen = []
        for _ in range(3):
            with open_store() as store:
                seen.append(store.put("key", 1))
                store.delete("key")
                assert store.version("key") == 0
                seen.append(store.put("key", 2))
        assert seen == sorted(set(seen))

    def test_an_unexpected_version_is_a_conflict_and_changes_nothing(self, open_store: Open) -> None:
        with open_store() as store:
            first = store.put("key", 1, expected_version=0)
            second = store.put("key", 2, expected_version=first)
            with pytest.raises(VersionConflictError) as caught:
                store.put("key", 3, expected_version=first)
            assert (caught.value.key, caught.value.expected, caught.value.found) == ("key", first, second)
            with pytest.raises(VersionConflictError):
                store.put("key", 3, expected_version=0)
            with pytest.raises(VersionConflictError):
                store.delete("key", expected_version=first)
            assert store.get("key") == 2

    def test_conflicts_go_by_the_policy(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("key", [1])
            store.put("key", [2], expected_version=99, on_conflict=lambda theirs, mine: [*theirs, *mine])
            assert store.get("key") == [1, 2]
            store.put("key", [3], expected_version=99, on_conflict=Conflict.LAST_WRITER_WINS)
            assert store.get("key") == [3]

    @pytest.mark.parametrize("attempts", [0, 3])
    def test_no_update_is_lost_among_threads(self, open_store: Open, attempts: int) -> None:
        with open_store(durability="process") as store:

            def count() -> None:
                for _ in range(25):
                    store.update("count", lambda count: count + 1, default=0, attempts=attempts)

            threads = [threading.Thread(target=count) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert store.get("count") == 100

    def test_values_given_out_can_not_be_changed(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("key", {"list": [1], "map": {}})
            value = store.get("key")
            for change in (
                lambda: value.update(x=1),
                lambda: value["list"].append(2),
                lambda: value["map"].setdefault("x", 1),
                lambda: operator.setitem(value, "list", []),
                lambda: value["list"].__iadd__([2]),
                lambda: value.__ior__({"x": 1}),
                lambda: value.pop("list"),
                value["list"].sort,
            ):
                with pytest.raises(TypeError, match="copy"):
                    change()
            mine = thaw(value)
            mine["list"].append(2)
            assert store.get("key") == {"list": [1], "map": {}}
            assert json.dumps({**value, "x": 1})

    def test_what_changes_a_list_behind_its_back_changes_no_other_reader_s(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("queue", {"waiting": [2, 3]})
            heapq.heappush(store.get("queue")["waiting"], 1)
            assert store.get("queue") == {"waiting": [2, 3]}
            with store.transaction() as transaction:
                assert transaction.get("queue") == {"waiting": [2, 3]}

    def test_who_goes_past_the_refusal_changes_what_no_other_reader_gets(self, open_store: Open) -> None:
        values: dict[str, Any] = {
            "flat": {"n": 1},
            "list": [1, 2],
            "deep": {"a": {"b": {"n": 1}}, "c": [{"n": 1}, 2]},
        }
        with open_store() as store:
            for key, value in values.items():
                store.put(key, value)
            for _ in range(2):  # the one who fills the cache, and one who is answered from it
                dict.update(store.get("flat"), n=2, m=3)
                list.append(store.get("list"), 3)
                deep = store.get("deep")
                dict.__setitem__(deep["a"]["b"], "n", 2)
                list.__setitem__(deep["c"], 1, 3)
                dict.clear(deep["c"][0])
                with store.transaction() as transaction:
                    dict.clear(transaction.get("flat"))
                for key, value in values.items():
                    assert store.get(key) == value
            with pytest.raises(TypeError, match="can't be changed"):
                store.get("deep")["a"]["b"]["n"] = 2
            with pytest.raises(TypeError, match="can't be changed"):
                store.get("deep")["c"][0].clear()

    def test_a_value_that_was_put_does_not_follow_its_callers_changes(self, open_store: Open) -> None:
        with open_store() as store:
            value = {"n": [1]}
            store.put("key", value)
            value["n"].append(2)
            assert store.get("key") == {"n": [1]}

    @pytest.mark.parametrize("cache", [True, False])
    def test_reads_see_what_other_processes_committed(self, open_store: Open, cache: bool) -> None:
        with open_store(cache=cache) as store:
            store.put("key", 0)
            for number in range(1, 4):
                assert store.get("key") == number - 1

                def write(say: object, number: int = number) -> None:
                    with open_store() as other:
                        other.put("key", number)

                Child(write).result()
                assert store.get("key") == number
            store.clear_cache()
            assert store.get("key") == 3

    def test_two_writers_in_turns_build_on_each_other(self, open_store: Open) -> None:
        with open_store() as one, open_store() as other:
            made = [
                writer.put(key, 1) for key, writer in zip("abcdef", [one, one, other, one, other, other], strict=True)
            ]
            with pytest.raises(RuntimeError), one.transaction() as transaction:
                transaction.put("g", 1)
                raise RuntimeError
            made += [one.put("g", 1), other.put("h", 1)]
            assert made == list(range(1, 9))
            assert one.keys() == other.keys() == list("abcdefgh")

    def test_history_remembers_values_and_deletions(self, open_store: Open) -> None:
        with open_store(keep_versions=4) as store:
            for number in range(6):
                store.put("key", number)
            store.delete("key")
            found = store.history("key")
            assert [(entry.value, entry.deleted) for entry in found] == [
                (3, False),
                (4, False),
                (5, False),
                (None, True),
            ]
            assert [entry.version for entry in found] == [4, 5, 6, 7]
            assert store.history("other") == []

    def test_an_old_version_can_be_restored(self, open_store: Open) -> None:
        with open_store() as store:
            wanted = store.put("key", {"n": 1})
            gone = store.put("key", {"n": 2}) + 1
            store.delete("key")
            restored = store.restore("key", wanted)
            assert store.get("key") == {"n": 1}
            assert restored == store.version("key") == gone + 1
            store.restore("key", gone)
            assert store.get("key") is None
            with pytest.raises(ConfigurationError, match="remembered are 1, 2, 3"):
                store.restore("key", 99)

    def test_the_log_tells_how_each_transaction_ended(self, open_store: Open) -> None:
        with open_store() as store:
            with store.transaction() as first:
                first.put("b", 1)
                first.put("a", 1)
            with pytest.raises(ZeroDivisionError), store.transaction() as second:
                second.put("a", 2)
                raise ZeroDivisionError("oops")
            with store.transaction() as third:
                third.get("a")
                newest = store.transactions()[0]
                assert (newest.id, newest.status) == (third.id, TransactionStatus.PENDING)
            found = store.transactions()
            assert [(line.id, line.status) for line in found] == [
                (second.id, TransactionStatus.ROLLED_BACK),
                (first.id, TransactionStatus.COMMITTED),
            ]
            assert found[0].note == "ZeroDivisionError: oops"
            assert (found[1].version, set(found[1].keys)) == (1, {"a", "b"})
            assert len(store.transactions(limit=1)) == 1

    def test_a_transaction_whose_process_dies_failed(self, open_store: Open) -> None:
        def die(say: Callable[[str], None]) -> None:
            with open_store() as other, other.transaction() as transaction:
                transaction.put("key", 1)
                say(transaction.id)
                threading.Event().wait()

        with open_store() as store:
            store.put("key", 0)
            child = Child(die)
            dead = child.line()
            child.kill()
            store.put("other", 0)
            line = next(line for line in store.transactions() if line.id == dead)
            assert line.status is TransactionStatus.FAILED
            assert store.get("key") == 0

    def test_pruning_forgets_what_is_old_and_never_what_is_current(self, open_store: Open) -> None:
        clock = MovedClock()
        with open_store(clock=clock) as store:
            for number in range(3):
                store.put("key", number)
                store.put("gone", number)
            store.delete("gone")
            clock.wall_s += 100
            store.put("key", 3)
            assert store.prune(older_than_s=1000) == 0
            assert store.prune(keep_versions=2, older_than_s=50) == 2 + 4
            assert [entry.value for entry in store.history("key")] == [2, 3]
            assert store.history("gone") == []
            assert store.prune() == 1
            assert store.get("key") == 3
        with open_store() as store:
            assert store.get("key") == 3
            assert store.put("gone", 1) == 9

    def test_pruning_keeps_the_stores_version(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("key", 1)
            store.delete("key")
            store.prune()
            assert store.put("key", 1) == 3

    @pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
    def test_a_step_of_the_wall_clock_changes_no_version(self, open_store: Open, step_s: float) -> None:
        clock = MovedClock()
        with open_store(clock=clock) as store:
            first = store.put("key", 1)
            clock.wall_s += step_s
            assert store.put("key", 2, expected_version=first) == first + 1
            assert [entry.value for entry in store.history("key")] == [1, 2]
            assert [line.version for line in store.transactions()] == [2, 1]

    def test_transactions_do_not_nest_and_end(self, open_store: Open) -> None:
        with open_store() as store:
            with store.transaction() as transaction, pytest.raises(TransactionError, match="nest"):
                store.put("key", 1)
            with pytest.raises(TransactionError, match="over"):
                transaction.put("key", 1)
            store.put("key", 2)

    def test_a_fence_keeps_a_late_holder_out(self, open_store: Open) -> None:
        with open_store() as store:
            with store.transaction() as transaction:
                transaction.fence("loop", 2)
                transaction.put("key", "second")
            with pytest.raises(FencedError), store.transaction() as transaction:
                transaction.put("key", "late")
                transaction.fence("loop", 1)
            with store.transaction() as transaction:
                transaction.fence("loop", 2)
            assert store.get("key") == "second"
            assert store.keys() == ["key"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.put("key", "old"),
            lambda store: store.put("key", "old", expected_version=0, on_conflict=Conflict.LAST_WRITER_WINS),
            lambda store: store.delete("key"),
            lambda store: store.update("key", lambda _value: "old"),
        ],
        ids=["put", "last writer wins", "delete", "update"],
    )
    def test_what_a_newer_program_wrote_is_neither_replaced_nor_deleted(
        self, open_store: Open, change: Callable[[StateStore], object]
    ) -> None:
        with open_store(schema=2, migrations={1: lambda _key, value: value}) as newer:
            newer.put("key", "new")
        with open_store(schema=1) as older:
            with pytest.raises(NewerFormatError, match="'key' has schema 2; this program knows 1"):
                change(older)
            older.put("other", "fine")
        with open_store(schema=2, migrations={1: lambda _key, value: value}) as newer:
            assert (newer.get("key"), newer.get("other")) == ("new", "fine")

    def test_values_of_an_older_schema_are_migrated_and_of_a_newer_one_refused(self, open_store: Open) -> None:
        with open_store() as store:
            store.put("key", 5)
        migrations = {1: lambda key, value: {"n": value}, 2: lambda key, value: {**value, "key": key}}
        with open_store(schema=3, migrations=migrations) as store:
            assert store.get("key") == {"n": 5, "key": "key"}
            store.update("key", lambda value: {**value, "n": 6})
        with open_store(schema=2) as store, pytest.raises(NewerFormatError, match="schema 3"):
            store.get("key")
        with open_store(schema=3, migrations=migrations) as store:
            assert store.get("key") == {"n": 6, "key": "key"}

    def test_a_closed_store_opens_itself_again(self, open_store: Open) -> None:
        store = open_store()
        store.put("key", 1)
        store.close()
        store.close()
        assert store.get("key") == 1
        store.put("key", 2)
        store.close()

    def test_settings_that_make_no_sense_are_refused(self) -> None:
        wrongs: list[dict[str, Any]] = [{"durability": "maybe"}, {"keep_versions": 0}, {"deadline_s": math.nan}]
        for wrong in wrongs:
            with pytest.raises(ConfigurationError):
                BackendSettings(**wrong)
