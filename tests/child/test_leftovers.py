"""What a finished run left running, told apart from what was not let run by a busy machine."""

import pytest

from chaos.child import leftovers


@pytest.mark.parametrize(("state", "used_s"), [("S", 0.0), ("R", 0.3), ("D", 0.3), ("T", 0.0)])
def test_who_waits_or_has_run_long_enough_is_still_running(
    monkeypatch: pytest.MonkeyPatch, state: str, used_s: float
) -> None:
    monkeypatch.setattr(leftovers, "_state", lambda _pid: (state, used_s))
    assert leftovers.still_running(lambda: [7], 1e-9) == [7]


@pytest.mark.parametrize("state", ["R", "D"])
def test_who_had_no_chance_to_end_is_waited_for(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setattr(leftovers, "_state", lambda _pid: (state, 0.0))
    looks = iter([[7], [7], [7, 8], [7], []])
    assert leftovers.still_running(lambda: next(looks), 1e-9) == []


def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_state", lambda _pid: ("R", 0.0))
    monkeypatch.setattr(leftovers, "_PATIENCE_S", 0.01)
    assert leftovers.still_running(lambda: [7], 1e-9) == [7]
