"""The tagger's network: word and character vectors → BiLSTM → scores per label → softmax or CRF.

Lample et al. 2016 and Ma & Hovy 2016; with characters, dropout and CRF switched off it is the lecture's model. From the
document come, where they are asked for, a vector of its topic for every token, and for every word the mean of what the
BiLSTM says at its other mentions (a simple form of the attention of Zhang et al. 2018 and the memory of Luo et al. 2020).
Shapes: B sentences, N tokens of all of them one after the other, D input size, H units per direction, L labels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ner.config import TaggerConfig
from ner.corpus.scheme import Transitions
from ner.inputs.batches import Batch, Targets
from ner.inputs.document import FEATURES
from ner.model.bilstm import BiLSTM
from ner.model.characters import CharCNN, CharLSTM
from ner.model.crf import CRF
from ner.model.language_model import FrozenLanguageModel
from ner.model.linear import Linear
from ner.model.matmul import pad_rows
from ner.model.packing import packing
from ner.model.subwords import Subwords
from ner.model.word_table import WordTable
from training.randomness import uniform

Masks = Callable[[str, tuple[int, ...]], Tensor]
"""(name of the layer, shape) → a dropout mask to multiply by; the caller knows epoch and batch."""


def at_least_float32(scores: Tensor) -> Tensor:
    """Scores as losses and the CRF take them: bfloat16, which autocast makes, has three digits, too few to sum up."""
    return scores.float() if scores.dtype == torch.bfloat16 else scores


def group_sums(x: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Sums (groups, D) of the rows x (N, D) by their ``group`` (N,), and how many rows each has (groups, 1)."""
    sums = x.new_zeros(groups, x.shape[1]).index_add(0, group, x)
    return sums, torch.bincount(group, minlength=groups).to(x).unsqueeze(1)


def mean_of_others(x: Tensor, group: Tensor) -> Tensor:
    """For each row of x (N, D) the mean of the other rows of its ``group`` (N,), numbers below N; zeros for none."""
    sums, sizes = group_sums(x, group, len(x))
    others = (sizes - 1).clamp(min=1).index_select(0, group)
    return (sums.index_select(0, group) - x) / others


class Tagger(nn.Module):
    """The network: scores of each token's labels, the loss, and the best labels.

    Args:
        config: sizes, and which parts there are.
        words: the initial word vectors (V, d), of padding and the unknown word first.
        n_characters: rows of the table of characters.
        labels: the number of labels, L.
        allowed: which labels may begin and end a sentence, and which may follow each other.
        tuned: the number of word vectors that are trained, the first ones; the others stay fixed. None for all.
        lm: a language model whose states are read, too.

    Source: Lample et al. 2016 and Ma & Hovy 2016; see the top of this module.

    Example:
        >>> from ner import Tagger
        >>> import torch
        >>> from ner.config import TaggerConfig
        >>> from ner.corpus.conll import Sentence
        >>> from ner.corpus.scheme import allowed_transitions
        >>> from ner.inputs.batches import SentenceBatches
        >>> from ner.inputs.encode import encode_labeled
        >>> from ner.inputs.indexer import Indexer
        >>> from word2vec.text.tokenize import TextRule
        >>> config = TaggerConfig(hidden_size=8, word_dim=6)
        >>> train = [Sentence(("Ada", "met", "Bo"), ("S-PER", "O", "S-PER"))]
        >>> indexer = Indexer.build(train, TextRule(tokenize=False))
        >>> allowed = allowed_transitions(indexer.labels, indexer.scheme)
        >>> model = Tagger(config, torch.zeros(indexer.num_words, 6), indexer.num_characters, len(indexer.labels), allowed)
        >>> batch = SentenceBatches(encode_labeled(train, indexer, config), batch_size=1).plan(0)[0]
        >>> scores = model(batch)
        >>> scores.shape, model.decode(scores, batch).shape, model.loss(scores, batch).shape
        (torch.Size([3, 5]), torch.Size([3]), torch.Size([]))
    """

    def __init__(
        self,
        config: TaggerConfig,
        words: Tensor,
        n_characters: int,
        labels: int,
        allowed: Transitions,
        tuned: int | None = None,
        lm: FrozenLanguageModel | None = None,
    ) -> None:
        super().__init__()
        seed = config.seed
        self.words = WordTable(words, freeze=config.freeze_vectors, tuned=tuned)
        self.characters: CharCNN | CharLSTM | None = None
        size = words.shape[1]
        if config.characters != "none":
            kind = CharCNN if config.characters == "cnn" else CharLSTM
            self.characters = kind(n_characters, config.char_dim, config.char_hidden, seed=seed)
            size += config.char_hidden
        self.subwords: Subwords | None = None
        if config.subwords:
            self.subwords = Subwords(config.subwords, config.subword_dim)
            size += config.subword_dim
        self.features: nn.Parameter | None = None
        if config.features_dim:
            bound = config.features_dim**-0.5
            shape = FEATURES, config.features_dim
            self.features = nn.Parameter(uniform(shape, -bound, bound, seed, "init/features"))
            size += config.features_dim
        self.topic: Linear | None = None
        if config.topic_dim:
            self.topic = Linear(words.shape[1], config.topic_dim, seed=seed, name="topic")
            size += config.topic_dim
        self.lm = lm
        self.lm_place = config.lm_place
        self.lm_projection: Linear | None = None
        if lm is not None:
            self.lm_projection = Linear(lm.size, config.lm_dim, seed=seed, name="lm projection")
        size += config.lm_dim if lm is not None and config.lm_place == "input" else 0
        self.lstm = BiLSTM(size, config.hidden_size, seed=seed)
        self.mentions = config.mentions
        states = 2 * config.hidden_size * (2 if config.mentions else 1)
        states += config.lm_dim if lm is not None and config.lm_place == "output" else 0
        self.linear = Linear(states, labels, seed=seed, name="linear")
        self.crf = CRF(labels, allowed, seed=seed) if config.decoder == "crf" else None
        self.dropout = config.dropout

    def forward(self, batch: Batch, words: Tensor | None = None, masks: Masks | None = None) -> Tensor:
        """The scores of the labels.

        Args:
            batch: sentences of N tokens.
            words: (N,), ids of words in place of the batch's; None for those.
            masks: the random numbers of dropout; None for no dropout.

        Returns:
            (N, L), floating point.
        """
        context = self._lm_states(batch, masks)
        x = self._inputs(batch, batch.words if words is None else words)
        if context is not None and self.lm_place == "input":
            x = torch.cat([x, context], dim=1)
        states = self.lstm(self._drop(x, "input", masks), packing(batch.plain_lengths))
        if self.mentions and batch.surroundings is not None:
            states = torch.cat([states, mean_of_others(states, batch.surroundings.mention)], dim=1)
        if context is not None and self.lm_place == "output":
            states = torch.cat([states, context], dim=1)
        states = self._drop(states, "output", masks)
        scores: Tensor = self.linear(states)
        return scores

    def _inputs(self, batch: Batch, words: Tensor) -> Tensor:
        """What the BiLSTM reads (N, D): the word's vectors, its spelling, its features, its document's topic."""
        word = self.words(words)
        parts = [word]
        if self.characters is not None and batch.characters is not None:
            spelled = self.characters(batch.characters.ids, batch.characters.lengths)
            parts.append(spelled[batch.characters.word])
        if self.subwords is not None and batch.subwords is not None:
            means = self.subwords(batch.subwords.ids, batch.subwords.lengths)
            parts.append(means[batch.subwords.word])
        if self.features is not None and batch.features is not None:
            parts.append(nn.functional.embedding(batch.features, self.features).sum(1))
        if self.topic is not None and batch.surroundings is not None:
            document = batch.surroundings.document
            sums, sizes = group_sums(word, document, len(batch.lengths))
            topics = torch.tanh(self.topic(sums / sizes.clamp(min=1)))
            parts.append(topics.index_select(0, document))
        return torch.cat(parts, dim=1) if len(parts) > 1 else word

    def _lm_states(self, batch: Batch, masks: Masks | None) -> Tensor | None:
        """What the language model says of each token (N, lm_dim); None where there is none."""
        if self.lm is None or self.lm_projection is None or batch.lm_words is None:
            return None
        states = self._drop(self.lm(batch.lm_words, batch.plain_lengths), "lm", masks)
        projected: Tensor = self.lm_projection(states)
        return projected[: len(states)]

    def _drop(self, x: Tensor, name: str, masks: Masks | None) -> Tensor:
        return x if masks is None or self.dropout == 0.0 else x * masks(name, tuple(x.shape)).to(x)

    def loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Softmax: the mean negative log-likelihood of a token. CRF: that of a sentence, per token of the batch.

        If the batch has targets, a distribution instead of labels: the mean under it, which is the cross entropy.

        Args:
            scores: (N, L).
            batch: the sentences with their labels, or targets.

        Returns:
            A scalar, in nats.
        """
        scores = at_least_float32(scores)
        if batch.targets is not None:
            return self._cross_entropy(scores, batch.targets, batch)
        if self.crf is None:
            return nn.functional.cross_entropy(scores, batch.labels)
        return self.crf.loss(scores, batch.labels, packing(batch.plain_lengths)) / batch.labels.shape[0]

    def _cross_entropy(self, scores: Tensor, targets: Targets, batch: Batch) -> Tensor:
        """Hinton et al. 2015; with a CRF of whole label sequences, as in Kim & Rush 2016, section 3.2, but exact."""
        if self.crf is None:
            return nn.functional.cross_entropy(scores, targets.tokens.to(scores))
        moves = targets.moves.double().sum(0)
        return self.crf.cross_entropy(scores, targets.tokens, moves, packing(batch.plain_lengths)) / len(scores)

    def decode(self, scores: Tensor, batch: Batch) -> Tensor:
        """The best labels (N,): of each token, or of each sentence under the CRF. Ties go to the lowest label."""
        if self.crf is None:
            return scores.argmax(dim=1)
        return self.crf.decode(at_least_float32(scores), packing(batch.plain_lengths))

    def marginals(self, scores: Tensor, batch: Batch) -> Tensor:
        """P(token n has label l), (N, L): with a CRF summed over all label sequences of the sentence, else a softmax."""
        scores = at_least_float32(scores)
        return torch.softmax(scores, 1) if self.crf is None else self.crf.marginals(scores, packing(batch.plain_lengths))

    def for_prediction(self) -> Tagger:
        """This network without dropout, in a form that gives a sentence the same bits whatever it is tagged together with.

        ``forward`` may then return some rows of scores more than there are tokens.
        """
        for layer in (self.linear, self.topic, self.lm_projection):
            if layer is not None:
                layer.register_forward_pre_hook(pad_rows)
        return self.eval()
