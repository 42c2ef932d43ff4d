"""Who closes all descriptors, as programs do that become daemons, finds its store whole when it opens it anew."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.state import BackendKind, StateStore, StoreCorruptedError, open_store
from tests.reliability.processes import Child


def close_descriptors_below(folder: Path) -> int:
    """Close what is open of files in the folder; how many that were."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    links = {number: os.path.realpath(f"/proc/self/fd/{number}") for number in numbers}
    found = [number for number, link in links.items() if link.startswith(f"{folder}/")]
    for number in found:
        os.close(number)
    return len(found)


def outcome(store: StateStore) -> str:
    try:
        store.put("key", "refused")
    except StoreCorruptedError:
        return "damaged"
    except StorageError:
        return "refused"
    return "done"


@pytest.mark.parametrize("is_forked", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_it_is_refused_in_the_stores_words_and_then_goes_on(tmp_path: Path, kind: BackendKind, is_forked: bool) -> None:
    path = tmp_path / "store"

    def work(_say: Callable[[str], None]) -> object:
        store = open_store(path, backend=kind)
        store.put("key", "kept")
        if is_forked and os.fork():
            _, status = os.wait()
            return status
        assert close_descriptors_below(tmp_path) > 0
        said = [outcome(store), outcome(store)]
        anew = None
        with suppress(StorageError):
            anew = open_store(path, backend=kind)
        with suppress(StorageError):
            store.close()
        anew = anew or open_store(path, backend=kind)
        whole = anew.get("key") in (("kept", "refused") if "done" in said else ("kept",)) and anew.incidents() == []
        store.put("key", "again")
        assert whole, (said, anew.get("key"), anew.incidents())
        assert "damaged" not in said, said
        assert anew.get("key") == "again"
        if is_forked:
            os._exit(0)
        return 0

    assert Child(work).result() == 0
    with open_store(path, backend=kind) as store:
        assert (store.get("key"), store.incidents()) == ("again", [])


STEPS: dict[str, Callable[[StateStore], object]] = {
    "get": lambda store: store.get("key"),
    "put": lambda store: store.put("key", "kept"),
    "close": lambda store: store.close(),
    "open anew": lambda store: open_store(store.backend.path).get("key"),
}


@pytest.mark.parametrize("step", STEPS)
def test_only_the_first_step_after_it_is_refused(tmp_path: Path, step: str) -> None:
    """SQLite would be asked for locks that it can't have, which takes it ten seconds each time, for good."""

    def work(_say: Callable[[str], None]) -> object:
        with open_store(tmp_path / "store") as other, open_store(tmp_path / "store") as store:
            for each in (store, other):
                each.put("key", "kept")
                assert each.get("key") == "kept"
            close_descriptors_below(tmp_path)
            with suppress(StorageError):
                STEPS[step](store)
            for each in (store, other):
                assert each.get("key") == "kept"
                each.put("key", "kept")
        return 0

    assert Child(work).result() == 0


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
@pytest.mark.parametrize("number", [1, 2, 3, 12])
def test_files_that_have_the_numbers_by_now_are_neither_written_nor_closed(
    tmp_path: Path, number: int, kind: BackendKind, is_used: bool
) -> None:
    path, logs = tmp_path / "store", [tmp_path / f"log{index}" for index in range(number)]

    def work(_say: Callable[[str], None]) -> object:
        store, last = open_store(path, backend=kind), 1
        store.put("key", last)
        store.put("key", store.get("key"))
        close_descriptors_below(tmp_path)
        descriptors = [os.open(log, os.O_RDWR | os.O_CREAT) for log in logs]
        for descriptor in descriptors:
            os.write(descriptor, b"begun, ")
        if is_used:
            with suppress(StorageError):
                store.get("key")
            for value in (2, 3, 4):
                with suppress(StorageError):
                    store.put("key", value)
                    last = value
            with suppress(StorageError):
                store.close()
        elif not os.fork():  # before it, as at the interpreter's end, whatever is open is closed
            os._exit(0)
        for descriptor in descriptors:
            os.write(descriptor, b"done")
        return last

    last = Child(work).result()
    assert [log.read_bytes() for log in logs] == [b"begun, done"] * number
    with open_store(path, backend=kind) as store:
        assert (store.get("key"), store.incidents()) == (last, [])
