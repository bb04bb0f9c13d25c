"""The order of groups in negative sampling, and the padding that goes with it."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from word2vec.config import Word2VecConfig
from word2vec.model import negative

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 7))
def test_a_groups_words_stand_side_by_side_and_come_from_equal_distances(m: int, noise: int) -> None:
    positions = torch.arange(m * noise)
    found = negative.arranged(positions, noise).view(m, noise)
    for b in range(m):
        assert found[b].tolist() == [b + k * m for k in range(noise)]
    wide = torch.stack([positions, -positions], 1)
    assert torch.equal(negative.arranged(wide, noise)[:, 0], found.flatten())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5))
def test_neighbors_are_the_rows_of_the_positions_around(m: int, noise: int, window: int) -> None:
    count = m * noise
    order = negative.arranged(torch.arange(count), noise).tolist()  # row → position
    row = {position: place for place, position in enumerate(order)}
    found = negative.neighbors(count, noise, window, CPU)
    assert found.shape == (count, 2 * window + 1)
    assert int(found.min()) >= 0
    assert int(found.max()) < count
    for position in range(count):
        for place, offset in enumerate(range(-window, window + 1)):
            if 0 <= position + offset < count:
                assert int(found[row[position], place]) == row[position + offset]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 12), st.integers(1, 9), st.integers(0, 2**31))
def test_combined_is_the_product(m: int, size: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights, rows = torch.rand(m, size, size, generator=generator), torch.rand(m, size, d, generator=generator)
    torch.testing.assert_close(negative.combined(weights, rows), torch.einsum("gij,gjd->gid", weights, rows))


def test_batches_are_padded_to_whole_groups_and_for_cbow_to_few_sizes() -> None:
    plain = Word2VecConfig(noise_words=8, batch_words=16384)
    grouped = Word2VecConfig(noise_words=8, batch_words=16384, architecture="cbow")
    small = Word2VecConfig(noise_words=64, batch_words=100, architecture="cbow")
    assert (plain.batch_multiple, grouped.batch_multiple, small.batch_multiple) == (8, 512, 64)
    assert Word2VecConfig(noise_words=8, batch_words=16384, architecture="cbow", loss="softmax").batch_multiple == 8
