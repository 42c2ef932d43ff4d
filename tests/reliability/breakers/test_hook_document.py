"""With the backend json the documented file is the store: people edit it, crashes tear it, and nobody is set free."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.breakers import HookState
from pytest_guardrails.reliability.breakers import hook_document as module
from pytest_guardrails.reliability.breakers.config import load_config
from pytest_guardrails.reliability.breakers.hook_store import open_hooks
from tests.reliability.breakers.stores import FIELDS, INCIDENTS, hook_state
from tests.reliability.clocks import MovedClock


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def state(tmp_path: Path, clock: MovedClock) -> HookState:
    INCIDENTS.clear()
    found = hook_state(tmp_path, "json", clock)
    for _ in range(3):
        found.record_failure("open", "boom")
    found.record_success("fine")
    found.disable("held", author="alice", reason="no")
    return found


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "hooks.json").read_bytes())
    return found


def edit(folder: Path, command: str, changes: Mapping[str, object]) -> None:
    document = read(folder)
    document["hooks"][command] = {**document["hooks"].get(command, {}), **changes}
    (folder / "hooks.json").write_text(json.dumps(document))


def test_the_file_has_exactly_the_documented_shape_after_each_operation(state: HookState, tmp_path: Path) -> None:
    document = read(tmp_path)
    assert list(document) == ["hooks", "global_stats"]
    assert all(list(fields) == FIELDS for fields in document["hooks"].values())
    assert list(document["global_stats"]) == ["total_executions", "total_failures", "hooks_disabled", "last_updated"]
    assert {name: fields["state"] for name, fields in document["hooks"].items()} == {
        "fine": "closed",
        "held": "open",
        "open": "open",
    }
    state.reset_hook("open")
    assert read(tmp_path)["hooks"]["open"]["state"] == "closed"


def test_a_hook_that_a_person_closes_runs_at_once_also_in_a_process_that_knew_better(
    state: HookState, tmp_path: Path
) -> None:
    assert not state.admit("open").allowed
    edit(tmp_path, "open", {"state": "closed", "retry_after": None, "consecutive_failures": 0})
    assert state.admit("open").allowed
    assert state.admit("held").reason == "disabled"
    assert state.get_global_stats().hooks_disabled == 1


def test_a_hook_that_a_person_opens_is_skipped(state: HookState, tmp_path: Path) -> None:
    edit(tmp_path, "fine", {"state": "open", "retry_after": None})
    assert not state.admit("fine").allowed


def test_a_hook_that_a_person_deletes_is_forgotten(state: HookState, tmp_path: Path) -> None:
    document = read(tmp_path)
    del document["hooks"]["open"]
    (tmp_path / "hooks.json").write_text(json.dumps(document))
    assert [record.command for record in state.get_all_hooks()] == ["fine", "held"]
    assert (state.admit("open").allowed, read(tmp_path)["global_stats"]["hooks_disabled"]) == (True, 1)


def test_what_an_edit_leaves_alone_keeps_its_permit_and_its_operators_word(
    state: HookState, tmp_path: Path, clock: MovedClock
) -> None:
    clock.monotonic_s += 1000.0
    probe = state.admit("open")
    edit(tmp_path, "fine", {"failure_count": 7})
    assert state.get_hook_state("fine").failure_count == 7
    assert state.admit("open").reason == "probing"
    assert state.record_success("open", probe).after.circuit.successes == 1
    control = state.get_hook_state("held").circuit.control
    assert control is not None
    assert (control.author, control.reason) == ("alice", "no")


def test_a_late_success_does_not_close_what_a_person_opened_meanwhile(state: HookState, tmp_path: Path) -> None:
    admission = state.admit("fine")
    edit(tmp_path, "fine", {"state": "open", "retry_after": None})
    assert state.record_success("fine", admission).after.state == "open"


def test_an_edit_and_the_operation_that_finds_it_are_one_commit(state: HookState, tmp_path: Path) -> None:
    before = state.store.version()
    edit(tmp_path, "fine", {"failure_count": 7})
    assert state.record_failure("fine", "boom").after.failure_count == 8
    assert state.store.version() == before + 1


def test_a_spaced_out_file_is_no_edit_and_gets_its_form_back(state: HookState, tmp_path: Path) -> None:
    wanted = (tmp_path / "hooks.json").read_bytes()
    before = state.store.version()
    (tmp_path / "hooks.json").write_text(json.dumps(json.loads(wanted), indent=7))
    assert not state.admit("held").allowed
    assert ((tmp_path / "hooks.json").read_bytes(), state.store.version()) == (wanted, before)


HOSTILE = [
    b"",
    b"torn {",
    b"\xff\xfe\x00",
    b"[]",
    b'{"hooks": {}, "hooks": {}}',
    b'{"hooks": {"held": {"state": "closed"}}',
    b'{"hooks": {"held": {"state": "ajar"}}, "global_stats": {}}',
    b'{"hooks": {"held": {"state": "closed", "failure_count": NaN}}, "global_stats": {}}',
    b'{"hooks": {"held": {"state": "closed", "failure_count": 1e999}}, "global_stats": {}}',
    b'{"hooks": {"": {"state": "closed"}}, "global_stats": {}}',
    b'{"hooks": {"a\\u0000b": {"state": "closed"}}, "global_stats": {}}',
    b'{"hooks": {"held": {"state": "closed", "x": "\\ud800"}}, "global_stats": {}}',
    b'{"hooks": {"held": {"state": "closed"}, " held": {"state": "open"}}, "global_stats": {}}',
    b'{"hooks": {"held": {"state": "closed", "retry_after": "soon"}}, "global_stats": {}}',
    b'{"hooks": ' + b"[" * 100_000,
    b'{"hooks": {"held": {"state": "closed", "failure_count": ' + b"9" * 5000 + b"}}}",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_broken_file_is_set_aside_told_and_written_anew_and_frees_nobody(
    state: HookState, tmp_path: Path, content: bytes
) -> None:
    wanted = (tmp_path / "hooks.json").read_bytes()
    (tmp_path / "hooks.json").write_bytes(content)
    assert [state.admit(command).allowed for command in ("held", "open", "fine")] == [False, False, True]
    assert (tmp_path / "hooks.json").read_bytes() == wanted
    (incident,) = INCIDENTS
    assert (Path(incident.quarantine) / "hooks.json").read_bytes() == content
    assert state.get_health_report().incidents == (incident.reason,)
    assert state.record_failure("fine", "boom").after.failure_count == 1  # and the breaker is not inert
    assert read(tmp_path)["hooks"]["fine"]["failure_count"] == 1


def test_a_file_that_was_removed_is_written_anew_and_frees_nobody(state: HookState, tmp_path: Path) -> None:
    (tmp_path / "hooks.json").unlink()
    assert state.admit("held").reason == "disabled"
    assert read(tmp_path)["hooks"]["held"]["state"] == "open"
    assert [incident.reason for incident in INCIDENTS] == ["the file is missing"]


def test_a_file_without_a_store_beside_it_is_taken_as_it_is(state: HookState, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second/hooks.json").write_bytes((tmp_path / "hooks.json").read_bytes())
    second = hook_state(tmp_path / "second", "json", MovedClock())
    assert [second.admit(command).allowed for command in ("held", "open", "fine")] == [False, False, True]
    assert read(tmp_path / "second")["hooks"] == read(tmp_path)["hooks"]


def test_a_store_whose_every_generation_is_torn_goes_on_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, {"GUARDRAILS_STATE_BACKEND": "json"})
    state = open_hooks(config)
    state.disable("held", author="alice", reason="no")
    state.record_success("fine")
    state.store.close()
    for name in ("hook_state.rest.json", "hook_state.rest.json.previous", "hook_state.disabled.json"):
        (tmp_path / ".claude" / name).write_text("torn")
    again = open_hooks(config)
    assert [again.admit(command).allowed for command in ("held", "fine")] == [False, True]
    assert again.record_success("fine").after.consecutive_successes == 2


def test_a_restored_older_store_does_not_take_the_operators_name_off_a_hook(state: HookState, tmp_path: Path) -> None:
    state.store.close()
    (tmp_path / "hooks.rest").write_text("torn {")
    control = hook_state(tmp_path, "json", MovedClock()).get_hook_state("held").circuit.control
    assert control is not None
    assert control.author == "alice"


def test_a_disk_that_refuses_the_file_alone_loses_nothing(
    state: HookState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomic", refuse)
        assert state.record_failure("fine", "boom").after.failure_count == 1
    assert read(tmp_path)["hooks"]["fine"]["failure_count"] == 0
    assert state.get_hook_state("fine").failure_count == 1
    assert read(tmp_path)["hooks"]["fine"]["failure_count"] == 1
    assert INCIDENTS == []


def test_reading_costs_one_look_at_the_file_while_nobody_wrote(
    state: HookState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.get_hook_state("fine")
    opened: list[object] = []
    monkeypatch.setattr(os, "replace", lambda *paths: opened.append(paths))
    monkeypatch.setattr(module.HookDocument, "_read", lambda _document: opened.append("read"))
    state.get_hook_state("fine")
    assert opened == []


def test_fields_that_somebody_added_survive_operations(state: HookState, tmp_path: Path) -> None:
    edit(tmp_path, "fine", {"owner": "team a"})
    state.record_success("fine")
    assert read(tmp_path)["hooks"]["fine"]["owner"] == "team a"


def test_times_that_people_write_are_understood(state: HookState, tmp_path: Path, clock: MovedClock) -> None:
    edit(tmp_path, "fine", {"state": "open", "retry_after": "9999-01-01T00:00:00Z"})
    assert state.admit("fine").retry_in_s == pytest.approx(3600.0)
    clock.monotonic_s += 10.0
    assert state.admit("fine").retry_in_s == pytest.approx(3590.0)
