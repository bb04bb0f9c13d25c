"""The hierarchical softmax on a Huffman tree (Mikolov et al. 2013b, eq. 3, §2.1), with the gradients written out.

A word w is a leaf, reached from the root over the inner nodes n(w, 1), n(w, 2), … Each of them has an output vector u (the
paper's v'), and with a vector h the way turns at it to the first child with probability σ(u·h), to the second with
1 − σ(u·h) = σ(−u·h). So

    p(w | h) = Π_j σ(s_j u_n(w,j)·h)                                     (3)

where s_j, the paper's [[n(w, j+1) = ch(n(w, j))]], is 1 if w's way goes on to the first child (code 0, as in word2vec.c) and
−1 if to the second (code 1). These are the bits of Morin & Bengio 2005, on another tree; the probabilities of all words sum
to one. Of L = −log p(w | h) the derivative by the score u_n(w,j)·h is g_j = σ(u_n(w,j)·h) − [s_j = 1], and

    ∂L/∂h = Σ_j g_j u_n(w,j),    ∂L/∂u_n(w,j) = g_j h.

The score of a vector h and a node does not depend on the word that h predicts. So at the T nodes that most words pass, the
tree's top (see huffman.py), no pair is formed: one product has the scores of all h with all of them, and g, summed over the
words that an h predicts, is B σ(score) − A, if B of their ways pass the node and A turn to its first child. Below the top an
h meets few of the nodes, each mostly for one word; there each visit, of an h to a node for a word, is computed by itself.

Shapes: P positions, w the largest reach of a window, W = 2w + 1, V words, d numbers; T nodes in the top; below it r entries,
each a position's word and a node on its way, which are of n different nodes, and v visits. Gradients are of the loss summed
over positions. What has d columns comes and goes as the chunks of this process (see columns.py), (…, c) each.
"""

from __future__ import annotations

import itertools
import warnings
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from word2vec.model.beside import shared
from word2vec.model.columns import Chunks, Columns, Squares
from word2vec.model.huffman import HuffmanTree, repeated, runs
from word2vec.model.windows import around, bags, turned, weighted_sum

SKIPGRAM_TOP = 64
CBOW_TOP = 16
"""T: about where one more column of a product costs as much as its node's visits, of which CBOW has fewer."""
BLOCK = 64
"""So many positions are multiplied at a time: a product's blocks are shared out to threads, but none is cut for them."""
PIECES = 4
"""So many pieces of work are made of the visits, for two threads: each takes one when it has done another."""
LOSS_POSITIONS = 256
"""The loss is reported from so many positions of a batch: the step does not need it, and logarithms are dear."""


class Entries(NamedTuple):
    """The nodes below the top on the ways to the words at P positions."""

    begin: Tensor  # int32 (P + 1,): where each position's entries begin, and r
    first: Tensor  # int8 (r,): 1 where the way turns to the first child
    column: Tensor  # int32 (r,): which of ``nodes`` it is
    nodes: Tensor  # int32 (n,), each once
    seen: Tensor  # int64 (n,): how many entries are of it
    order: Tensor  # int32 (r,): the entries, those of a node together
    position: Tensor  # int64 (r,): whose these are


class Visits(NamedTuple):
    """Which h visits which node below the top: by the positions of h, and by nodes."""

    begin: Tensor  # int32 (P + 1,): where each position's visits begin, and v
    entry: Tensor | None  # int32 (v,): of which entry each is; None where they are the entries themselves
    node_begin: Tensor  # int32 (n + 1,): where each node's visits begin, and v
    position: Tensor  # int32 (v,): whose h they are of
    at: Tensor  # int32 (v,): the place of each in the order by positions


class Plan(NamedTuple):
    """Which h meets which nodes, and to what end: a function of the batch alone, whatever the vectors are."""

    predictions: Tensor  # (P,): how many words each h predicts
    passes: Tensor  # (P, 2T): B of each h and node of the top, then A
    visits: Visits
    column: Tensor  # int32 (v,): of each visit, which of the n nodes it is to
    first: Tensor  # (v,): 1 where the way turns to the first child there, else 0
    nodes: Tensor  # int64 (T + n,): rows of the table, each once
    seen: Tensor  # (T + n,): how many of the predicted words' ways pass each of them


class Result(NamedTuple):
    """What came of predicting words from h."""

    dh: Chunks  # (P, c): the gradients of h
    dtable: Chunks  # (T + n, c): those of the plan's nodes
    loss: Tensor  # the mean loss of a prediction, of the batch's first positions
    sums: list[Tensor]  # over all chunks, of ``squares``


def skipgram(tree: HuffmanTree, words: Tensor, inside: Tensor) -> Plan:
    """Each h predicts the words in its window: Σ log p(w_j | h_i) over i and the j in i's window.

    Args:
        tree: the ways to the words.
        words: (P,).
        inside: which of the places around a position its window holds, 1 or 0, (P, W); see windows.py.
    """
    window = inside.shape[1] // 2
    by = turned(inside)  # shape: (P, W), which positions predict a word
    predicted = by.amax(1)
    exits = around(pad(tree.exit.index_select(0, words), (window, window)), window).contiguous()  # shape: (P, W)
    entries = entries_of(tree, words, predicted)
    passes = weighted_sum(tree.turns, exits, inside)
    return _plan(tree, words, predicted, inside.sum(1), passes, entries, window_visits(entries, inside, by))


def cbow(tree: HuffmanTree, words: Tensor, counted: Tensor) -> Plan:
    """Each h predicts its position's word: ``words`` (P,), ``counted`` (P,) 1, or 0 for none."""
    passes = tree.turns.index_select(0, tree.exit.index_select(0, words)).mul_(counted.unsqueeze(1))
    entries = entries_of(tree, words, counted)
    return _plan(tree, words, counted, counted, passes, entries, own_visits(entries))


def _plan(
    tree: HuffmanTree,
    words: Tensor,
    predicted: Tensor,
    predictions: Tensor,
    passes: Tensor,
    entries: Entries,
    visits: Visits,
) -> Plan:
    """From the ``words`` (P,), where ``predicted`` (P,) is 1 and not 0, and how many of them each h predicts, (P,)."""
    first, column = entries.first, entries.column
    if visits.entry is not None:
        first, column = first.index_select(0, visits.entry), column.index_select(0, visits.entry)
    exits = predicted.new_zeros(len(tree.turns)).index_add_(0, tree.exit.index_select(0, words), predicted)
    top_seen = exits @ tree.turns[:, : len(tree.top)]  # whole numbers: exact in any order
    nodes, seen = torch.cat([tree.top, entries.nodes]), torch.cat([top_seen, entries.seen.to(predicted.dtype)])
    return Plan(predictions, passes, visits, column, first.to(predicted.dtype), nodes, seen)


def predict(h: Chunks, table: Chunks, tree: HuffmanTree, plan: Plan, squares: Squares, columns: Columns) -> Result:
    """The gradients, and the loss.

    Args:
        h: (P, d).
        table: the nodes' vectors, (V − 1, d).
        tree: the ways to the words.
        plan: what each h has to predict.
        squares: what is to be added up over all chunks, beside the scores.
        columns: adds it up.
    """
    (b, a), visits = plan.passes.chunk(2, 1), plan.visits

    u = [(chunk.index_select(0, tree.top), chunk.index_select(0, plan.nodes[len(tree.top) :])) for chunk in table]
    parts = parts_of(h[0], len(plan.nodes) - len(tree.top), visits.begin, plan.column)

    def of_top() -> Chunks:
        return [products(h_c, top_c.t()) for h_c, (top_c, _) in zip(h, u, strict=True)]

    def of_visits(part: Part) -> Chunks:
        return [scores(h_c, below_c, part) for h_c, (_, below_c) in zip(h, u, strict=True)]

    top_scores, visit_scores = shared(of_top, *(partial(of_visits, part) for part in parts))
    score, visit_score, *sums = columns.add(
        (top_c, torch.cat(below_c), *squares_c)
        for top_c, below_c, squares_c in zip(top_scores, zip(*visit_scores, strict=True), squares, strict=True)
    )
    # shapes: (P, T), (v,)
    loss = _loss(score, visit_score, plan)
    visit_score.sigmoid_().sub_(plan.first)  # g

    def gradients() -> tuple[Chunks, Chunks]:
        """Of h, and of the top's nodes; the top's scores become g."""
        score.sigmoid_().mul_(b).sub_(a)
        dh = [products(score, top_c) for top_c, _ in u]
        for dh_c, (_, below_c) in zip(dh, u, strict=True):
            dh_c.add_(bags(below_c, plan.column, visits.begin, visit_score))
        return dh, [summed_products(score, h_c) for h_c in h]

    def below_gradients(nodes: slice) -> Chunks:
        """Of the nodes below."""
        begin, end = (int(visits.node_begin[node]) for node in (nodes.start, nodes.stop))
        by_node = visit_score.index_select(0, visits.at[begin:end])
        bounds = visits.node_begin[nodes.start : nodes.stop + 1] - begin
        return [bags(h_c, visits.position[begin:end], bounds, by_node) for h_c in h]

    (dh, dtop), dbelow = shared(gradients, *(partial(below_gradients, nodes) for nodes in slices(visits.node_begin)))
    dtable = [torch.cat(each) for each in zip(dtop, *dbelow, strict=True)]
    return Result(dh, dtable, loss, sums)


def entries_of(tree: HuffmanTree, words: Tensor, predicted: Tensor) -> Entries:
    """Those of the ``words`` (P,) where ``predicted`` (P,) is not 0."""
    lengths = tree.below.index_select(0, words).masked_fill_(predicted == 0, 0)
    begin = pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    at = runs(tree.begin[1:].index_select(0, words) - lengths, lengths)
    nodes = tree.nodes.index_select(0, at)
    # In the order of the leaves, words below a node are neighbors, and pass it at the same place of their ways.
    by_leaf = tree.rank.index_select(0, words).argsort(stable=True)
    level = torch.arange(int(lengths.max()), dtype=torch.int32, device=words.device).unsqueeze(1)
    level, leaf = (level < lengths.index_select(0, by_leaf)).nonzero(as_tuple=True)  # shape: (r,) each
    position = by_leaf.index_select(0, leaf)
    order = begin.index_select(0, position).add_(level)
    own, inverse, seen = torch.unique_consecutive(nodes.index_select(0, order), return_inverse=True, return_counts=True)
    column = torch.empty_like(nodes).index_copy_(0, order.long(), inverse.int())
    return Entries(begin, tree.first.index_select(0, at), column, own, seen, order, position)


def window_visits(entries: Entries, inside: Tensor, by: Tensor) -> Visits:
    """Those of each position to the words in its window: ``inside`` (P, W), and ``by`` (P, W), the same turned.

    The entries of the words before a position are neighbors, and so are those of the words behind it: a position's visits
    are two runs of entries.
    """
    p, width = inside.shape
    window = width // 2
    own = torch.arange(p, device=inside.device)
    left, right = inside[:, :window].sum(1).long(), inside[:, window + 1 :].sum(1).long()
    words = torch.stack([own - left, own, own + 1, own + 1 + right], 1).clamp_(max=p)  # where the runs begin and end
    bounds = entries.begin.index_select(0, words.flatten()).view(-1, 2)
    lengths = bounds[:, 1] - bounds[:, 0]  # shape: (2P,)
    begin = pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    # A position's visit to an entry has the entry's number, moved by ``shift``, one for each of its runs.
    shift = begin[:-1] - bounds[:, 0]
    word, place = (by != 0).nonzero(as_tuple=True)  # pairs, by the word that is predicted
    position = word + place - window
    shift = shift.index_select(0, 2 * position + (place < window))  # a word behind the position is in its second run
    visitors = by.sum(1).int()  # of each entry of a word
    pair_begin = (visitors.cumsum(0, dtype=torch.int32) - visitors).index_select(0, entries.position)
    visitors = visitors.index_select(0, entries.position)
    pair = runs(pair_begin, visitors)
    at = entries.order.index_select(0, repeated(visitors)).add_(shift.index_select(0, pair))
    ends = pad(visitors.cumsum(0, dtype=torch.int32), (1, 0))
    node_begin = ends.index_select(0, pad(entries.seen.cumsum(0), (1, 0)))
    return Visits(begin[::2].contiguous(), runs(bounds[:, 0], lengths), node_begin, position.int().index_select(0, pair), at)


def own_visits(entries: Entries) -> Visits:
    """Those of each position to its own word."""
    node_begin = pad(entries.seen.cumsum(0), (1, 0)).int()
    return Visits(entries.begin, None, node_begin, entries.position.int(), entries.order)


def products(rows: Tensor, table: Tensor) -> Tensor:
    """rows (P, m) × table (m, k) → (P, k), the same bits for any number of threads."""
    blocks = in_blocks(rows)
    return torch.bmm(blocks, table.expand(len(blocks), *table.shape)).flatten(0, 1)[: len(rows)]


def summed_products(a: Tensor, b: Tensor) -> Tensor:
    """aᵀ (m, P) × b (P, k) → (m, k), likewise."""
    return torch.bmm(in_blocks(a).transpose(1, 2), in_blocks(b)).sum(0)


def in_blocks(rows: Tensor) -> Tensor:
    """(P, m) → (P / BLOCK, BLOCK, m), a view if P is a multiple of it, else with rows of zeros at the end."""
    lacking = -len(rows) % BLOCK
    return (pad(rows, (0, 0, 0, lacking)) if lacking else rows).view(-1, BLOCK, rows.shape[1])


class Part(NamedTuple):
    """Neighboring positions, and their visits."""

    positions: slice
    at: Tensor  # which scores of (positions, n) are the visits': a sparse matrix, or where they stand in all of them


def parts_of(h: Tensor, n: int, begin: Tensor, column: Tensor) -> list[Part]:
    """The positions, in parts with about as many visits each.

    Args:
        h: (P, c), of which the scores will be.
        n: of how many nodes.
        begin: (P + 1,), where each position's visits begin, and v.
        column: (v,), to which of the nodes each is.
    """
    p = len(h)
    if len(column) >= p * n or h.is_cuda:  # more of them than of all scores, or CUDA's kernel may want what is said below
        return [Part(slice(0, p), torch.repeat_interleave(begin.diff()).mul_(n).add_(column))]
    cuts = slices(begin)
    visits = [slice(*begin[[each.start, each.stop]].tolist()) for each in cuts]
    if any(of.stop - of.start >= (each.stop - each.start) * n for each, of in zip(cuts, visits, strict=True)):
        cuts, visits = [slice(0, p)], [slice(0, len(column))]
    with warnings.catch_warnings():  # torch says once that its sparse matrices are new
        warnings.simplefilter("ignore")

        def part(positions: slice, visits: slice) -> Part:
            size = (positions.stop - positions.start, n)
            bounds = begin[positions.start : positions.stop + 1] - visits.start
            # The nodes of a row stand in the order of the words, and some twice: no form that is checked, but read as any.
            values = h.new_zeros(visits.stop - visits.start)
            at = torch.sparse_csr_tensor(bounds, column[visits], values, size, check_invariants=False)
            return Part(positions, at)

        return [part(*each) for each in zip(cuts, visits, strict=True)]


def slices(begin: Tensor) -> list[slice]:
    """Up to PIECES slices of n things, with about as many visits each: ``begin`` (n + 1,), where each one's begin, and v."""
    n = len(begin) - 1
    wanted = torch.arange(1, PIECES, device=begin.device) * int(begin[-1]) // PIECES
    bounds = sorted({0, n, *torch.searchsorted(begin, wanted.to(begin.dtype)).clamp_(max=n).tolist()})
    return [slice(*pair) for pair in itertools.pairwise(bounds)] or [slice(0, 0)]


def scores(h: Tensor, u: Tensor, part: Part) -> Tensor:
    """u_n·h_p for the nodes that a part's positions visit: h (P, c), u (n, c) → as many as visits."""
    if part.at.is_sparse_csr:
        found: Tensor = torch.sparse.sampled_addmm(part.at, h[part.positions], u.t(), beta=0.0).values()
        return found
    return products(h, u.t()).flatten().index_select(0, part.at)


def _loss(score: Tensor, visit_score: Tensor, plan: Plan) -> Tensor:
    """Equation 3, per prediction, of the first positions: from the scores (P, T) in the top and (v,) below it."""
    predictions = plan.predictions
    n = LOSS_POSITIONS if bool(predictions[:LOSS_POSITIONS].any()) else len(predictions)
    visits = int(plan.visits.begin[: n + 1][-1])
    b, a = plan.passes[:n].chunk(2, 1)
    top = _log_sigmoid(score[:n]).mul_(a).add_(_log_sigmoid(-score[:n]).mul_(b - a)).sum(1).sum()
    below = _log_sigmoid(visit_score[:visits] * (2.0 * plan.first[:visits] - 1.0)).sum()
    return (top + below).neg_() / predictions[:n].sum().clamp(min=1.0)


def _log_sigmoid(score: Tensor) -> Tensor:
    return score.sigmoid().clamp_(min=torch.finfo(score.dtype).tiny).log_()
