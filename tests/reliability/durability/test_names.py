"""Names as file names: they stay in their directory and never meet."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.reliability.durability import safe_name


@given(st.text(min_size=1, max_size=400))
def test_a_name_never_leaves_its_directory(name: str) -> None:
    safe = safe_name(name)
    assert os.path.basename(safe) == safe
    assert safe not in {".", ".."}
    assert len(safe.encode()) <= 120
    assert "\0" not in safe


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_two_names_are_two_files_whatever_the_case(one: str, other: str) -> None:
    if one != other:
        assert safe_name(one).lower() != safe_name(other).lower()


@pytest.mark.parametrize("name", ["..", ".", "a/b", "A", "%41", "a b", "\ud800", "x" * 121])
def test_known_hard_names(name: str) -> None:
    assert safe_name(name) not in {name, name.lower()}


def test_a_plain_name_stays_readable() -> None:
    assert safe_name("run-7.retry_2") == "run-7.retry_2"


def test_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        safe_name("")
