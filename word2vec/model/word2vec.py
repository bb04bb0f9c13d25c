"""Word2Vec: two tables of vectors, and the gradients of its six objectives, written out by hand.

Skip-gram predicts the words around a word, CBOW a word from the mean of those around it (Mikolov et al. 2013a, §3). What
"predict" means is the loss: negative sampling (2013b, eq. 4; word2vec/model/negative.py), the full softmax (2013b, eq. 2;
word2vec/model/softmax.py) or the hierarchical softmax (2013b, eq. 3; word2vec/model/hierarchical.py).

Of the papers' names, h is the vector that predicts, x are input vectors (the paper's v), u output vectors (its v'); dh, dx
and du are the gradients of the loss, which is summed over the batch's predictions.
Shapes: P positions of a batch, ``batch.n`` words and then padding; w the largest reach of a window, W = 2w + 1 places around
a position; V words; d numbers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import Optimizer

from training import randomness
from word2vec.config import Word2VecConfig
from word2vec.model import hierarchical, negative, softmax, windows
from word2vec.text.batches import Batch
from word2vec.text.vocab import Vocab

LARGEST = 1.0
INIT_ROWS = 1 << 14
SAMPLE = 1 << 14  # numbers that stand for all where a mean length is needed; a sum of so many is not split among threads


class RowGradient(NamedTuple):
    """The gradient of some rows of a table, scaled by each row's rate. A row may be there several times: they add up."""

    rows: Tensor  # int64 (r,)
    values: Tensor  # float32 (r, d)


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


class Prediction(NamedTuple):
    """What came of predicting words from h: its gradient, that of the output table's rows, the mean loss of a prediction."""

    dh: Tensor
    output: RowGradient
    loss: Tensor


class Word2Vec(nn.Module):
    """``input`` (V, d) holds the word vectors, ``output`` the vectors that words, or a tree's nodes, are predicted by.

    Input vectors begin uniform in ±1/(2d), from (seed, "init"), output vectors as zeros, as in word2vec.c. ``output`` is
    (V, d), of hierarchical softmax (V − 1, d). There is no ``forward``: ``step`` makes ``gradients``, which RowSGD adds.

    Args:
        vocab: the V words with their counts, from which come the noise distribution and the Huffman tree.
        config: the architecture, the loss and their sizes.

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

    input: nn.Parameter
    output: nn.Parameter
    noise_weight: Tensor  # (V,): P(n)/Q(n)
    masks: Tensor  # ((w + 1)², W): which places each possible window holds
    sizes: Tensor  # ((w + 1)²,): how many these are
    means: Tensor  # ((w + 1)², W): 1 / size at these places

    def __init__(self, vocab: Vocab, config: Word2VecConfig) -> None:
        super().__init__()
        self.config = config
        size, d = len(vocab), config.dim
        start = torch.empty(size, d)
        for i in range(-(-size // INIT_ROWS)):  # the random words of all rows at once would be as large as several tables
            rows = start[i * INIT_ROWS : (i + 1) * INIT_ROWS]
            rows.copy_(randomness.uniform((len(rows), d), -0.5 / d, 0.5 / d, config.seed, "init", i))
        self.tree = hierarchical.HuffmanTree(vocab.counts) if config.loss == "hierarchical" else None
        self.input = nn.Parameter(start)
        self.output = nn.Parameter(torch.zeros(size - 1 if self.tree else size, d))
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
            rate: what to scale the gradients of rows by; without it they are those of the loss. See RowSGD.rate.

        Returns:
            The mean loss of a prediction (nats), a scalar, estimated from some of the batch's words.
        """
        if self.config.architecture == "skipgram":
            return self._skipgram(batch, rate)
        return self._cbow(batch, rate)

    # -- skip-gram: h is a word's own input vector, and predicts the words of its window

    def _skipgram(self, batch: Batch, rate: Rate) -> Tensor:
        window, words = self.config.window, batch.words
        x = windows.margined(self.input, words, window)  # shape: (P + 2w, d)
        own = x[window : window + len(words)]  # shape: (P, d)
        size = (batch.left + batch.right).to(x.dtype).sum() / max(1, batch.n)  # of a window: so many predictions has a word
        curvature = size * mean_square(own)  # of output rows
        seen = self._seen(words[: batch.n], words, len(self.input))  # shape: (P,)
        if self.config.loss == "negative":
            dx, output, loss = self._skipgram_negative(batch, x, rate, seen, size, curvature)
        else:
            if self.tree is not None:
                dx, (nodes, du), loss = hierarchical.skipgram(x, self.output, self.tree, words, self._inside(batch))
                output, sampled = self._node_rows(nodes, du, rate, curvature), nodes
            else:
                dx, dtable, loss = softmax.skipgram(own, self.output, words, batch.left, batch.right, window)
                output, sampled = self._all_rows(batch, dtable, rate, curvature), None
            dx *= rate(seen, size * self._output_square(sampled)).unsqueeze(1)
        self.gradients = {"input": RowGradient(words[: batch.n], dx[: batch.n]), "output": output}
        return loss

    def _skipgram_negative(
        self, batch: Batch, x: Tensor, rate: Rate, seen: Tensor, size: Tensor, curvature: Tensor
    ) -> Prediction:
        """The gradients come scaled from negative.skipgram, which has fewer numbers to multiply."""
        config, words, window = self.config, batch.words, self.config.window
        u = windows.margined(self.output, words, window)  # shape: (P + 2w, d)
        scale = rate(seen, size * mean_square(u[window : window + len(words)])), rate(seen, curvature)
        dx, du, loss = negative.skipgram(
            x, u, self._places(len(words)), self._inside(batch), self._omega(batch), scale,
            negative=config.negative, group=config.noise_words, block=config.block,
        )  # fmt: skip
        return Prediction(dx, RowGradient(words[: batch.n], du[: batch.n]), loss)

    def _inside(self, batch: Batch) -> Tensor:
        """Which of the places around each position its window holds, 1 or 0: (P, W)."""
        return self.masks.index_select(0, windows.mask_rows(batch.left, batch.right, self.config.window))

    def _places(self, positions: int) -> Tensor:
        """The rows around each position between margins: int64 (P, W)."""
        if len(self._around) < positions or self._around.device != self.input.device:
            place = torch.arange(positions + 2 * self.config.window, device=self.input.device)
            self._around = windows.around(place, self.config.window).contiguous()
        return self._around[:positions]

    # -- CBOW: h is the mean of a window's input vectors, and predicts the word in the middle

    def _cbow(self, batch: Batch, rate: Rate) -> Tensor:
        contexts = self._contexts(batch)
        h = windows.weighted_sum(self.input, contexts.around, self.means.index_select(0, contexts.masks))  # shape: (P, d)
        if self.config.loss == "negative":
            dh, output, loss = self._cbow_negative(batch, contexts, h, rate)
        elif self.tree is not None:
            dh, output, loss = self._cbow_hierarchical(self.tree, contexts, h, rate)
        else:
            dh, output, loss = self._cbow_softmax(batch, contexts, h, rate)
        positions = negative.neighbors(len(h), self._cbow_group, self.config.window, h.device)  # shape: (P, W)
        dx = windows.weighted_sum(dh, positions, contexts.given)  # a word gets its part of dh from each window that it is in
        self.gradients = {"input": RowGradient(contexts.words, dx), "output": output}
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
        seen, size = self._seen(batch.words[: batch.n], words, len(self.input)), self.sizes.index_select(0, masks)
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

    def _cbow_negative(self, batch: Batch, contexts: Contexts, h: Tensor, rate: Rate) -> Prediction:
        group = self._cbow_group
        omega, u = negative.arranged(self._omega(batch), group), self.output.index_select(0, contexts.words)
        # Scaled here, since the products are twice as fast (0.7 and 1.4 ms, Zen 4) right after a shared operation on
        # numbers in their order; after sums over windows or gathers they take as long as on one thread.
        self._scale_given(contexts, rate, mean_square(u))
        h_groups, u_groups = h.view(-1, group, h.shape[1]), u.view(-1, group, h.shape[1])  # shape: (m, M, d)
        dh, du, loss = negative.cbow(
            h_groups, u_groups, contexts.counted.view(-1, group), omega.view(-1, group),
            lambda: rate(contexts.seen, mean_square(h)), negative=self.config.negative,
        )  # fmt: skip
        return Prediction(dh.flatten(0, 1), RowGradient(contexts.words, du.flatten(0, 1)), loss)

    def _cbow_hierarchical(self, tree: hierarchical.HuffmanTree, contexts: Contexts, h: Tensor, rate: Rate) -> Prediction:
        one_each = h.unsqueeze(1), contexts.counted.unsqueeze(1)  # a word is predicted by one h: shapes (P, 1, d), (P, 1)
        dh, (nodes, du), loss = hierarchical.predict(one_each[0], self.output, tree, contexts.words, one_each[1])
        self._scale_given(contexts, rate, self._output_square(nodes))
        return Prediction(dh.squeeze(1), self._node_rows(nodes, du, rate, mean_square(h)), loss)

    def _cbow_softmax(self, batch: Batch, contexts: Contexts, h: Tensor, rate: Rate) -> Prediction:
        words, counted = contexts.words.unsqueeze(1), contexts.counted.unsqueeze(1)  # shape: (P, 1)
        dh, dtable, loss = softmax.predict(h, self.output, words, counted)
        self._scale_given(contexts, rate, self._output_square(None))
        return Prediction(dh, self._all_rows(batch, dtable, rate, mean_square(h)), loss)

    # -- rows of the output table, and what their rates need

    def _node_rows(self, nodes: Tensor, du: Tensor, rate: Rate, curvature: Tensor) -> RowGradient:
        """Of the rows ``nodes`` (r,), with their gradients (r, d), which are scaled in place."""
        scale = rate(self._seen(nodes, nodes, len(self.output)), curvature)
        return RowGradient(nodes, du.mul_(scale.unsqueeze(1)))

    def _all_rows(self, batch: Batch, dtable: Tensor, rate: Rate, curvature: Tensor) -> RowGradient:
        """Of the whole output table, with its gradient (V, d), which is scaled in place."""
        seen = dtable.new_zeros(len(dtable)).index_add_(0, batch.words[: batch.n], dtable.new_ones(batch.n))
        rows = torch.arange(len(dtable), device=dtable.device)
        return RowGradient(rows, dtable.mul_(rate(seen, curvature).unsqueeze(1)))

    def _output_square(self, rows: Tensor | None) -> Tensor:
        """The mean squared length of some of these rows of the output table, or of any."""
        return mean_square(self.output if rows is None else self.output.index_select(0, rows[:SAMPLE]))

    def _seen(self, counted: Tensor, rows: Tensor, size: int) -> Tensor:
        """How often each of ``rows`` (r,), of a table of ``size`` rows, is among those ``counted``: float32 (r,)."""
        if len(self._zeros) < size or self._zeros.device != rows.device:
            self._zeros = torch.zeros(size, device=rows.device)
        self._zeros.index_add_(0, counted, self._zeros.new_ones(len(counted)))  # whole numbers: exact in any order
        count = self._zeros.index_select(0, rows)
        self._zeros.index_fill_(0, counted, 0.0)
        return count

    def _omega(self, batch: Batch) -> Tensor:
        """P(n)/Q(n) of each position's word as noise, 0 for padding: (P,)."""
        omega = self.noise_weight.index_select(0, batch.words)
        omega[batch.n :].zero_()
        return omega


def mean_square(rows: Tensor) -> Tensor:
    """The mean squared length of the first rows: a scalar."""
    first = rows[: max(1, SAMPLE // rows.shape[1])]
    return first.square().sum().mul_(1.0 / max(1, len(first)))


def noise_weights(vocab: Vocab, config: Word2VecConfig) -> Tensor:
    """P(n)/Q(n), float32 (V,): how much likelier a word is as noise than as a word of the subsampled text."""
    read = vocab.keep_probabilities(config.sample) * vocab.counts
    read /= read.cumsum()[-1]
    return torch.from_numpy((vocab.noise_probabilities(config.noise_exponent) / read).astype("float32"))


class RowSGD(Optimizer):
    """Stochastic gradient descent on the rows that a step touched, without a state.

    word2vec.c makes a small step for each occurrence of a word, and the next occurrence sees its effect. A batch sums the
    gradients of all occurrences at one point: for words that occur often that overshoots, and diverges. So a row that
    occurs c times in a batch moves by the sum of its gradients ÷ (1 + (c − 1) · lr · ``damping`` · κ), where κ is how fast
    its gradient changes as it moves (see ``Rate``): what is left of the way if the occurrences came one by one, were each a
    Newton step along the same line. ``damping`` stands for the share of them that pull the same way. No number of an input
    vector moves by more than LARGEST for one occurrence: so no text, however odd, makes the two tables drive each other up
    without end.

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
        """−lr ÷ (1 + (c − 1) · lr · damping · κ), (r,): what ``Word2Vec.step`` is to scale the gradients of rows by.

        Args:
            seen: c, how often each row is in the batch, (r,).
            curvature: κ, a scalar.
        """
        lr = self.param_groups[0]["lr"]
        rate: Tensor = (seen - 1.0).clamp_(min=0.0).mul_(curvature * (lr * self.damping)).add_(1.0).reciprocal_().mul_(-lr)
        return rate

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Add the model's ``gradients``, which ``rate`` has made into moves."""
        self.model.gradients["input"].values.clamp_(-LARGEST, LARGEST)
        for name, (rows, values) in self.model.gradients.items():
            table = self.model.get_parameter(name)
            if table.is_cuda:  # sorts the rows, and so adds them up in a fixed order
                table.index_put_((rows,), values, accumulate=True)
            else:  # likewise, and several times as fast as index_add_
                table.scatter_add_(0, rows.unsqueeze(1).expand_as(values), values)
