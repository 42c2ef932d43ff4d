"""Numbers that are no numbers."""

import json
import math
from itertools import islice

import pytest

from chaos.errors import UsageError
from chaos.faults.numbers import NonFinite, overflowing, spoiled


@pytest.mark.parametrize("kind", NonFinite)
def test_none_of_them_is_finite_and_python_reads_each_from_json(kind: NonFinite) -> None:
    assert not math.isfinite(kind.number)
    assert repr(json.loads(kind.json)) == repr(kind.number)
    assert json.dumps(kind.number) == kind.json


def test_one_number_is_spoiled_and_the_others_are_not() -> None:
    assert list(spoiled([1.0, 2.0, 3.0], nth=2, kind=NonFinite.INFINITY)) == [1.0, math.inf, 3.0]


def test_or_all_from_one_on() -> None:
    assert [math.isnan(number) for number in spoiled([1.0, 2.0, 3.0], nth=2, for_good=True)] == [False, True, True]


def test_a_back_off_overflows_and_stays_so() -> None:
    numbers = list(islice(overflowing(), 1100))
    assert numbers[:4] == [1.0, 2.0, 4.0, 8.0]
    assert (numbers[1023], numbers[1024], numbers[-1]) == (2.0**1023, math.inf, math.inf)


@pytest.mark.parametrize(("start", "factor"), [(0.0, 2.0), (1.0, 1.0), (1.0, math.nan), (math.inf, 2.0)])
def test_a_series_that_never_overflows_is_refused(start: float, factor: float) -> None:
    with pytest.raises(UsageError, match="never overflows"):
        overflowing(start, factor)


def test_numbers_are_counted_from_1() -> None:
    with pytest.raises(UsageError, match="from 1"):
        spoiled([1.0], nth=0)
