from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaos.faults.network.corruption import Corrupter


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.floats(0.01, 1))
def test_how_the_stream_is_cut_into_pieces_changes_nothing(data: bytes, cuts: list[int], rate: float) -> None:
    whole = Corrupter(rate, "seed").feed(data)
    corrupter = Corrupter(rate, "seed")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [corrupter.feed(data[start:end]) for start, end in pairwise(edges)]
    assert b"".join(pieces) == whole
    assert corrupter.flipped == sum(a != b for a, b in zip(data, whole, strict=True))


def test_a_rate_of_one_changes_every_byte() -> None:
    assert 0 not in Corrupter(1, "seed").feed(bytes(1000))


def test_the_rate_is_the_share_of_changed_bytes() -> None:
    corrupter = Corrupter(0.1, "seed")
    corrupter.feed(bytes(100_000))
    assert 9_500 < corrupter.flipped < 10_500
