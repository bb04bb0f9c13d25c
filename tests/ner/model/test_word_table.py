"""The word table: what is attached later, and what is frozen."""

from __future__ import annotations

import torch

from ner.corpus.conll import Sentence
from ner.inputs.indexer import Indexer
from ner.model.word_table import WordTable
from ner.vectors.unseen import UnseenWords
from ner.vectors.views import Views
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

CASED = TextRule(tokenize=False, lowercase=False, digits="keep")


def test_attached_words_are_looked_up_and_are_no_weights() -> None:
    indexer = Indexer.build([Sentence(("Oslo", "won"), ("S-LOC", "O"))], CASED)
    before = indexer.to_dict()
    table = WordTable(torch.arange(12.0).reshape(4, 3))
    known = WordVectors(["Oslo", "Rome", "rome"], torch.arange(9, dtype=torch.float32).reshape(-1, 3) + 1, CASED)
    views, unseen = Views([known]), UnseenWords()
    table.attach(unseen.add(indexer, views, ["Rome", "Oslo", "nowhere", "Rome"]))
    assert unseen.ids == {"Rome": 4}
    table.attach(unseen.add(indexer, views, ["Rome"]))
    assert len(table.extra) == len(unseen) == 1
    ids = torch.from_numpy(indexer.encode(["Oslo", "Rome", "nowhere"], unseen.ids))
    assert ids.tolist() == [2, 4, 1]
    assert indexer.encode(["Oslo", "Rome", "nowhere"]).tolist() == [2, 1, 1]
    assert torch.equal(table(ids), torch.stack([table.weight[2], known.matrix[1], table.weight[1]]))
    assert list(table.state_dict()) == ["weight"]
    assert indexer.to_dict() == before


def test_a_frozen_table_has_no_gradient() -> None:
    table = WordTable(torch.ones(3, 2), freeze=True)
    assert not table(torch.tensor([1, 2])).requires_grad
