"""Names of hooks: white space that means nothing is dropped, and no two commands share a name."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.commands import command_line, key_of, name_of


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("  ls \t -l  ", "ls -l"),
        ("echo 'a  b'", "echo 'a  b'"),
        ('echo "a  b\\"  c"  d', 'echo "a  b\\"  c" d'),
        ("a\\  b", "a\\  b"),
        ("a \\ ", "a \\ "),
        ("a\nb", "a\nb"),
        ("it's  fine", "it's  fine"),
    ],
)
def test_only_idle_blanks_are_dropped(command: str, name: str) -> None:
    assert name_of(command) == name


@given(st.text(alphabet="ab \t\\'\"\n", min_size=1).filter(lambda text: text.strip(" \t")))
def test_what_a_shell_would_run_is_not_changed_by_naming_it(command: str) -> None:
    def words(text: str) -> list[str] | None:
        try:
            return shlex.split(text)
        except ValueError:
            return None

    assert words(name_of(command)) == words(command)
    assert name_of(name_of(command)) == name_of(command)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_commands_of_other_bytes_have_names_of_their_own(one: bytes, other: bytes) -> None:
    first, second = (b"x" + raw.replace(b"\0", b"0") + b"x" for raw in (one, other))
    names = [name_of(command_line([raw.decode("utf-8", "surrogateescape")])) for raw in (first, second)]
    assert (names[0] == names[1]) == (first == second)
    assert all(name.encode("utf-8") for name in names)


@given(st.lists(st.text(alphabet="ab \\'\"$\n→", max_size=5), min_size=1))
def test_arguments_are_quoted_as_a_shell_needs_them(arguments: list[str]) -> None:
    assert shlex.split(command_line(arguments)) == arguments


def test_a_key_has_one_length_whatever_the_command() -> None:
    assert len(key_of("x")) == len(key_of("x" * 10_000)) == len("hook/") + 40


@pytest.mark.parametrize("command", ["", "  \t", "a\0b"])
def test_what_is_no_command_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError):
        name_of(command)
