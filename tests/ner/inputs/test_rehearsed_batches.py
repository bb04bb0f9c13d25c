"""Old sentences rehearsed beside new ones: which an epoch has, a function of (seed, epoch)."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.inputs.batches import RehearsedBatches, SentenceBatches
from tests.ner.inputs.encoded import encoded


@settings(max_examples=80, deadline=None)
@given(
    new=st.lists(st.integers(1, 4), min_size=1, max_size=12), old=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    share=st.floats(0.01, 1), size=st.integers(1, 5), batching=st.sampled_from(["length", "random"]),
    whole=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_each_epoch_has_all_new_sentences_and_its_share_of_the_old(
    new: list[int], old: list[int], share: float, size: int, batching: str, whole: bool, seed: int
) -> None:
    # Numbers are lengths of sentences, or sizes of documents.
    units = [*new, *old]
    given = encoded([2] * sum(units), units) if whole else encoded(units, None)
    first = sum(new) if whole else len(new)
    batches = RehearsedBatches(given, size, old=first, share=share, batching=batching, seed=seed)
    again = RehearsedBatches(given, size, old=first, share=share, batching=batching, seed=seed)
    starts = np.cumsum([0, *units]) if whole else np.arange(len(units) + 1)
    counts = set()
    for epoch in range(3):
        there = [batch.sentences.tolist() for batch in batches.plan(epoch)]
        assert there == [batch.sentences.tolist() for batch in again.plan(epoch)]
        counts.add(len(there))
        flat = [number for batch in there for number in batch]
        assert len(set(flat)) == len(flat)
        assert set(range(first)) <= set(flat)
        whole_units = {int(np.searchsorted(starts, number, "right")) - 1 for number in flat if number >= first}
        assert len(whole_units) == min(len(old), max(1, int(share * len(old) + 0.5)))
        assert sorted(flat)[first:] == [n for unit in sorted(whole_units) for n in range(starts[unit], starts[unit + 1])]
    assert len(counts) == 1, "as many batches in every epoch"


def test_other_epochs_and_seeds_draw_others() -> None:
    given = encoded([1] * 100, None)

    def drawn(seed: int, epoch: int) -> frozenset[int]:
        plan = RehearsedBatches(given, 8, old=10, share=0.1, seed=seed).plan(epoch)
        return frozenset(number for batch in plan for number in batch.sentences.tolist() if number >= 10)

    assert len({drawn(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_without_old_sentences_the_plan_is_the_usual_one() -> None:
    given = encoded([3, 1, 2, 2], None)
    usual = SentenceBatches(given, 2, seed=3).plan(1)
    assert [b.sentences.tolist() for b in RehearsedBatches(given, 2, old=4, share=0.5, seed=3).plan(1)] == [
        b.sentences.tolist() for b in usual
    ]
