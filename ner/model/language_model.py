"""A bidirectional language model over words: from what stands on one side of a word, which word it is.

Peters et al. 2017, "Semi-supervised sequence tagging with bidirectional language models" (TagLM). The two directions are one
BiLSTM, which share the word table, the projection and the softmax. Shapes: N words of all sentences, one after the other,
V rows of the word table, d numbers of a word, H units per direction, P numbers of a projected state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ner.model.bilstm import BiLSTM
from ner.model.linear import Linear
from ner.model.packing import packing
from ner.model.word_table import WordTable
from training.randomness import uniform

Lengths = tuple[int, ...]
CUTOFFS = 2_000, 20_000
"""Of the words, in order of frequency: the first are in the head of the adaptive softmax, the others in its clusters."""
SHRINK = 4.0  # by which the projection of each cluster is smaller than that of the one before


def adaptive_softmax(size: int, words: int, seed: int) -> nn.AdaptiveLogSoftmaxWithLoss:
    """The softmax of Grave et al. 2017 over ``words`` words in order of frequency, from states of ``size`` numbers.

    Initial weights are uniform in ±1/sqrt(inputs), as in nn.Linear, from (seed, "init/softmax.<name>").
    """
    cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < words - 1] or [words - 1]
    softmax = nn.AdaptiveLogSoftmaxWithLoss(size, words, cutoffs, div_value=SHRINK, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for name, weight in softmax.named_parameters():
            bound = weight.shape[1] ** -0.5
            weight.copy_(uniform(tuple(weight.shape), -bound, bound, seed, f"init/softmax.{name}"))
    return softmax


class LanguageModel(nn.Module):
    """The network that is trained.

    Args:
        words: the initial word vectors (V, d), of the end of a sentence and the unknown word first.
        hidden_size: units per direction, H.
        projection_dim: numbers of a projected state, P.
        seed: the seed of the initial weights.

    Source: Peters et al. 2017; see the top of this module.

    Example:
        >>> import torch
        >>> from ner.model.language_model import LanguageModel
        >>> model = LanguageModel(torch.rand(9, 4), hidden_size=3, projection_dim=16, seed=0)
        >>> words = torch.tensor([4, 2, 7])  # one sentence
        >>> after, before = torch.tensor([2, 7, 0]), torch.tensor([0, 4, 2])
        >>> model.states(model.words(words), (3,)).shape
        torch.Size([3, 6])
        >>> model.loss(model.states(model.words(words), (3,)), after, before).shape
        torch.Size([])
    """

    def __init__(self, words: Tensor, hidden_size: int, projection_dim: int, *, seed: int) -> None:
        super().__init__()
        self.words = WordTable(words)
        self.lstm = BiLSTM(words.shape[1], hidden_size, seed=seed)
        self.projection = Linear(hidden_size, projection_dim, seed=seed, name="projection")
        self.softmax = adaptive_softmax(projection_dim, len(words), seed)

    def states(self, vectors: Tensor, lengths: Lengths) -> Tensor:
        """Vectors (N, d) of the words of sentences of ``lengths`` words → states (N, 2H), forward beside reverse."""
        states: Tensor = self.lstm(vectors, packing(lengths))
        return states

    def loss(self, states: Tensor, after: Tensor, before: Tensor) -> Tensor:
        """The mean negative log-likelihood (nats) of the words ``after`` (N,) by the forward states, and of those
        ``before`` (N,) by the reverse states."""
        forward, reverse = states.chunk(2, dim=1)
        projected = self.projection(torch.cat([forward, reverse]))
        loss: Tensor = self.softmax(projected, torch.cat([after, before])).loss
        return loss


class FrozenLanguageModel(nn.Module):
    """The states of a trained language model, whose weights do not change.

    A sentence gets the same bits alone and in any batch.

    Args:
        words: the number of rows of the word table, V.
        dim: numbers of a word, d.
        hidden_size: units per direction, H.
    """

    words: Tensor

    def __init__(self, words: int, dim: int, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("words", torch.zeros(words, dim))
        self.lstm = BiLSTM(dim, hidden_size, seed=0, name="lm").requires_grad_(False)

    @property
    def size(self) -> int:
        """Numbers of a state, 2H."""
        return 2 * self.lstm.hidden_size

    @torch.no_grad()
    def forward(self, ids: Tensor, lengths: Lengths) -> Tensor:
        """Words ids (N,) of sentences of ``lengths`` words → states (N, 2H)."""
        states: Tensor = self.lstm(nn.functional.embedding(ids, self.words), packing(lengths))
        return states
