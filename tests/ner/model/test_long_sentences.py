"""Sentences of 1,200 tokens train and predict, beside short ones, with work that grows as their length and no faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ner.corpus.scheme import allowed_transitions, labels_of
from ner.model.bilstm import BiLSTM
from ner.model.crf import CRF
from ner.model.packing import packing
from training.randomness import below, uniform

LABELS = labels_of(["LOC", "PER"], "IOBES")
LONG = 1200


class Work(TorchDispatchMode):
    """Counts operations, and the numbers that they return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        if not func.is_view:
            self.numbers += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def _step(lengths: list[int]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """A BiLSTM with a CRF: the scores, the decoded labels, and the gradients of a training step."""
    plan = packing(torch.tensor(lengths))
    model, crf = BiLSTM(6, len(LABELS), seed=1), CRF(len(LABELS), allowed_transitions(LABELS, "IOBES"), seed=1)
    tokens = uniform((sum(lengths), 6), -1.0, 1.0, 2, "tokens")
    scores = model(tokens, plan)[:, : len(LABELS)]
    gold = crf.decode(uniform(tuple(scores.shape), -1.0, 1.0, 3, "gold"), plan)
    gradients = torch.autograd.grad(crf.loss(scores, gold, plan), [*model.parameters(), *crf.parameters()])
    with torch.no_grad():
        return scores.detach(), crf.decode(scores, plan), list(gradients)


def test_a_long_sentence_beside_short_ones_is_read_whole() -> None:
    short = below(30, 9, 1, "lengths").tolist()
    scores, labels, gradients = _step([LONG, *short])
    assert len(labels) == LONG + sum(short)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    alone, labels_alone, _ = _step([LONG])
    assert torch.equal(scores[:LONG], alone)
    assert torch.equal(labels[:LONG], labels_alone)


def test_work_grows_as_the_length() -> None:
    counts = []
    for length in (LONG // 2, LONG):
        with Work() as work:
            _step([length])
        counts.append((work.operations, work.numbers))
    for half, whole in zip(*counts, strict=True):
        assert whole < 2.05 * half
