"""The hierarchical softmax on a Huffman tree (Mikolov et al. 2013b, eq. 3, §2.1), with the gradients written out.

A word w is a leaf, reached from the root over the inner nodes n(w, 1), n(w, 2), … Each of them has an output vector u (the
paper's v'), and with a vector h the way turns at it to the first child with probability σ(u·h), to the second with
1 − σ(u·h) = σ(−u·h). So

    p(w | h) = Π_j σ(s_j u_n(w,j)·h)                                     (3)

where s_j, the paper's [[n(w, j+1) = ch(n(w, j))]], is 1 if w's way goes on to the first child (code 0, as in word2vec.c) and
−1 if to the second (code 1). These are the bits of Morin & Bengio 2005, on another tree; the probabilities of all words sum
to one. Of L = −log p(w | h) the derivative by the score u_n(w,j)·h is g_j = s_j (σ(s_j u_n(w,j)·h) − 1), and

    ∂L/∂h = Σ_j g_j u_n(w,j),    ∂L/∂u_n(w,j) = g_j h.

Shapes: P positions, w the largest reach of a window, W = 2w + 1, V words, L inner nodes on the longest way, d numbers.
Gradients are of the loss summed over positions. What has d columns comes and goes as the chunks of this process (see
columns.py), (…, c) each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from word2vec.model.columns import Chunks, Columns
from word2vec.model.negative import halo, total
from word2vec.model.windows import turned


class HuffmanTree(nn.Module):
    """The ways to the words: ``nodes`` (V, L), n(w, j) from the root on; ``sign`` (V, L), s_j, or 0 behind a way's end.

    Inner nodes are numbered from 0 to V−2 in the order in which they are made, so that the root is V−2.
    """

    nodes: Tensor
    sign: Tensor

    def __init__(self, counts: npt.NDArray[np.int64]) -> None:
        """``counts`` (V ≥ 2,) must not rise, as in a Vocab."""
        super().__init__()
        parent, code = huffman(counts)
        size = len(counts)
        depth = np.zeros(2 * size - 1, dtype=np.int64)  # the root's is 0
        for node in range(2 * size - 3, -1, -1):  # parents have higher numbers
            depth[node] = depth[parent[node]] + 1
        longest = int(depth[:size].max())
        nodes, sign = np.zeros((size, longest), dtype=np.int32), np.zeros((size, longest), dtype=np.int8)
        at, words = np.arange(size), np.arange(size)
        while len(words):  # all words climb one edge at a time
            level = depth[at] - 1
            sign[words, level] = 1 - 2 * code[at]
            at = parent[at]
            nodes[words, level] = at - size
            climbing = depth[at] > 0
            at, words = at[climbing], words[climbing]
        self.register_buffer("nodes", torch.from_numpy(nodes), persistent=False)
        self.register_buffer("sign", torch.from_numpy(sign), persistent=False)


def huffman(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
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


def skipgram(
    x: Chunks, table: Chunks, tree: HuffmanTree, words: Tensor, inside: Tensor, columns: Columns
) -> tuple[Chunks, tuple[Tensor, Chunks], Tensor]:
    """Each word predicts the words in its window: −Σ log p(w_j | x_i) over i and the j in i's window.

    ``x`` (P + 2w, d): input rows between margins; ``table`` (V−1, d): the nodes' vectors; ``words`` (P,); ``inside``
    (P, W): which of the places around a position its window holds, 1 or 0 (see windows.py). Returns the gradient for
    the positions' rows (P, d), (nodes, gradients) for the table's rows, and the mean loss of a prediction.
    """
    p, width = inside.shape
    window = width // 2
    # Each word is predicted by the positions around it, so that its way is looked up once. ``inside`` says which words a
    # position predicts; turned, which positions predict its word.
    hidden = [halo(chunk, window, 1) for chunk in x]
    d_around, output, loss = predict(hidden, table, tree, words, turned(inside), columns)  # d_around: shape (P, W, c)
    dx = [torch.zeros_like(chunk) for chunk in x]
    for dx_c, d_around_c in zip(dx, d_around, strict=True):
        for place in range(width):  # position q's place j is the row q + j between margins
            dx_c[place : place + p] += d_around_c[:, place]
    return [chunk[window : window + p] for chunk in dx], output, loss


def predict(
    h: Chunks, table: Chunks, tree: HuffmanTree, words: Tensor, counted: Tensor, columns: Columns
) -> tuple[Chunks, tuple[Tensor, Chunks], Tensor]:
    """Each of m hidden vectors predicts the position's word: ``h`` (P, m, d), ``words`` (P,), ``counted`` (P, m) 1 or 0.

    Returns the gradient for ``h`` (P, m, d), (nodes (r,), gradients (r, d)), and the mean loss of a prediction.
    """
    nodes, sign = tree.nodes.index_select(0, words), tree.sign.index_select(0, words)
    longest = int(sign.count_nonzero(1).max())  # of these words; from here on it is L
    nodes, sign = nodes[:, :longest], sign[:, :longest].to(h[0].dtype)  # shape: (P, L)
    at = nodes.flatten()
    u = [chunk.index_select(0, at).view(len(words), longest, -1) for chunk in table]  # shape: (P, L, c)
    (score,) = columns.add((torch.bmm(h_c, u_c.transpose(1, 2)),) for h_c, u_c in zip(h, u, strict=True))  # shape: (P, m, L)
    p_turn = score.mul_(sign.unsqueeze(1)).sigmoid_()  # σ(s_j u_n(w,j)·h): that the way turns as it does
    used = sign.abs().unsqueeze(1) * counted.unsqueeze(2)  # shape: (P, m, L), 1 or 0
    tiny = torch.finfo(p_turn.dtype).tiny
    loss = -total(p_turn.clamp(min=tiny).log_().mul_(used)) / counted.sum().clamp(min=1.0)
    g = p_turn.sub_(1.0).mul_(used).mul_(sign.unsqueeze(1))  # ∂L/∂score
    on_way = (sign != 0).flatten().nonzero().squeeze(1)  # shape: (r,), of the P·L
    du = [torch.bmm(g.transpose(1, 2), chunk).flatten(0, 1).index_select(0, on_way) for chunk in h]  # shape: (r, c)
    dtable = at.index_select(0, on_way).long(), du
    return [torch.bmm(g, chunk) for chunk in u], dtable, loss
