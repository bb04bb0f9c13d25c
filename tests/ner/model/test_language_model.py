"""The language model's network: its loss by hand, and states that depend on the sentence alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ner.model import language_model
from ner.model.language_model import FrozenLanguageModel, LanguageModel, adaptive_softmax
from training.randomness import uniform

CUTOFFS = 4, 7  # so that a vocabulary of eleven has two clusters


def log_softmax_by_hand(softmax: torch.nn.AdaptiveLogSoftmaxWithLoss, state: Tensor) -> list[float]:
    """The logarithm of the probability of each word (Grave et al. 2017, section 4.2), word by word."""

    def of(scores: list[float]) -> list[float]:
        total = math.log(sum(math.exp(score) for score in scores))
        return [score - total for score in scores]

    def scores(rows: Tensor, inputs: Tensor) -> list[float]:
        return [sum(float(a) * float(b) for a, b in zip(row, inputs, strict=True)) for row in rows]

    head = of(scores(softmax.head.weight.double(), state.double()))
    words = head[: softmax.shortlist_size]
    clusters: Any = softmax.tail
    for number, (down, up) in enumerate(clusters):
        inner = torch.tensor(scores(down.weight.double(), state.double()))
        words += [head[softmax.shortlist_size + number] + each for each in of(scores(up.weight.double(), inner))]
    return words


@pytest.fixture
def small_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "CUTOFFS", CUTOFFS)


@pytest.mark.usefixtures("small_clusters")
@pytest.mark.parametrize("words", [[5], [2, 9, 3, 10, 1], [4, 4, 4, 4], [7, 8, 9, 10]])
@torch.no_grad()
def test_the_loss_is_that_of_the_words_on_either_side(words: list[int]) -> None:
    model = LanguageModel(uniform((11, 4), -1, 1, 0, "words"), hidden_size=3, projection_dim=16, seed=1)
    assert len(model.softmax.tail) == len(CUTOFFS)
    ids = torch.tensor(words)
    after, before = torch.tensor([*words[1:], 0]), torch.tensor([0, *words[:-1]])
    states = model.states(model.words(ids), (len(words),))
    total = 0.0
    for n in range(len(words)):
        for state, target in ((states[n, :3], after[n]), (states[n, 3:], before[n])):
            likely = log_softmax_by_hand(model.softmax, model.projection(state))
            assert sum(map(math.exp, likely)) == pytest.approx(1)
            total -= likely[int(target)]
    assert float(model.loss(states, after, before)) == pytest.approx(total / (2 * len(words)), rel=1e-5)


@pytest.mark.usefixtures("small_clusters")
def test_no_state_knows_the_word_that_it_predicts() -> None:
    """A change of a word changes no forward state before it, and no reverse state behind it."""
    model = LanguageModel(uniform((11, 4), -1, 1, 0, "words"), hidden_size=3, projection_dim=16, seed=1)
    one, other = (model.states(model.words(torch.tensor(ids)), (5,)) for ids in ([2, 3, 4, 5, 6], [2, 3, 9, 5, 6]))
    same = (one == other).reshape(5, 2, 3).all(2)  # shape: (words, directions)
    assert same[:, 0].tolist() == [True, True, False, False, False]
    assert same[:, 1].tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("words", [4, 5, 2_000, 2_001, 2_002, 30_000])
@torch.no_grad()
def test_a_softmax_for_a_vocabulary_of_any_size(words: int) -> None:
    softmax = adaptive_softmax(16, words, seed=0)
    again = adaptive_softmax(16, words, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(softmax.parameters(), again.parameters(), strict=True))
    assert softmax.log_prob(torch.ones(1, 16)).exp().sum().item() == pytest.approx(1, rel=1e-4)


@given(st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=9), min_size=1, max_size=6))
def test_a_sentence_has_the_same_states_alone_and_in_any_batch(sentences: list[list[int]]) -> None:
    trained = LanguageModel(uniform((11, 4), -1, 1, 0, "words"), hidden_size=3, projection_dim=16, seed=1)
    frozen = FrozenLanguageModel(11, 4, 3)
    weights = trained.state_dict()
    own = {name: value for name, value in weights.items() if name.startswith("lstm.")}
    frozen.load_state_dict({"words": weights["words.weight"], **own})
    together = frozen(torch.tensor([word for each in sentences for word in each]), tuple(map(len, sentences)))
    assert not together.requires_grad
    alone = [frozen(torch.tensor(each), (len(each),)) for each in sentences]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(alone[0], trained.states(trained.words(torch.tensor(sentences[0])), (len(sentences[0]),)))


def test_what_is_frozen_has_nothing_to_train() -> None:
    frozen = FrozenLanguageModel(11, 4, 3)
    assert frozen.size == 6
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert {*frozen.state_dict()} >= {"words", "lstm.weight_ih_l0", "lstm.weight_hh_l0_reverse"}
