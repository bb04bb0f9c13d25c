"""Sentences without labels beside those that have some: which an epoch has, and what their targets are."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.inputs.batches import Encoded, Readings, UnlabeledBatches
from tests.ner.inputs.encoded import encoded


@settings(max_examples=80, deadline=None)
@given(
    new=st.lists(st.integers(1, 4), min_size=1, max_size=12), text=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    share=st.floats(0.01, 3), size=st.integers(1, 5), batching=st.sampled_from(["length", "random"]),
    whole=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_each_epoch_has_all_that_is_labeled_and_its_share_of_the_text(
    new: list[int], text: list[int], share: float, size: int, batching: str, whole: bool, seed: int
) -> None:
    # Numbers are lengths of sentences, or sizes of documents.
    units = [*new, *text]
    data = encoded([2] * sum(units), units) if whole else encoded(units, None)
    first, behind = (sum(new), sum(text)) if whole else (len(new), len(text))
    settings = {"labeled": first, "share": share, "batching": batching, "seed": seed}
    batches = UnlabeledBatches(data, size, **settings)  # type: ignore[arg-type]
    again = UnlabeledBatches(data, size, **settings)  # type: ignore[arg-type]
    starts = np.cumsum([0, *units]) if whole else np.arange(len(units) + 1)
    taken = min(len(text), max(1, int(share * first * len(text) / behind + 0.5)))
    worked_off = len(text) // taken  # epochs until the next order is drawn
    counts, seen = set(), list[int]()
    for epoch in range(2 * worked_off):
        there = [batch.sentences.tolist() for batch in batches.plan(epoch)]
        assert there == [batch.sentences.tolist() for batch in again.plan(epoch)]
        counts.add(len(there))
        flat = [number for batch in there for number in batch]
        assert len(set(flat)) == len(flat)
        assert set(range(first)) <= set(flat)
        drawn = sorted({int(np.searchsorted(starts, number, "right")) - 1 for number in flat if number >= first})
        assert len(drawn) == taken
        assert sorted(flat)[first:] == [n for unit in drawn for n in range(starts[unit], starts[unit + 1])]
        seen += drawn
        if epoch + 1 == worked_off:
            assert len(set(seen)) == len(seen), "nothing comes twice before the next order"
    assert len(counts) == 1, "as many batches in every epoch"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(1, 3))
def test_targets_are_the_mean_of_the_labels_and_the_reading(seed: int, lengths: list[int], parts: int) -> None:
    """Against a slow twin, sentence by sentence; and a batch that is cut has its parts' targets."""
    rng = np.random.default_rng(seed)
    labels, tokens, count = 3, sum(lengths), len(lengths)
    mask = rng.random((labels, labels)) < 0.6
    mask[:, 0] = True
    pairs = np.full((labels, labels), -1)
    pairs[mask] = np.arange(mask.sum())
    starts = np.cumsum([0, *lengths])
    gold = list[int]()
    for i in range(tokens):
        may = mask[gold[-1]] if i not in starts else np.ones(labels, np.bool_)
        gold.append(int(rng.choice(np.flatnonzero(may))))
    readings = Readings(
        tokens=rng.random((tokens, labels), np.float32), moves=rng.random((count, int(mask.sum())), np.float32),
        shares=rng.choice([0.0, 0.25, 1.0], count).astype(np.float32), pairs=pairs,
    )  # fmt: skip
    data = Encoded(words=np.arange(tokens), lengths=np.array(lengths), labels=np.array(gold, np.int64), readings=readings)
    order = rng.permutation(count)
    batch = data.batch(order)
    assert batch.targets is not None
    of_tokens, of_moves = list[list[float]](), list[list[float]]()
    for number in order.tolist():
        share, row = float(readings.shares[number]), (readings.moves[number] * readings.shares[number]).tolist()
        for i in range(starts[number], starts[number + 1]):
            own = [float(label == gold[i]) for label in range(labels)]
            of_tokens.append([share * float(r) + (1 - share) * o for r, o in zip(readings.tokens[i], own, strict=True)])
            if i > starts[number]:
                row[pairs[gold[i - 1], gold[i]]] += 1 - share
        of_moves.append(row)
    torch.testing.assert_close(batch.targets.tokens, torch.tensor(of_tokens))
    torch.testing.assert_close(batch.targets.moves, torch.tensor(of_moves))
    cut = [part.targets for part in batch.cut(parts) if part is not None]
    assert torch.equal(torch.cat([each.tokens for each in cut if each]), batch.targets.tokens)
    assert torch.equal(torch.cat([each.moves for each in cut if each]), batch.targets.moves)
