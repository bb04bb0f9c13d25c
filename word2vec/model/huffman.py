"""The Huffman tree of the hierarchical softmax (Mikolov et al. 2013b, §2.2), and the ways through it.

A word is a leaf, and its way are the inner nodes from the root down to it; at each the way turns to the first child (code
0, as in word2vec.c) or to the second. The nodes that most words of a text pass make the top: a tree of its own that begins
at the root, whose leaves, the exits, are what hangs below it. So a way is that to an exit, and then the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Ints = npt.NDArray[np.int64]


class HuffmanTree(nn.Module):
    """The ways to V words, one after another, M nodes in all; T nodes are the top, with T + 1 exits.

    Inner nodes are numbered from 0 to V−2 in the order in which they are made, so that the root is V−2.

    Args:
        counts: of each word, (V ≥ 2,); they must not rise, as in a Vocab.
        visits: how often each word is trained on, (V,); ``counts``, if it is not given.
        top: T; of a smaller tree, all of its nodes.
    """

    begin: Tensor  # int64 (V + 1,): where each word's way begins, and M
    nodes: Tensor  # int32 (M,)
    first: Tensor  # int8 (M,): 1 where the way turns to the first child, 0 where to the second
    rank: Tensor  # int32 (V,): the place of each word among the leaves from left to right
    top: Tensor  # int64 (T,): the nodes of the top
    exit: Tensor  # int32 (V,): the exit that each word's way takes
    below: Tensor  # int32 (V,): how many nodes its way passes below it, at its end
    turns: (
        Tensor  # (T + 1, 2T): for each exit, the nodes that a way to it passes; then those where it turns to the first child
    )

    def __init__(self, counts: Ints, visits: npt.NDArray[np.float64] | None = None, top: int = 1) -> None:
        super().__init__()
        parent, code = huffman(counts)
        size = len(counts)
        depth, rank = _depths(parent, size), _ranks(parent, code, size)
        begin = np.concatenate([[0], np.cumsum(depth[:size])])
        nodes, first = np.zeros(begin[-1], dtype=np.int32), np.zeros(begin[-1], dtype=np.int8)
        at, words = np.arange(size), np.arange(size)
        while len(words):  # all words climb one edge at a time
            place = begin[words] + depth[at] - 1
            first[place] = 1 - code[at]
            at = parent[at]
            nodes[place] = at - size
            climbing = depth[at] > 0
            at, words = at[climbing], words[climbing]
        passed = np.bincount(nodes, np.repeat(counts if visits is None else visits, depth[:size]), size - 1)
        # Whoever passes a node passes its parents, which have higher numbers: of nodes passed as often they come first.
        chosen = np.sort(np.lexsort((-np.arange(size - 1), -passed))[:top])
        in_top = np.isin(np.arange(size - 1), chosen)
        above = np.add.reduceat(in_top[nodes], begin[:-1], dtype=np.int64)  # of each way, at its beginning
        last = begin[:-1] + above - 1
        _, one, exits = np.unique(nodes[last] * 2 + first[last], return_index=True, return_inverse=True)
        turns = np.zeros((len(one), 2, len(chosen)), dtype=np.float32)
        for row, word in zip(turns, one.tolist(), strict=True):
            way = slice(begin[word], begin[word] + above[word])
            columns = np.searchsorted(chosen, nodes[way])
            row[0, columns], row[1, columns] = 1.0, first[way]
        found = {
            "begin": begin, "nodes": nodes, "first": first, "rank": rank, "top": chosen, "exit": exits.astype(np.int32),
            "below": (depth[:size] - above).astype(np.int32), "turns": turns.reshape(len(one), -1),
        }  # fmt: skip
        for name, values in found.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def ways(self, words: Tensor) -> Tensor:
        """The nodes on the ways to ``words`` (n,), one way after another: int32 (r,)."""
        begin, lengths = self.begin.index_select(0, words), self.begin.diff().index_select(0, words)
        return self.nodes.index_select(0, runs(begin, lengths))


def runs(begin: Tensor, lengths: Tensor) -> Tensor:
    """begin, begin + 1, … for each of n runs, one run after another: (n,) and (n,) → (r,)."""
    jumps = begin.clone()
    jumps[1:] -= begin[:-1] + lengths[:-1]
    return _added_up(torch.ones, jumps, lengths)


def repeated(lengths: Tensor) -> Tensor:
    """0, 1, …, each as often as ``lengths`` (n,) says: (r,)."""
    return _added_up(torch.zeros, torch.ones_like(lengths), lengths)


def _added_up(steps: Callable[..., Tensor], jumps: Tensor, lengths: Tensor) -> Tensor:
    """Of runs that begin with a jump from the number before, and go on in ``steps``: each number, if −1 is before the first.

    Additions are several times as fast as ``repeat_interleave``.
    """
    ends = lengths.cumsum(0, dtype=jumps.dtype)
    total = int(ends[-1]) if len(ends) else 0
    moves = steps(total + 1, dtype=jumps.dtype, device=jumps.device)  # behind the end there may be runs of no number
    moves.index_add_(0, ends - lengths, jumps)
    moves[0] -= 1
    return moves[:total].cumsum_(0)


def huffman(counts: Ints) -> tuple[Ints, Ints]:
    """Parent and code (0 or 1) of each node but the root: words are 0 … V−1, inner nodes V … 2V−2.

    word2vec.c's two queues: words from the rarest up, and inner nodes in the order they were made. On a tie the inner node
    is taken first; of the two that are joined, the second gets the code 1.
    """
    size = len(counts)
    weight = [*counts.tolist(), *[0] * (size - 1)]
    parent, code = np.zeros(2 * size - 1, dtype=np.int64), np.zeros(2 * size - 1, dtype=np.int64)
    word, inner = size - 1, size
    for new in range(size, 2 * size - 1):
        for bit in (0, 1):
            if word >= 0 and (inner == new or weight[word] < weight[inner]):
                lightest, word = word, word - 1
            else:
                lightest, inner = inner, inner + 1
            parent[lightest], code[lightest] = new, bit
            weight[new] += weight[lightest]
    return parent, code


def _depths(parent: Ints, size: int) -> Ints:
    """How many edges each node is from the root, (2V − 1,)."""
    depth, above = [0] * (2 * size - 1), parent.tolist()
    for node in range(2 * size - 3, -1, -1):  # parents have higher numbers
        depth[node] = depth[above[node]] + 1
    return np.array(depth)


def _ranks(parent: Ints, code: Ints, size: int) -> npt.NDArray[np.int32]:
    """The place of each word among the leaves from left to right, (V,)."""
    leaves, left_of_second = [1] * size + [0] * (size - 1), [0] * (2 * size - 1)
    above, bits = parent.tolist(), code.tolist()
    for node in range(2 * size - 2):
        leaves[above[node]] += leaves[node]
        if not bits[node]:
            left_of_second[above[node]] = leaves[node]
    place = [0] * (2 * size - 1)
    for node in range(2 * size - 3, -1, -1):
        place[node] = place[above[node]] + (left_of_second[above[node]] if bits[node] else 0)
    return np.array(place[:size], dtype=np.int32)
