"""Word2Vec: two tables of vectors, and the gradients of its six objectives, written out by hand.

Skip-gram predicts the words around a word, CBOW a word from the mean of those around it (Mikolov et al. 2013a, §3). What
"predict" means is the loss: negative sampling (2013b, eq. 4; word2vec/model/negative.py), the full softmax (2013b, eq. 2;
word2vec/model/softmax.py) or the hierarchical softmax (2013b, eq. 3; word2vec/model/hierarchical.py).

Of the papers' names, h is the vector that predicts, x are input vectors (the paper's v), u output vectors (its v'); dh, dx
and du are the gradients of the loss, which is summed over the batch's predictions.
Shapes: P positions of a batch, ``batch.n`` words and then padding; w the largest reach of a window, W = 2w + 1 places around
a position; V words; d numbers. Of these a process has chunks of c columns, which stand in lists; mostly there is one, of all
(see word2vec/model/columns.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import Optimizer

from training import randomness
from training.parallel.group import Group, join
from word2vec.config import Word2VecConfig
from word2vec.model import hierarchical, negative, softmax, windows
from word2vec.model.beside import both
from word2vec.model.columns import Chunks, Columns
from word2vec.model.huffman import HuffmanTree
from word2vec.text.batches import Batch
from word2vec.text.vocab import Vocab

LARGEST = 1.0
INIT_ROWS = 1 << 14
SAMPLE = 1 << 14  # numbers that stand for all where a mean length is needed; a sum of so many is not split among threads


class RowGradient(NamedTuple):
    """The gradient of some rows of a parameter, scaled by each row's rate. A row may be there several times: they add up."""

    rows: Tensor  # int64 (r,)
    values: Tensor  # float32 (r, c)


class TableGradient(NamedTuple):
    """That of all chunks of a table."""

    rows: Tensor  # int64 (r,)
    values: Chunks  # float32 (r, c) each


class Rate(Protocol):
    """What to scale the gradients of rows by: from ``seen`` (r,), how often each is in the batch, and ``curvature``.

    ``curvature`` is a scalar: the second derivative of the loss that an occurrence adds to its row, roughly. A prediction
    with the score s = u·h adds σ'(s)·h·hᵀ to that of u, and σ'(s)·u·uᵀ to that of h (in the softmaxes likewise): so it is
    taken as the number of predictions times the mean squared length of the vectors on the other side.
    """

    def __call__(self, seen: Tensor, curvature: Tensor) -> Tensor: ...


class Contexts(NamedTuple):
    """What CBOW reads off a batch's P positions; with negative sampling in an order where a group's words are neighbors."""

    words: Tensor  # int64 (P,): in the middle of each window, the word that it predicts
    seen: Tensor  # (P,): how often that word is in the batch
    around: Tensor  # int32 (P, W): the words around it
    masks: Tensor  # int64 (P,): which of them its window holds, a row of windows.masks
    counted: Tensor  # (P,): 1, or 0 where the window is empty
    size: Tensor  # (): of a window, the mean
    given: Tensor  # (P, W): what the word gets of dh of each position around it


class Prepared(NamedTuple):
    """What a step with the hierarchical softmax reads off its batch, whatever the vectors are."""

    plan: hierarchical.Plan
    sampled: Tensor  # int32: some nodes, one for each time that the batch's words pass it
    seen: Tensor  # (P,): how often each word is in the batch
    size: Tensor  # (): of a window, the mean
    contexts: Contexts | None  # of CBOW


class Prediction(NamedTuple):
    """What came of predicting words from h: its gradient, that of the output table's rows, the mean loss of a prediction."""

    dh: Chunks
    output: TableGradient
    loss: Tensor


class Word2Vec(nn.Module):
    """``input`` (V, d) holds the word vectors, ``output`` the vectors that words, or a tree's nodes, are predicted by.

    Input vectors begin uniform in ±1/(2d), from (seed, "init"), output vectors as zeros, as in word2vec.c. ``output`` is
    (V, d), of hierarchical softmax (V − 1, d). There is no ``forward``: ``step`` makes ``gradients``, which RowSGD adds.
    With ``config.shards`` the columns are cut into chunks, parameters ``input_0``, ``input_1``, …; each process has some.

    Args:
        vocab: the V words with their counts, from which come the noise distribution and the Huffman tree.
        config: the architecture, the loss and their sizes.
        group: the processes that share the columns; None for those that were started together.

    Source: Mikolov et al. 2013a, section 3; 2013b, equations 2 to 4; Levy & Goldberg 2014, section 2; Morin & Bengio 2005.

    Example:
        >>> from word2vec import RowSGD, Vocab, Word2Vec, Word2VecConfig
        >>> import numpy as np
        >>> import torch
        >>> from word2vec.text.batches import Batch
        >>> vocab = Vocab(("the", "cat", "sat"), np.array([9, 4, 2]))
        >>> config = Word2VecConfig(dim=4, window=1, noise_words=3, block=3)
        >>> model = Word2Vec(vocab, config)
        >>> optimizer = RowSGD(model, lr=0.05, damping=config.damping)
        >>> left, right = torch.tensor([[0, 1, 1], [1, 1, 0]], dtype=torch.int8)
        >>> batch = Batch(words=torch.tensor([0, 1, 2]), left=left, right=right, n=3, read=3)  # "the cat sat"
        >>> losses = []
        >>> for _ in range(100):
        ...     losses.append(float(model.step(batch, optimizer.rate)))
        ...     optimizer.step()
        >>> losses[-1] < losses[0]
        True
        >>> tuple(model.input.shape), tuple(model.gradients["input"].values.shape)
        ((3, 4), (3, 4))
    """

    input: nn.Parameter  # where it is not cut
    output: nn.Parameter
    noise_weight: Tensor  # (V,): P(n)/Q(n)
    masks: Tensor  # ((w + 1)², W): which places each possible window holds
    sizes: Tensor  # ((w + 1)²,): how many these are
    means: Tensor  # ((w + 1)², W): 1 / size at these places

    def __init__(self, vocab: Vocab, config: Word2VecConfig, group: Group | None = None) -> None:
        super().__init__()
        self.config, self.vocab_size = config, len(vocab)
        self.columns = Columns(config.dim, group or join(config))
        self.tree = huffman_tree(vocab, config) if config.loss == "hierarchical" else None
        for name, chunk in zip(self.columns.names("input"), initial_chunks(len(vocab), config, self.columns), strict=True):
            self.register_parameter(name, nn.Parameter(chunk))
        size = len(vocab) - 1 if self.tree else len(vocab)
        for name, own in zip(self.columns.names("output"), self.columns.own, strict=True):
            self.register_parameter(name, nn.Parameter(torch.zeros(size, own.stop - own.start)))
        weight = noise_weights(vocab, config) if config.loss == "negative" else torch.zeros(0)
        masks = windows.masks(config.window)
        sizes = masks.sum(1)
        self.register_buffer("noise_weight", weight, persistent=False)
        self.register_buffer("masks", masks, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("means", masks / sizes.unsqueeze(1).clamp(min=1.0), persistent=False)
        self.gradients: dict[str, RowGradient] = {}
        self._zeros, self._around = torch.zeros(0), torch.zeros(0, 0, dtype=torch.int64)

    @torch.no_grad()
    def step(self, batch: Batch, rate: Rate = lambda seen, curvature: torch.ones_like(seen)) -> Tensor:
        """Compute ``gradients`` for a batch: "input" and "output", by the table that they belong to.

        Args:
            batch: the words and their windows.
            rate: the factor of the gradients of rows; without it they are those of the loss. See RowSGD.rate.

        Returns:
            The mean loss of a prediction (nats), a scalar, estimated from some of the batch's words.
        """
        if self.config.architecture == "skipgram":
            return self._skipgram(batch, rate)
        return self._cbow(batch, rate)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Batch:
        """The batch with all that its step needs besides the vectors, so that another thread can compute it ahead.

        Without it the step computes this itself. Only for the hierarchical softmax is it worth a thread.
        """
        if self.tree is None or self.masks.is_cuda:
            return batch
        return batch.with_prepared(self._prepared(batch, self.tree))

    def _prepared(self, batch: Batch, tree: HuffmanTree) -> Prepared:
        """What ``prepare`` has put beside the batch, or is to put there."""
        if batch.prepared is not None:
            found: Prepared = batch.prepared
            return found
        sampled = tree.ways(batch.words[: self._sample])[: self._sample]
        if self.config.architecture == "skipgram":
            plan = hierarchical.skipgram(tree, batch.words, self._inside(batch))
            return Prepared(plan, sampled, self._seen(batch.words[: batch.n], batch.words), self._window_size(batch), None)
        contexts = self._contexts(batch)
        plan = hierarchical.cbow(tree, contexts.words, contexts.counted)
        return Prepared(plan, sampled, contexts.seen, contexts.size, contexts)

    def chunks(self, table: str) -> Chunks:
        """The chunks of "input" or "output" that this process has; the whole table, if it is not cut."""
        return [self.get_parameter(name) for name in self.columns.names(table)]

    def _note_gradients(self, **tables: TableGradient) -> None:
        self.gradients = {
            name: RowGradient(found.rows, values)
            for table, found in tables.items()
            for name, values in zip(self.columns.names(table), found.values, strict=True)
        }

    # -- skip-gram: h is a word's own input vector, and predicts the words of its window

    def _skipgram(self, batch: Batch, rate: Rate) -> Tensor:
        window, words = self.config.window, batch.words
        x = [windows.margined(chunk, words, window) for chunk in self.chunks("input")]  # shape: (P + 2w, c)
        predict = self._skipgram_negative if self.config.loss == "negative" else self._skipgram_softmax
        dx, output, loss = predict(batch, x, rate)
        self._note_gradients(input=TableGradient(words[: batch.n], [chunk[: batch.n] for chunk in dx]), output=output)
        return loss

    def _window_size(self, batch: Batch) -> Tensor:
        """Of a window, the mean, a scalar: so many predictions has a word."""
        return (batch.left + batch.right).to(self.masks.dtype).sum() / max(1, batch.n)

    def _skipgram_negative(self, batch: Batch, x: Chunks, rate: Rate) -> Prediction:
        """The gradients come scaled from negative.skipgram, which has fewer numbers to multiply."""
        config, words, window = self.config, batch.words, self.config.window
        size, seen = self._window_size(batch), self._seen(words[: batch.n], words)  # shapes: (), (P,)
        u = [windows.margined(chunk, words, window) for chunk in self.chunks("output")]  # shape: (P + 2w, c)
        first = [self._first([chunk[window : window + len(words)] for chunk in each]) for each in (x, u)]

        def scale(*squares: Tensor) -> tuple[Tensor, Tensor]:
            square_x, square_u = _means(squares, first)
            return rate(seen, size * square_u), rate(seen, size * square_x)

        dx, du, loss = negative.skipgram(
            x, u, self._places(len(words)), self._inside(batch), self._omega(batch), _square_sums(first), scale,
            columns=self.columns, negative=config.negative, group=config.noise_words, block=config.block,
        )  # fmt: skip
        return Prediction(dx, TableGradient(words[: batch.n], [chunk[: batch.n] for chunk in du]), loss)

    def _skipgram_softmax(self, batch: Batch, x: Chunks, rate: Rate) -> Prediction:
        window, words, table = self.config.window, batch.words, self.chunks("output")
        own = [chunk[window : window + len(words)] for chunk in x]  # shape: (P, c)
        if self.tree is not None:
            return self._skipgram_hierarchical(batch, own, self.tree, rate)
        size, seen = self._window_size(batch), self._seen(words[: batch.n], words)  # shapes: (), (P,)
        first = [self._first(own), self._first(table)]
        squares, columns = _square_sums(first), self.columns
        dx, dtable, loss, sums = softmax.skipgram(own, table, words, batch.left, batch.right, window, squares, columns)
        square_x, square_u = _means(sums, first)
        output = self._all_rows(batch, dtable, rate, size * square_x)
        scale = rate(seen, size * square_u).unsqueeze(1)
        return Prediction([chunk.mul_(scale) for chunk in dx], output, loss)

    def _skipgram_hierarchical(self, batch: Batch, own: Chunks, tree: HuffmanTree, rate: Rate) -> Prediction:
        (plan, sampled, seen, size, _), table = self._prepared(batch, tree), self.chunks("output")
        first = [self._first(own), [chunk.index_select(0, sampled) for chunk in table]]
        found = hierarchical.predict(own, table, tree, plan, _square_sums(first), self.columns)
        square_x, square_u = _means(found.sums, first)
        output = self._node_rows(found, plan, rate, size * square_x)
        scale = rate(seen, size * square_u).unsqueeze(1)
        return Prediction([chunk.mul_(scale) for chunk in found.dh], output, found.loss)

    def _inside(self, batch: Batch) -> Tensor:
        """Which of the places around each position its window holds, 1 or 0: (P, W)."""
        return self.masks.index_select(0, windows.mask_rows(batch.left, batch.right, self.config.window))

    def _places(self, positions: int) -> Tensor:
        """The rows around each position between margins: int64 (P, W)."""
        if len(self._around) < positions or self._around.device != self.masks.device:
            place = torch.arange(positions + 2 * self.config.window, device=self.masks.device)
            self._around = windows.around(place, self.config.window).contiguous()
        return self._around[:positions]

    # -- CBOW: h is the mean of a window's input vectors, and predicts the word in the middle

    def _cbow(self, batch: Batch, rate: Rate) -> Tensor:
        prepared = None if self.tree is None else self._prepared(batch, self.tree)
        contexts = (prepared and prepared.contexts) or self._contexts(batch)
        means = self.means.index_select(0, contexts.masks)
        h = [windows.weighted_sum(chunk, contexts.around, means) for chunk in self.chunks("input")]  # shape: (P, c)
        if self.config.loss == "negative":
            dh, output, loss = self._cbow_negative(batch, contexts, h, rate)
        elif self.tree is not None and prepared is not None:
            contexts = contexts._replace(given=contexts.given.clone())  # which is scaled in place: the batch stays as it is
            dh, output, loss = self._cbow_hierarchical(self.tree, prepared, contexts, h, rate)
        else:
            dh, output, loss = self._cbow_softmax(batch, contexts, h, rate)
        positions = negative.neighbors(len(means), self._cbow_group, self.config.window, means.device)  # shape: (P, W)
        # A word gets its part of dh from each window that it is in.
        dx = [windows.weighted_sum(chunk, positions, contexts.given) for chunk in dh]
        self._note_gradients(input=TableGradient(contexts.words, dx), output=output)
        return loss

    @property
    def _cbow_group(self) -> int:
        """How many words stand side by side: with negative sampling those of a group, in one stretch of memory."""
        return self.config.noise_words if self.config.loss == "negative" else 1

    def _contexts(self, batch: Batch) -> Contexts:
        """All that is read off the batch. First what one thread does alone: threads that wait for long fall asleep."""
        config, window, group = self.config, self.config.window, self._cbow_group
        margins = (window, window)
        in_order = windows.mask_rows(batch.left, batch.right, window)  # shape: (P,)
        words, masks = negative.arranged(batch.words, group), negative.arranged(in_order, group)
        seen, size = self._seen(batch.words[: batch.n], words), self.sizes.index_select(0, masks)
        counted, mean_size = (size > 0).to(size.dtype), size.sum() / max(1, batch.n)
        around = negative.arranged(windows.around(pad(batch.words.int(), margins), window), group)
        # h is a mean, so that of dh each word gets 1/size (corrected); word2vec.c gives it the whole. The margins' windows
        # are empty (row 0), and no window reaches them: any row may stand there.
        gives = self.means if config.cbow_gradient == "corrected" else self.masks
        given = negative.arranged(windows.turned_within(gives.index_select(0, pad(in_order, margins))), group)
        return Contexts(words, seen, around, masks, counted, mean_size, given)

    def _scale_given(self, contexts: Contexts, rate: Rate, square: Tensor) -> None:
        """Scale what the input rows get by their rates, in place; ``square`` is the output vectors' mean squared length.

        It is the curvature for h, which moves by the mean of its words' moves when all of them do: these are divided by the
        window's size (corrected) or not.
        """
        curvature = square if self.config.cbow_gradient == "corrected" else contexts.size * square
        contexts.given.mul_(rate(contexts.seen, curvature).unsqueeze(1))

    def _cbow_negative(self, batch: Batch, contexts: Contexts, h: Chunks, rate: Rate) -> Prediction:
        group, columns = self._cbow_group, self.columns
        omega = negative.arranged(self._omega(batch), group)
        u = [chunk.index_select(0, contexts.words) for chunk in self.chunks("output")]
        first = [self._first(each) for each in (h, u)]

        def scale(*squares: Tensor) -> Tensor:
            square_h, square_u = _means(squares, first)
            self._scale_given(contexts, rate, square_u)
            return rate(contexts.seen, square_h)

        h_groups, u_groups = ([chunk.view(-1, group, chunk.shape[1]) for chunk in each] for each in (h, u))  # (m, M, c)
        dh, du, loss = negative.cbow(
            h_groups, u_groups, contexts.counted.view(-1, group), omega.view(-1, group), _square_sums(first), scale,
            columns=columns, negative=self.config.negative,
        )  # fmt: skip
        output = TableGradient(contexts.words, [chunk.flatten(0, 1) for chunk in du])
        return Prediction([chunk.flatten(0, 1) for chunk in dh], output, loss)

    def _cbow_hierarchical(
        self, tree: HuffmanTree, prepared: Prepared, contexts: Contexts, h: Chunks, rate: Rate
    ) -> Prediction:
        table = self.chunks("output")
        first = [self._first(h), [chunk.index_select(0, prepared.sampled) for chunk in table]]
        found = hierarchical.predict(h, table, tree, prepared.plan, _square_sums(first), self.columns)
        square_h, square_u = _means(found.sums, first)
        self._scale_given(contexts, rate, square_u)
        return Prediction(found.dh, self._node_rows(found, prepared.plan, rate, square_h), found.loss)

    def _cbow_softmax(self, batch: Batch, contexts: Contexts, h: Chunks, rate: Rate) -> Prediction:
        words, counted = contexts.words.unsqueeze(1), contexts.counted.unsqueeze(1)  # shape: (P, 1)
        table = self.chunks("output")
        first = [self._first(h), self._first(table)]
        dh, dtable, loss, sums = softmax.predict(h, table, words, counted, _square_sums(first), self.columns)
        square_h, square_u = _means(sums, first)
        self._scale_given(contexts, rate, square_u)
        return Prediction(dh, self._all_rows(batch, dtable, rate, square_h), loss)

    # -- rows of the output table, and what their rates need

    def _node_rows(
        self, found: hierarchical.Result, plan: hierarchical.Plan, rate: Rate, curvature: Tensor
    ) -> TableGradient:
        """Of the tree's nodes, with their gradients, which are scaled in place."""
        scale = rate(plan.seen, curvature).unsqueeze(1)
        return TableGradient(plan.nodes, [chunk.mul_(scale) for chunk in found.dtable])

    def _all_rows(self, batch: Batch, dtable: Chunks, rate: Rate, curvature: Tensor) -> TableGradient:
        """Of the whole output table, with its gradient (V, c), which is scaled in place."""
        first = dtable[0]
        seen = first.new_zeros(len(first)).index_add_(0, batch.words[: batch.n], first.new_ones(batch.n))
        rows, scale = torch.arange(len(first), device=first.device), rate(seen, curvature).unsqueeze(1)
        return TableGradient(rows, [chunk.mul_(scale) for chunk in dtable])

    @property
    def _sample(self) -> int:
        """How many rows stand for all where their mean squared length is needed."""
        return max(1, SAMPLE // self.config.dim)

    def _first(self, rows: Chunks) -> Chunks:
        """The first of them, whose lengths stand for all."""
        return [chunk[: self._sample] for chunk in rows]

    def _seen(self, counted: Tensor, rows: Tensor) -> Tensor:
        """How often each of ``rows`` (r,) of a table is among those ``counted``: float32 (r,)."""
        if len(self._zeros) < self.vocab_size or self._zeros.device != rows.device:
            self._zeros = torch.zeros(self.vocab_size, device=rows.device)
        self._zeros.index_add_(0, counted, self._zeros.new_ones(len(counted)))  # whole numbers: exact in any order
        count = self._zeros.index_select(0, rows)
        self._zeros.index_fill_(0, counted, 0.0)
        return count

    def _omega(self, batch: Batch) -> Tensor:
        """P(n)/Q(n) of each position's word as noise, 0 for padding: (P,)."""
        omega = self.noise_weight.index_select(0, batch.words)
        omega[batch.n :].zero_()
        return omega


def _square_sums(rows: Sequence[Chunks]) -> list[list[Tensor]]:
    """Of each chunk the sum of the squares of each of these."""
    return [[chunk.square().sum() for chunk in chunks] for chunks in zip(*rows, strict=True)]


def _means(squares: Sequence[Tensor], rows: Sequence[Chunks]) -> list[Tensor]:
    """Of each of these the mean squared length: the sum of the squares over all columns, which is changed, ÷ its rows."""
    return [square.mul_(1.0 / max(1, len(each[0]))) for square, each in zip(squares, rows, strict=True)]


def initial_chunks(size: int, config: Word2VecConfig, columns: Columns) -> Chunks:
    """Of the input table (V, d), as training begins, this process's chunks: uniform in ±1/(2d), from (seed, "init")."""
    d = config.dim
    chunks = [torch.empty(size, own.stop - own.start) for own in columns.own]
    for i in range(-(-size // INIT_ROWS)):  # the random words of all rows at once would be as large as several tables
        at = slice(i * INIT_ROWS, min(size, (i + 1) * INIT_ROWS))
        rows = randomness.uniform((at.stop - at.start, d), -0.5 / d, 0.5 / d, config.seed, "init", i)
        for chunk, own in zip(chunks, columns.own, strict=True):
            chunk[at].copy_(rows[:, own])
    return chunks


def noise_weights(vocab: Vocab, config: Word2VecConfig) -> Tensor:
    """P(n)/Q(n), float32 (V,): how much likelier a word is as noise than as a word of the subsampled text."""
    read = vocab.keep_probabilities(config.sample) * vocab.counts
    read /= read.cumsum()[-1]
    read[vocab.counts == 0] = 1.0  # such a word is never noise, and its probability is 0
    return torch.from_numpy((vocab.noise_probabilities(config.noise_exponent) / read).astype("float32"))


def huffman_tree(vocab: Vocab, config: Word2VecConfig) -> HuffmanTree:
    """The tree of the counts; its top is what most words of the subsampled text pass.

    Words with the count 0 count as seen once: of zeros the tree would be as deep as there are of them.
    """
    top = hierarchical.SKIPGRAM_TOP if config.architecture == "skipgram" else hierarchical.CBOW_TOP
    return HuffmanTree(vocab.counts.clip(min=1), vocab.keep_probabilities(config.sample) * vocab.counts, top)


class RowSGD(Optimizer):
    """Stochastic gradient descent on the rows that a step touched, without a state.

    word2vec.c makes a small step for each occurrence of a word, and the next occurrence sees its effect. A batch sums the
    gradients of all occurrences at one point: for words that occur often that overshoots, and diverges. So a row that
    occurs c times in a batch moves by the sum of its gradients ÷ (1 + (c − 1) · lr · ``damping`` · κ), where κ is how fast
    its gradient changes as it moves (see ``Rate``): what is left of the way if the occurrences came one by one, were each a
    Newton step along the same line. ``damping`` stands for the share of them that pull the same way. No number of an input
    vector moves by more than 1 (LARGEST) for one occurrence: so no text, however odd, makes the two tables drive each other
    up without end.

    Args:
        model: whose tables are moved, by its ``gradients``.
        lr: the learning rate, which ``param_groups[0]["lr"]`` holds from then on.
        damping: from 0, plain descent, to 1.

    Source: the update of word2vec.c (Mikolov et al. 2013a, section 4.2, falling learning rate); the damping is our own.

    Example:
        >>> from word2vec import RowSGD, Vocab, Word2Vec, Word2VecConfig
        >>> import numpy as np
        >>> import torch
        >>> model = Word2Vec(Vocab(("a", "b"), np.array([2, 1])), Word2VecConfig(dim=2))
        >>> optimizer = RowSGD(model, lr=0.5, damping=0.25)
        >>> [round(rate, 3) for rate in optimizer.rate(torch.tensor([1.0, 5.0]), torch.tensor(2.0)).tolist()]
        [-0.5, -0.25]
    """

    def __init__(self, model: Word2Vec, lr: float, damping: float) -> None:
        super().__init__(list(model.parameters()), {"lr": lr})
        self.model, self.damping = model, damping

    def rate(self, seen: Tensor, curvature: Tensor) -> Tensor:
        """−lr ÷ (1 + (c − 1) · lr · damping · κ), (r,): the factor by which ``Word2Vec.step`` scales the gradients of rows.

        Args:
            seen: c, how often each row is in the batch, (r,).
            curvature: κ, a scalar.
        """
        lr = self.param_groups[0]["lr"]
        rate: Tensor = (seen - 1.0).clamp_(min=0.0).mul_(curvature * (lr * self.damping)).add_(1.0).reciprocal_().mul_(-lr)
        return rate

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, of both tables: in how many chunks a process has them is no part of the state."""
        state = super().state_dict()
        state["param_groups"][0]["params"] = [0, 1]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Back from ``state_dict``."""
        chunks = list(range(len(self.param_groups[0]["params"])))
        groups = [{**group, "params": chunks} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Add the model's ``gradients``, which ``rate`` has made into moves."""
        inputs, gradients = self.model.columns.names("input"), self.model.gradients
        for name in inputs:
            gradients[name].values.clamp_(-LARGEST, LARGEST)
        both(lambda: self._add(inputs), lambda: self._add([name for name in gradients if name not in inputs]))

    def _add(self, names: Sequence[str]) -> None:
        """Move the rows of these tables."""
        for name in names:
            table, (rows, values) = self.model.get_parameter(name), self.model.gradients[name]
            if table.is_cuda:  # sorts the rows, and so adds them up in a fixed order
                table.index_put_((rows,), values, accumulate=True)
            else:  # likewise, and several times as fast as index_add_
                table.scatter_add_(0, rows.unsqueeze(1).expand_as(values), values)
