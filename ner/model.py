"""The tagger's network: word and character vectors → BiLSTM → scores per label → softmax or CRF.

Lample et al. 2016 and Ma & Hovy 2016; with characters, dropout and CRF switched off it is the lecture's model. Shapes:
B sentences, N tokens of all of them one after the other, D input size, H units per direction, L labels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ner.batches import Batch
from ner.characters import CharCNN, CharLSTM
from ner.config import TaggerConfig
from ner.crf import CRF
from ner.embeddings import WordTable
from ner.lstm import BiLSTM
from ner.scheme import Transitions
from training.randomness import uniform

Masks = Callable[[str, tuple[int, ...]], Tensor]
"""(name of the layer, shape) → a dropout mask to multiply by; the caller knows epoch and batch."""


class Linear(nn.Module):
    """x W^T + b, with initial weights uniform in ±1/sqrt(inputs) as in nn.Linear, from (seed, "init/name")."""

    def __init__(self, inputs: int, outputs: int, *, seed: int, name: str) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(uniform((outputs, inputs), -bound, bound, seed, f"init/{name}.weight"))
        self.bias = nn.Parameter(uniform((outputs,), -bound, bound, seed, f"init/{name}.bias"))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class Tagger(nn.Module):
    """Scores each token's labels. ``words`` (V, d) are the initial word vectors."""

    def __init__(self, config: TaggerConfig, words: Tensor, n_characters: int, labels: int, allowed: Transitions) -> None:
        super().__init__()
        seed = config.seed
        self.words = WordTable(words, freeze=config.freeze_vectors)
        self.characters: CharCNN | CharLSTM | None = None
        size = words.shape[1]
        if config.characters != "none":
            kind = CharCNN if config.characters == "cnn" else CharLSTM
            self.characters = kind(n_characters, config.char_dim, config.char_hidden, seed=seed)
            size += config.char_hidden
        self.lstm = BiLSTM(size, config.hidden_size, seed=seed)
        self.linear = Linear(2 * config.hidden_size, labels, seed=seed, name="linear")
        self.crf = CRF(labels, allowed, seed=seed) if config.decoder == "crf" else None
        self.dropout = config.dropout

    def forward(self, batch: Batch, words: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """Scores (N, L). ``words`` replaces the batch's word ids; ``masks`` turns dropout on."""
        x = self.words(batch.words if words is None else words)
        if self.characters is not None and batch.characters is not None:
            spelled = self.characters(batch.characters.ids, batch.characters.lengths)
            x = torch.cat([x, spelled[batch.characters.word]], dim=1)
        x = self._drop(x, "input", masks)
        x = self._drop(self.lstm(x, batch.plan), "output", masks)
        scores: Tensor = self.linear(x)
        return scores

    def _drop(self, x: Tensor, name: str, masks: Masks | None) -> Tensor:
        return x if masks is None or self.dropout == 0.0 else x * masks(name, tuple(x.shape)).to(x)

    def loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Softmax: the mean negative log-likelihood of a token. CRF: that of a sentence, per token of the batch."""
        if self.crf is None:
            return nn.functional.cross_entropy(scores.float(), batch.labels)
        return self.crf.loss(scores.float(), batch.labels, batch.plan) / batch.labels.shape[0]

    def decode(self, scores: Tensor, batch: Batch) -> Tensor:
        """The best labels (N,): of each token, or of each sentence under the CRF. Ties go to the lowest label."""
        return scores.argmax(dim=1) if self.crf is None else self.crf.decode(scores.float(), batch.plan)
