"""The json backend after a power cut in the middle of a rename, which on btrfs may leave the old name gone."""

from pathlib import Path

import pytest

from pytest_guardrails.reliability.state import StoreCorruptedError, open_store


def committed(path: Path) -> None:
    with open_store(path, backend="json") as store:
        store.put("n", 1)
        store.put("n", 2)


def test_the_last_generation_gets_its_lost_name_back_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "state"
    committed(path)
    path.replace(tmp_path / "state.previous")  # what such a cut leaves: the newest one, under its other name only
    with open_store(path, backend="json") as store:
        assert store.get("n") == 2
        assert store.incidents() == []


def test_an_older_generation_does_not_pass_for_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "state"
    committed(path)
    path.unlink()  # the previous one lacks the last commit
    try:
        with open_store(path, backend="json") as store:
            assert len(store.incidents()) == 1
    except StoreCorruptedError as error:
        pytest.fail(f"the generation before it is good: {error}")
