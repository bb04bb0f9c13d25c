"""Word2Vec: two tables of vectors, and the gradients of its six objectives, written out by hand.

Skip-gram predicts the words around a word, CBOW a word from the mean of those around it (Mikolov et al. 2013a, §3). What
"predict" means is the loss: negative sampling (2013b, eq. 4; word2vec/negative.py), the full softmax (2013b, eq. 2;
word2vec/softmax.py) or the hierarchical softmax (2013b, eq. 3; word2vec/hierarchical.py).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import Optimizer

from training import randomness
from word2vec import hierarchical, negative, softmax, windows
from word2vec.batches import Batch
from word2vec.config import Word2VecConfig
from word2vec.vocab import Vocab

LARGEST = 10.0
INIT_ROWS = 1 << 14
SAMPLE = 512  # rows that stand for all where a mean length is needed


class RowGradient(NamedTuple):
    """The gradient of some rows of a table. A row may be there several times: its gradients add up."""

    rows: Tensor  # int64 (r,)
    values: Tensor  # float32 (r, d)
    curvature: Tensor  # a scalar: the second derivative that an occurrence adds to its row, roughly
    seen: Tensor | None = None  # float32 (r,): how many occurrences of each row the batch holds; None: as many as here


class Word2Vec(nn.Module):
    """``input`` (V, d) holds the word vectors, ``output`` the vectors that words, or a tree's nodes, are predicted by."""

    input: nn.Parameter
    output: nn.Parameter

    def __init__(self, vocab: Vocab, config: Word2VecConfig) -> None:
        """Input vectors uniform in ±1/(2d), output vectors zero, as in word2vec.c."""
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
        self.noise_weight: Tensor
        self.register_buffer("noise_weight", weight, persistent=False)
        self.windows: Tensor
        kinds = windows.kinds(config.window)
        self.register_buffer("windows", kinds, persistent=False)
        means = kinds / kinds.sum(1, keepdim=True).clamp(min=1.0)
        self.means: Tensor
        self.register_buffer("means", means, persistent=False)
        self.gradients: dict[str, RowGradient] = {}

    @torch.no_grad()
    def step(self, batch: Batch) -> Tensor:
        """Compute ``gradients`` for a batch; returns the mean loss of a prediction, estimated from a few blocks."""
        if self.config.architecture == "skipgram":
            return self._skipgram(batch)
        return self._cbow(batch)

    def _skipgram(self, batch: Batch) -> Tensor:
        config, words, window = self.config, batch.words, self.config.window
        x = windows.margined(self.input, words, window)
        own = x[window : window + len(words)]
        many = (batch.left + batch.right).to(x.dtype).sum() / max(1, batch.n)
        curvature = many * mean_square(own)
        if config.loss == "negative":
            dx, du, loss = negative.skipgram(
                x, windows.margined(self.output, words, window),
                windows.around(torch.arange(len(x), device=x.device), window),
                windows.inside(batch.left, batch.right, self.windows), self._noise_weight(batch),
                negative=config.negative, noise=config.noise_words, block=config.block,
            )  # fmt: skip
            output = RowGradient(words[: batch.n], du[: batch.n], curvature)
        elif self.tree is not None:
            dx, nodes, loss = hierarchical.skipgram(
                own, self.output, self.tree, words, batch.left, batch.right, window
            )
            output = RowGradient(*nodes, curvature)
        else:
            dx, dtable, loss = softmax.skipgram(own, self.output, words, batch.left, batch.right, window)
            output = self._every_row(batch, dtable, curvature)
        return self._found(batch, dx, many, output, loss)

    def _cbow(self, batch: Batch) -> Tensor:
        config, words, window = self.config, batch.words, self.config.window
        mean = windows.inside(batch.left, batch.right, self.means)
        size = (batch.left + batch.right).to(mean.dtype)
        around = windows.around(pad(words, (window, window)), window)
        h = windows.weighted_sum(self.input, around, mean)
        counted = (size > 0).to(h.dtype)
        curvature = mean_square(h)
        if config.loss == "negative":
            dh, du, loss = negative.cbow(
                h, self.output.index_select(0, words), counted, self._noise_weight(batch),
                negative=config.negative, noise=config.noise_words, window=window,
            )  # fmt: skip
            output = RowGradient(words[: batch.n], du[: batch.n], curvature)
        elif self.tree is not None:
            dh, nodes, loss = hierarchical.predict(
                h.unsqueeze(1), self.output, self.tree, words, counted.unsqueeze(1)
            )
            dh, output = pad(dh.squeeze(1), (0, 0, window, window)), RowGradient(*nodes, curvature)
        else:
            dh, dtable, loss = softmax.predict(h, self.output, words.unsqueeze(1), counted.unsqueeze(1))
            dh, output = pad(dh, (0, 0, window, window)), self._every_row(batch, dtable, curvature)
        corrected = config.cbow_gradient == "corrected"
        spread = mean if corrected else windows.inside(batch.left, batch.right, self.windows)
        places = windows.around(torch.arange(len(dh), device=dh.device), window)
        dx = windows.weighted_sum(dh, places, windows.turned(spread))
        # How far h moves when all its words do: by the mean of the moves, which are divided or not by the window's size.
        return self._found(batch, dx, size.new_ones(()) if corrected else size.mean(), output, loss)

    def _every_row(self, batch: Batch, dtable: Tensor, curvature: Tensor) -> RowGradient:
        rows = torch.arange(len(dtable), device=dtable.device)
        seen = torch.zeros_like(dtable[:, 0])
        seen.index_put_((batch.words[: batch.n],), seen.new_ones(batch.n), accumulate=True)
        return RowGradient(rows, dtable, curvature, seen)

    def _noise_weight(self, batch: Batch) -> Tensor:
        weight = self.noise_weight.index_select(0, batch.words)
        weight[batch.n :] = 0.0
        return weight

    def _found(self, batch: Batch, dx: Tensor, predictions: Tensor, output: RowGradient, loss: Tensor) -> Tensor:
        """Keep the gradients; ``predictions`` is how many an occurrence of an input word takes part in."""
        rows = output.rows if self.config.loss == "negative" else batch.words[: batch.n]
        curvature = predictions * mean_square(self.output.index_select(0, output.rows[:SAMPLE]))
        self.gradients = {"input": RowGradient(rows, dx[: batch.n], curvature), "output": output}
        return loss


def mean_square(rows: Tensor) -> Tensor:
    """The mean squared length of the first rows: a scalar."""
    first = rows[:SAMPLE]
    squares: Tensor = torch.linalg.vecdot(first, first)
    return squares.sum() / max(1, len(first))


def noise_weights(vocab: Vocab, config: Word2VecConfig) -> Tensor:
    """P(w) / Q(w), float32 (V,): how much likelier a word is as noise than as a word of the subsampled text."""
    read = vocab.keep_probabilities(config.sample) * vocab.counts
    read /= read.cumsum()[-1]
    return torch.from_numpy((vocab.noise_probabilities(config.noise_exponent) / read).astype("float32"))


class RowSGD(Optimizer):
    """Stochastic gradient descent on the rows that a step touched, without a state.

    word2vec.c makes a small step for each occurrence of a word, and the next occurrence sees its effect. A batch sums the
    gradients of all occurrences at one point: for words that occur often that overshoots, and diverges. So a row that
    occurs c times in a batch moves by the sum of its gradients ÷ (1 + (c − 1) · lr · ``damping`` · κ), where κ is how fast
    its gradient changes as it moves (``RowGradient.curvature``): what is left of the way if the occurrences came one by
    one, were each a Newton step along the same line. ``damping`` stands for the share of them that pull the same way.
    No number of one occurrence's gradient counts for more than ±LARGEST: no text, however odd, makes the vectors overflow.
    """

    def __init__(self, model: Word2Vec, lr: float, damping: float) -> None:
        super().__init__(list(model.parameters()), {"lr": lr})
        self.model, self.damping = model, damping
        self._zeros = torch.zeros(0)

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Apply the model's ``gradients``."""
        lr = self.param_groups[0]["lr"]
        counted: dict[int, Tensor] = {}  # both tables often have the same rows
        for name, (rows, values, curvature, seen) in self.model.gradients.items():
            table = self.model.get_parameter(name)
            if seen is None:
                if id(rows) not in counted:
                    counted[id(rows)] = self._count(table, rows)
                seen = counted[id(rows)]
            rate = (seen - 1.0).clamp_(min=0.0).mul_(curvature * (lr * self.damping)).add_(1.0).reciprocal_().mul_(-lr)
            change = values.clamp_(-LARGEST, LARGEST) * rate.unsqueeze(1)
            if table.is_cuda:  # sorts the rows, and so adds them up in a fixed order
                table.index_put_((rows,), change, accumulate=True)
            else:  # likewise, and several times as fast as index_add_
                table.scatter_add_(0, rows.unsqueeze(1).expand_as(change), change)

    def _count(self, table: Tensor, rows: Tensor) -> Tensor:
        """How often each entry of ``rows`` is there, shape (r,)."""
        if len(self._zeros) < len(table) or self._zeros.device != table.device:
            self._zeros = torch.zeros(len(table), device=table.device)
        self._zeros.index_put_((rows,), self._zeros.new_ones(len(rows)), accumulate=True)  # whole: exact in any order
        count = self._zeros.index_select(0, rows)
        self._zeros.index_fill_(0, rows, 0.0)
        return count
