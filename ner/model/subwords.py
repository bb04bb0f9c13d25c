"""Words as the mean of their subwords' vectors (Bojanowski et al. 2017), which are trained with the tagger."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 0.1
"""Of the means. Adam moves each number by about the learning rate: at full size subwords soon tell the training words apart
by heart, and what they say of other words is worth less (docs/notes/tagger_choices.md)."""


class Subwords(nn.Module):
    """A trained vector for each bucket of n-grams (ner/inputs/subwords.py). They begin as zeros: one never met adds nothing.

    Args:
        buckets: how many there are.
        dim: numbers of a vector.
    """

    by_rows = False
    """Whether the gradient is a sparse tensor of the batch's n-grams alone, as in ner/model/word_table.py."""

    def __init__(self, buckets: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, dim))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Buckets ids (C,) of words with ``lengths`` (U,) → SCALE times the means (U, dim); zeros for a word without any."""
        word = torch.arange(len(lengths), device=ids.device).repeat_interleave(lengths, output_size=len(ids))
        rows = nn.functional.embedding(ids, self.weight, sparse=self.by_rows)
        sums = rows.new_zeros(len(lengths), rows.shape[1]).index_add(0, word, rows)
        return SCALE * sums / lengths.clamp(min=1).to(rows).unsqueeze(1)
