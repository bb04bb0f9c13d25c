"""The mean of a word's subwords against its definition, and what a tagger makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.model.subwords import SCALE, Subwords
from tests.ner.small_tagger import saved, some_words, tagger
from training.errors import DataError

LENGTHS = st.lists(st.integers(0, 6), max_size=9)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.integers(1, 5), st.booleans())
def test_a_word_is_the_mean_of_its_subwords(lengths: list[int], buckets: int, by_rows: bool) -> None:
    table, random = Subwords(buckets, 3).double(), torch.Generator().manual_seed(sum(lengths))
    torch.nn.init.uniform_(table.weight, -1, 1, generator=random)
    table.by_rows = by_rows
    ids = torch.randint(buckets, (sum(lengths),), generator=random)
    got = table(ids, torch.tensor(lengths, dtype=torch.int64))
    parts = torch.split(ids, lengths) if lengths else []
    nothing = table.weight.new_zeros(3)
    wanted = [SCALE * torch.stack([table.weight[i] for i in part]).mean(0) if len(part) else nothing for part in parts]
    assert got.shape == (len(lengths), 3)
    if not len(ids):
        assert not got.any()
        return
    weights = torch.rand(got.shape, generator=random, dtype=got.dtype)
    torch.testing.assert_close(got, torch.stack(wanted))
    ours, theirs = (torch.autograd.grad((each * weights).sum(), table.weight)[0] for each in (got, torch.stack(wanted)))
    torch.testing.assert_close(ours.to_dense(), theirs)


def test_subwords_begin_as_zeros() -> None:
    assert not Subwords(5, 3).weight.any()


def test_a_word_has_the_same_bits_in_any_company() -> None:
    sentences = [some_words(7, seed) for seed in range(5)]
    made = tagger(subwords=40, subword_dim=5)
    assert made.tag(sentences) == [made.tag([words])[0] for words in sentences]
    together, alone = made.predict(sentences), [made.predict([words])[0] for words in sentences]
    assert together == alone


def test_an_unknown_word_is_told_by_its_subwords() -> None:
    """Two words that neither the words nor the characters tell apart."""
    made = tagger(subwords=1000, subword_dim=5, characters="none")
    plain = tagger(characters="none")
    words = [["zyxwv"], ["uvwxy"]]
    assert len({each.confidences[0] if each.confidences else 0.0 for each in plain.predict(words)}) == 1
    scores = [found.scores for batch, found in made.found(words)]
    assert not torch.equal(scores[0][0], scores[0][1])


@pytest.mark.parametrize("changes", [{"subwords": 41}, {"subword_dim": 6}, {"subwords": 0}, {"subwords": 1 << 24}])
def test_settings_that_do_not_fit_the_weights_are_refused(changes: dict[str, int]) -> None:
    one = saved(subwords=40, subword_dim=5)
    with pytest.raises(DataError, match="expected weights that fit the settings"):
        replace(one, config=replace(one.config, **changes)).model()  # type: ignore[arg-type]
