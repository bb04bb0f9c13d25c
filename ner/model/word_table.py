"""The word table: the vectors that are trained, those that are kept as given, and those of words met later."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordTable(nn.Module):
    """The words' vectors: the first ``tuned`` rows are trained (all, if None), the others of the vocabulary are as given.

    Behind them stand fixed rows for words met later that have a vector (ner/vectors/unseen.py has their ids).
    """

    fixed: Tensor
    extra: Tensor
    by_rows = False
    """Whether the gradient is a sparse tensor of the batch's words alone: for the parts of a batch that is cut."""

    def __init__(self, matrix: Tensor, *, freeze: bool = False, tuned: int | None = None) -> None:
        super().__init__()
        tuned = len(matrix) if tuned is None else tuned
        self.weight = nn.Parameter(matrix[:tuned].clone(), requires_grad=not freeze)
        self.register_buffer("fixed", matrix[tuned:].clone(), persistent=tuned < len(matrix))
        self.register_buffer("extra", matrix.new_zeros(0, matrix.shape[1]), persistent=False)

    def attach(self, rows: Tensor) -> None:
        """Append vectors (n, d) for words that the vocabulary does not hold; they are not part of the weights."""
        if len(rows):
            self.extra = torch.cat([self.extra, rows.to(self.extra)])

    def forget_attached(self) -> None:
        """Drop all that ``attach`` appended."""
        self.extra = self.extra[:0]

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (N,) → vectors (N, d). Ids from the vocabulary's size on mean attached rows."""
        trained, fixed = len(self.weight), len(self.fixed)
        place = ids - trained
        known = place < 0
        if fixed + len(self.extra) == 0 or bool(known.all()):
            return nn.functional.embedding(ids, self.weight, sparse=self.by_rows)
        vectors = nn.functional.embedding(torch.where(known, ids, 1), self.weight, sparse=self.by_rows)
        for table, first in ((self.fixed, 0), (self.extra, fixed)):
            here = (place >= first) & (place < first + len(table))
            if bool(here.any()):
                vectors = torch.where(here[:, None], table[torch.where(here, place - first, 0)], vectors)
        return vectors
