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


@pytest.mark.slow  # SQLite asks for its locks for ten seconds, again and again, before it says what it found
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
