"""Word2Vec: two tables of vectors, and the gradients of its six objectives, written out by hand.

Skip-gram predicts the words around a word, CBOW a word from the mean of those around it (Mikolov et al. 2013a, §3). What
"predict" means is the loss: negative sampling (2013b, eq. 4; word2vec/model/negative.py), the full softmax (2013b, eq. 2;
word2vec/model/softmax.py) or the hierarchical softmax (2013b, eq. 3; word2vec/model/hierarchical.py).
"""

from __future__ import annotations

from collections.abc import Callable
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

    ``curvature`` is a scalar: the second derivative that an occurrence adds to its row, roughly.
    """

    def __call__(self, seen: Tensor, curvature: Tensor) -> Tensor: ...


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
        sizes = kinds.sum(1)
        self.sizes: Tensor
        self.register_buffer("sizes", sizes, persistent=False)
        self.means: Tensor
        self.register_buffer("means", kinds / sizes.unsqueeze(1).clamp(min=1.0), persistent=False)
        self.gradients: dict[str, RowGradient] = {}
        self._zeros, self._around = torch.zeros(0), torch.zeros(0, 0, dtype=torch.int64)

    @torch.no_grad()
    def step(self, batch: Batch, rate: Rate = lambda seen, curvature: torch.ones_like(seen)) -> Tensor:
        """Compute ``gradients`` for a batch, scaled by ``rate``.

        Returns the mean loss of a prediction, estimated from some of the batch's words.
        """
        if self.config.architecture == "skipgram":
            return self._skipgram(batch, rate)
        return self._cbow(batch, rate)

    def _skipgram(self, batch: Batch, rate: Rate) -> Tensor:
        config, words, window = self.config, batch.words, self.config.window
        x = windows.margined(self.input, words, window)
        own = x[window : window + len(words)]
        many = (batch.left + batch.right).to(x.dtype).sum() / max(1, batch.n)
        curvature = many * mean_square(own)
        seen = self._seen(words[: batch.n], words, len(self.input))
        if config.loss == "negative":
            u = windows.margined(self.output, words, window)
            scale = rate(seen, many * mean_square(u[window : window + len(words)])), rate(seen, curvature)
            inside = self.windows.index_select(0, windows.kind(batch.left, batch.right, window))
            dx, du, loss = negative.skipgram(
                x, u, self._places(len(words)), inside, self._noise_weight(batch), scale,
                negative=config.negative, noise=config.noise_words, block=config.block,
            )  # fmt: skip
            return self._found(batch, dx, RowGradient(words[: batch.n], du[: batch.n]), loss)
        if self.tree is not None:
            inside = self.windows.index_select(0, windows.kind(batch.left, batch.right, window))
            dx, (nodes, du), loss = hierarchical.skipgram(x, self.output, self.tree, words, inside)
            output, sampled = self._nodes(nodes, du, rate, curvature), nodes
        else:
            dx, table, loss = softmax.skipgram(own, self.output, words, batch.left, batch.right, window)
            output, sampled = self._table(batch, table, rate, curvature), None
        dx *= rate(seen, many * self._output_square(sampled)).unsqueeze(1)
        return self._found(batch, dx, output, loss)

    def _cbow(self, batch: Batch, rate: Rate) -> Tensor:
        config, window, margins = self.config, self.config.window, (self.config.window, self.config.window)
        # With negative sampling the words of a group stand side by side in all that follows: one stretch of memory each.
        group = config.noise_words if config.loss == "negative" else 1
        words, kind = batch.words, windows.kind(batch.left, batch.right, window)
        words, own_kind = negative.arranged(words, group), negative.arranged(kind, group)
        # First what one thread does alone, then what is shared: threads that wait for long fall asleep.
        seen, size = self._seen(batch.words[: batch.n], words, len(self.input)), self.sizes.index_select(0, own_kind)
        counted, many = (size > 0).to(size.dtype), size.sum() / max(1, batch.n)
        read = negative.arranged(windows.around(pad(batch.words.int(), margins), window), group)
        # The margins' windows are empty (kind 0), and no window reaches them: any row may stand there.
        corrected = config.cbow_gradient == "corrected"
        spread = (self.means if corrected else self.windows).index_select(0, pad(kind, margins))
        spread = negative.arranged(windows.turned_within(spread), group)
        h = windows.weighted_sum(self.input, read, self.means.index_select(0, own_kind))

        def scaled(square: Tensor) -> Tensor:
            # How far h moves when all its words do: by the mean of the moves, which are divided or not by the window's size.
            return spread.mul_(rate(seen, square if corrected else many * square).unsqueeze(1))

        if config.loss == "negative":
            weight, u = negative.arranged(self._noise_weight(batch), group), self.output.index_select(0, words)
            # Scaled here, since the products are twice as fast (0.7 and 1.4 ms, Zen 4) right after a shared operation on
            # numbers in their order; after sums over windows or gathers they take as long as on one thread.
            spread = scaled(mean_square(u))
            dh, output, loss = self._cbow_groups(words, h, u, counted, weight, lambda: rate(seen, mean_square(h)))
        elif self.tree is not None:
            dh, (nodes, du), loss = hierarchical.predict(h.unsqueeze(1), self.output, self.tree, words, counted.unsqueeze(1))
            dh, spread = dh.squeeze(1), scaled(self._output_square(nodes))
            output = self._nodes(nodes, du, rate, mean_square(h))
        else:
            dh, table, loss = softmax.predict(h, self.output, words.unsqueeze(1), counted.unsqueeze(1))
            spread = scaled(self._output_square(None))
            output = self._table(batch, table, rate, mean_square(h))
        dx = windows.weighted_sum(dh, negative.neighbors(len(words), group, window, words.device), spread)
        self.gradients = {"input": RowGradient(words, dx), "output": output}
        return loss

    def _cbow_groups(
        self, words: Tensor, h: Tensor, u: Tensor, counted: Tensor, weight: Tensor, scale: Callable[[], Tensor]
    ) -> tuple[Tensor, RowGradient, Tensor]:
        """Of negative sampling, from the output rows ``u`` (P, d): the gradients of h and of those rows, the loss."""
        noise = self.config.noise_words
        h, u, counted, weight = (each.view(-1, noise, *each.shape[1:]) for each in (h, u, counted, weight))
        dh, du, loss = negative.cbow(h, u, counted, weight, scale, negative=self.config.negative)
        return dh.flatten(0, 1), RowGradient(words, du.flatten(0, 1)), loss

    def _found(self, batch: Batch, dx: Tensor, output: RowGradient, loss: Tensor) -> Tensor:
        self.gradients = {"input": RowGradient(batch.words[: batch.n], dx[: batch.n]), "output": output}
        return loss

    def _nodes(self, nodes: Tensor, du: Tensor, rate: Rate, curvature: Tensor) -> RowGradient:
        """Of the rows ``nodes`` (r,), with their gradients (r, d)."""
        scale = rate(self._seen(nodes, nodes, len(self.output)), curvature)
        return RowGradient(nodes, du.mul_(scale.unsqueeze(1)))

    def _table(self, batch: Batch, table: Tensor, rate: Rate, curvature: Tensor) -> RowGradient:
        """Of the whole output table, whose gradient is ``table`` (V, d)."""
        seen = table.new_zeros(len(table)).index_add_(0, batch.words[: batch.n], table.new_ones(batch.n))
        return RowGradient(torch.arange(len(table), device=table.device), table.mul_(rate(seen, curvature).unsqueeze(1)))

    def _output_square(self, rows: Tensor | None) -> Tensor:
        """The mean squared length of some of these rows of the output table."""
        return mean_square(self.output if rows is None else self.output.index_select(0, rows[:SAMPLE]))

    def _seen(self, counted: Tensor, rows: Tensor, size: int) -> Tensor:
        """How often each of ``rows`` (r,), of a table of ``size`` rows, is among those ``counted``: float32 (r,)."""
        if len(self._zeros) < size or self._zeros.device != rows.device:
            self._zeros = torch.zeros(size, device=rows.device)
        self._zeros.index_add_(0, counted, self._zeros.new_ones(len(counted)))  # whole numbers: exact in any order
        count = self._zeros.index_select(0, rows)
        self._zeros.index_fill_(0, counted, 0.0)
        return count

    def _places(self, positions: int) -> Tensor:
        """The rows around each position between margins: int64 (P, 2·window + 1)."""
        if len(self._around) < positions or self._around.device != self.input.device:
            place = torch.arange(positions + 2 * self.config.window, device=self.input.device)
            self._around = windows.around(place, self.config.window).contiguous()
        return self._around[:positions]

    def _noise_weight(self, batch: Batch) -> Tensor:
        weight = self.noise_weight.index_select(0, batch.words)
        weight[batch.n :].zero_()
        return weight


def mean_square(rows: Tensor) -> Tensor:
    """The mean squared length of the first rows: a scalar."""
    first = rows[: max(1, SAMPLE // rows.shape[1])]
    return first.square().sum().mul_(1.0 / max(1, len(first)))


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
    No number of an input vector moves by more than LARGEST for one occurrence: so no text, however odd, makes the two tables
    drive each other up without end.
    """

    def __init__(self, model: Word2Vec, lr: float, damping: float) -> None:
        super().__init__(list(model.parameters()), {"lr": lr})
        self.model, self.damping = model, damping

    def rate(self, seen: Tensor, curvature: Tensor) -> Tensor:
        """−lr ÷ (1 + (c − 1) · lr · damping · κ) for rows seen c times (r,): what ``Word2Vec.step`` is to scale them by."""
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
