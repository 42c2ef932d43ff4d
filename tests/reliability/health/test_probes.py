"""Probes: what passes, fails, raises, hangs; readiness apart from liveness."""

import threading
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.health import Level, Probe, disk_space, level_of, run_probes, store_usable
from pytest_guardrails.reliability.state import open_store


def broken() -> None:
    raise OSError("no")


def test_each_outcome_is_told() -> None:
    hang = threading.Event()
    reports = run_probes(
        [
            Probe("none", lambda: None),
            Probe("true", lambda: True),
            Probe("text", lambda: "too full"),
            Probe("false", lambda: False),
            Probe("nan", lambda: float("nan")),
            Probe("raises", broken),
            Probe("hangs", lambda: hang.wait(60.0), deadline_s=0.05),
        ]
    )
    hang.set()
    assert [report.outcome for report in reports] == [
        "passed",
        "passed",
        "failed",
        "failed",
        "failed",
        "error",
        "timed out",
    ]
    assert [report.detail for report in reports[2:6]] == ["too full", "it said False", "it said nan", "OSError: no"]


def test_readiness_and_liveness_are_kept_apart() -> None:
    reports = run_probes([Probe("a", lambda: "no", kind="readiness"), Probe("b", lambda: True, kind="liveness")])
    assert (level_of(reports, "readiness"), level_of(reports, "liveness"), level_of(reports)) == (
        Level.CRITICAL,
        Level.HEALTHY,
        Level.CRITICAL,
    )


def test_no_probe_at_all_is_unknown() -> None:
    assert level_of([]) is Level.UNKNOWN


def test_disk_space(tmp_path: Path) -> None:
    assert disk_space(str(tmp_path), 1)() is True
    assert "are needed" in str(disk_space(str(tmp_path), 1e18)())
    with pytest.raises(ConfigurationError):
        disk_space(str(tmp_path), float("nan"))


def test_a_store_is_usable_until_it_was_damaged(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.json", backend="json") as store:
        store.put("a", 1)
        store.put("a", 2)
        assert store_usable(store)() is True
    (tmp_path / "s.json").write_text("torn {")
    with open_store(tmp_path / "s.json", backend="json") as store:
        assert "damaged 1 times" in str(store_usable(store)())


def test_a_deadline_must_be_above_zero() -> None:
    with pytest.raises(ConfigurationError, match="deadline"):
        run_probes([Probe("a", lambda: None, deadline_s=0.0)])
