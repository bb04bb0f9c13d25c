"""Tables by columns: several processes train word vectors, and each holds some of their d columns alone.

The columns are cut into K chunks, which d and K fix. A dot product, or a squared length, is the sum of those of the chunks,
added up over one fixed tree (training/parallel/tree.py): so any number of processes that divides K gives the same bits. All
else about a vector is done number by number, a chunk at a time. Vectors never travel, then, and what does is as large as the
scores, whatever d is. The batches, and what a step reads off them, are the same in all processes.

Source: Ordentlich et al., "Network-Efficient Distributed Word2vec Training System for Large Vocabularies", 2016
(arXiv 1606.08495), whose servers hold columns likewise; the tree is our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from training.parallel.group import Group
from training.parallel.tree import Tree

Chunks = list[Tensor]
"""Rows of d numbers as a process has them: (r, c) for each of its chunks, c of their columns."""
Squares = Sequence[Sequence[Tensor]]
"""Of each chunk the sums of the squares of some rows, scalars, to be added up over all chunks: they travel with scores."""
LINE = 64  # bytes of a cache line, where torch has its tensors begin


class Columns:
    """How d columns are cut, and which of them this process has. K = 1 cuts nothing.

    Args:
        dim: d, at least as many as there are chunks.
        group: the processes; its ``shards`` is K, and ``own`` says which chunks are those of this process.
    """

    def __init__(self, dim: int, group: Group) -> None:
        self.dim, self.group = dim, group

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return self.group.shards == 1

    def of_chunk(self, chunk: int) -> slice:
        """The columns of a chunk."""
        return slice(self.dim * chunk // self.group.shards, self.dim * (chunk + 1) // self.group.shards)

    @property
    def own(self) -> list[slice]:
        """The columns of each chunk of this process."""
        return [self.of_chunk(chunk) for chunk in self.group.own]

    def of_rank(self, rank: int) -> slice:
        """All columns of a process: its chunks are neighbors."""
        each = self.group.shards // self.group.world
        return slice(self.of_chunk(rank * each).start, self.of_chunk((rank + 1) * each - 1).stop)

    def names(self, table: str) -> list[str]:
        """What the chunks of a table are called in this process: by their numbers, or as the table, if it is not cut."""
        return [table] if self.whole else [f"{table}_{chunk}" for chunk in self.group.own]

    def add(self, parts: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        """Sums over all columns, from those over each chunk of this process, in order; they may be changed."""
        tree = Tree()
        for part in parts:
            tree.add(part)
        return [_aligned(each) for each in self.group.sum([each for each in tree.total() if each is not None])]


def _aligned(values: Tensor) -> Tensor:
    """The values, where a tensor of their own has them: products may round otherwise elsewhere in memory."""
    return values if values.data_ptr() % LINE == 0 else values.clone()
