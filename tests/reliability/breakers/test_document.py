"""Export, import and mirror: the documented shape exactly, and nothing lost on the way."""

import json
import time
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.config import load_config
from pytest_guardrails.reliability.breakers.document import document_of, export_hooks, import_hooks
from pytest_guardrails.reliability.breakers.hook_state import HookState
from pytest_guardrails.reliability.breakers.hook_store import open_hooks, refresh_mirror
from tests.reliability.breakers.stores import FIELDS, hook_state
from tests.reliability.clocks import MovedClock


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def state(tmp_path: Path, clock: MovedClock) -> HookState:
    found = hook_state(tmp_path, "json", clock)
    for _ in range(3):
        found.record_failure("ruff check 'a b'", "bööm")
    found.record_success("fine")
    found.disable("held", author="alice", reason="no")
    return found


def other(folder: Path, clock: MovedClock) -> HookState:
    (folder / "other").mkdir()
    return hook_state(folder / "other", "json", clock)


def test_the_export_has_exactly_the_documented_shape(state: HookState, tmp_path: Path) -> None:
    export_hooks(state, tmp_path / "export.json")
    document = json.loads((tmp_path / "export.json").read_text())
    assert list(document) == ["hooks", "global_stats"]
    assert list(document["hooks"]) == ["fine", "held", "ruff check 'a b'"]
    assert all(list(fields) == FIELDS for fields in document["hooks"].values())
    assert list(document["global_stats"]) == ["total_executions", "total_failures", "hooks_disabled", "last_updated"]


def test_an_export_comes_back_byte_for_byte_from_another_store(
    state: HookState, tmp_path: Path, clock: MovedClock
) -> None:
    export_hooks(state, tmp_path / "one.json")
    clock.wall_s += 100.0
    clock.monotonic_s += 100.0
    second = other(tmp_path, clock)
    import_hooks(second, tmp_path / "one.json")
    export_hooks(second, tmp_path / "two.json")
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_importing_what_is_there_already_changes_no_hook(state: HookState, tmp_path: Path) -> None:
    before = state.get_all_hooks()
    export_hooks(state, tmp_path / "export.json")
    assert import_hooks(state, tmp_path / "export.json") == ()
    assert state.get_all_hooks() == before


def test_an_open_hook_comes_in_with_what_is_left_of_its_cooldown(
    state: HookState, tmp_path: Path, clock: MovedClock
) -> None:
    export_hooks(state, tmp_path / "export.json")
    clock.wall_s += 100.0
    clock.monotonic_s = 7.0
    second = other(tmp_path, clock)
    import_hooks(second, tmp_path / "export.json")
    assert second.admit("ruff check 'a b'").retry_in_s == pytest.approx(200.0)


def test_a_hook_that_was_held_without_end_stays_so(state: HookState, tmp_path: Path, clock: MovedClock) -> None:
    export_hooks(state, tmp_path / "export.json")
    second = other(tmp_path, clock)
    import_hooks(second, tmp_path / "export.json")
    clock.monotonic_s += 1e6
    assert second.admit("held").reason == "disabled"


def test_a_hand_edited_hook_comes_in_and_others_stay(state: HookState, tmp_path: Path) -> None:
    document = document_of(state)
    document["hooks"] = {"held": {**document["hooks"]["held"], "state": "closed", "owner": "team a"}}
    document["note"] = "by hand"
    (tmp_path / "edited.json").write_text(json.dumps(document))
    assert import_hooks(state, tmp_path / "edited.json") == ("held",)
    assert state.admit("held").allowed
    assert not state.admit("ruff check 'a b'").allowed
    assert document_of(state)["hooks"]["held"]["owner"] == "team a"
    assert document_of(state)["note"] == "by hand"


def test_replacing_forgets_what_the_file_has_not(state: HookState, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"hooks": {}, "global_stats": {}}')
    import_hooks(state, tmp_path / "empty.json", mode="replace")
    assert (state.get_all_hooks(), state.get_global_stats().hooks_disabled) == ((), 0)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "no export of hooks"),
        ('{"hooks": {"a": {"failure_count": NaN}}}', "NaN"),
        ('{"hooks": {"a": 7}}', r"\$\.hooks\['a'\] must be an object"),
        ('{"hooks": {"a": {"state": "ajar"}}}', r"\$\.hooks\['a'\]\.state"),
        ('{"hooks": {"a": {"failure_count": -1}}}', "failure_count"),
        ('{"hooks": {"a": {"failure_count": true}}}', "failure_count"),
        ('{"hooks": {"a": {"retry_after": "soon"}}}', "retry_after"),
        ('{"hooks": {"a": {"last_error": 3}}}', "last_error"),
        ('{"hooks": {}, "global_stats": {"total_failures": 1.5}}', "total_failures"),
    ],
)
def test_a_bad_document_is_refused_by_place_and_changes_nothing(
    state: HookState, tmp_path: Path, text: str, place: str
) -> None:
    before = document_of(state)
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ConfigurationError, match=place):
        import_hooks(state, tmp_path / "bad.json")
    assert document_of(state) == before


@pytest.mark.parametrize(
    ("retry_after", "left_s"), [("9999-01-01T00:00:00+00:00", 3600.0), ("2001-01-01T00:00:00", None)]
)
def test_a_cooldown_from_a_file_is_never_longer_than_any_other(
    tmp_path: Path, clock: MovedClock, retry_after: str, left_s: float | None
) -> None:
    state = hook_state(tmp_path, "json", clock)
    document = {"hooks": {"a": {"state": "open", "retry_after": retry_after}}}
    (tmp_path / "edited.json").write_text(json.dumps(document))
    import_hooks(state, tmp_path / "edited.json")
    admission = state.admit("a")
    assert (admission.allowed, admission.retry_in_s) == (left_s is None, left_s)


def test_the_document_for_people_is_written_at_most_once_a_second(
    tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, {})
    state = open_hooks(config, clock=clock)
    clock.wall_s = time.time()
    wrote = []
    for later_s in (0.0, 0.5, 1.5, -3600.0):  # a time from the future says nothing
        clock.wall_s = time.time() + later_s
        wrote.append(refresh_mirror(state, config, clock))
    assert wrote == [True, False, True, True]
    state.store.close()


def test_fields_with_names_of_the_stores_own_disturb_nothing(tmp_path: Path, clock: MovedClock) -> None:
    state = hook_state(tmp_path, "sqlite", clock)
    fields = {"circuit": 7, "boot": None, "command": "other", "owner": "me", "state": "open", "retry_after": None}
    (tmp_path / "edited.json").write_text(json.dumps({"hooks": {"a": fields}, "global_stats": {}}))
    import_hooks(state, tmp_path / "edited.json")
    assert not state.admit("a").allowed
    assert document_of(state)["hooks"]["a"]["owner"] == "me"
