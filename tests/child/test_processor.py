"""Each worker has a processor of its own, as far as there are enough."""

import os

from chaos.child.processor import own_processor


def test_no_processor_is_claimed_twice() -> None:
    with own_processor() as first, own_processor() as second:
        assert first is None or first != second


def test_a_claim_moves_this_process_and_is_given_back() -> None:
    before = os.sched_getaffinity(0)
    with own_processor() as first:
        assert os.sched_getaffinity(0) == (before if first is None else {first})
    assert os.sched_getaffinity(0) == before
    with own_processor() as again:
        assert again == first


def test_without_a_free_processor_a_process_stays_where_it_is() -> None:
    with own_processor() as first:
        before = os.sched_getaffinity(0)
        with own_processor() as second:  # only one is allowed, and it is taken
            assert second is None or first is None
            assert os.sched_getaffinity(0) == before
