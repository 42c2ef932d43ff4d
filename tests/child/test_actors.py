"""Targets as callables: what would run nothing, or object to nothing, is refused or heard."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest

from chaos.child.actors import TargetError, check_actor, objecting, recover_actor, unrun_words, work_actor

_HERE = [str(Path(__file__).parents[2])]
_NAME = f"{__name__}:"


async def awaited(_: Path) -> None:
    """Runs when it is awaited."""


def yielding(_: Path) -> Iterator[int]:
    yield 1


async def yielding_later(_: Path) -> Any:
    yield 1


class _Callable:
    async def __call__(self, _: Path) -> None:
        """Runs when it is awaited."""

    async def method(self, _: Path) -> None:
        """Runs when it is awaited."""


def run(_: Path) -> list[int]:
    return list(yielding(_))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (awaited, "an async function"),
        (partial(partial(awaited), Path()), "an async function"),
        (_Callable(), "an async function"),
        (_Callable().method, "an async function"),
        (yielding, "a generator"),
        (yielding_later, "an async generator"),
    ],
)
def test_what_runs_nothing_when_it_is_called_is_told(function: Callable[..., Any], words: str) -> None:
    found = unrun_words(function)
    assert found is not None
    assert found[0].startswith(words + ",")


@pytest.mark.parametrize("function", [run, partial(run, Path()), lambda disk: None, len, _Callable, "a".join])
def test_what_runs_when_it_is_called_is_not_told(function: Callable[..., Any]) -> None:
    assert unrun_words(function) is None


@pytest.mark.parametrize("name", ["awaited", "yielding", "yielding_later"])
@pytest.mark.parametrize("actor", [recover_actor, work_actor, lambda spec: check_actor(spec, "/")])
def test_a_named_target_that_would_run_nothing_is_refused(actor: Callable[..., Any], name: str) -> None:
    with pytest.raises(TargetError, match="which runs only when"):
        actor(["python", _NAME + name, _HERE])
    assert actor(["python", _NAME + "run", _HERE])


def await_later(_: Path) -> Any:
    return awaited(_)


@pytest.mark.parametrize("actor", [recover_actor, work_actor, lambda spec: check_actor(spec, "/")])
def test_a_target_that_returns_a_coroutine_fails_by_that(actor: Callable[..., Any]) -> None:
    for spec in (["callable", await_later], ["python", f"{_NAME}await_later", _HERE]):
        with pytest.raises(TypeError, match="a coroutine, of which nothing was run: await it"):
            actor(spec)(Path())


@pytest.mark.parametrize("told", [False, numpy.False_])
def test_a_check_that_returns_false_objects(told: object) -> None:
    with pytest.raises(AssertionError, match="the check returned False"):
        objecting(lambda *_: told)(1, [])
    with pytest.raises(AssertionError, match="the check returned False"):
        check_actor(["callable", lambda *_: told], "/")(1, [])


@pytest.mark.parametrize("told", [None, True, 0, "", [], numpy.True_])
def test_a_check_that_returns_anything_else_does_not_object_and_is_heard(told: object) -> None:
    assert objecting(lambda *_: told)(1, []) is told
