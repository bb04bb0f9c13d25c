"""Tables and weights that are carried over: rows keep what they stand for, whatever the new data have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.corpus.dataset import Dataset
from ner.corpus.scheme import allowed_transitions
from ner.corpus.splits import Splits
from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode, word_counts
from ner.inputs.indexer import FIRST, Indexer
from ner.model.tagger import Tagger
from ner.start.start import Start
from ner.start.tables import carry_over, joined, places
from ner.tagging.load import Saved
from ner.train import build_from
from ner.vectors.views import Views
from tests.ner.small_tagger import SENTENCES, saved
from training.errors import ConfigError
from word2vec.vectors.vectors import WordVectors

WORDS = st.sampled_from(["Ada", "ada", "Oslo", "Rome", "won", "in", "é", "Ünsal", "1996", "x", "."])
TAGS = st.sampled_from(["O", "S-PER", "S-LOC", "S-ORG", "S-a-b"])
SENTENCE = st.lists(st.tuples(WORDS, TAGS), min_size=1, max_size=6).map(lambda rows: Sentence(*map(tuple, zip(*rows))))  # type: ignore[arg-type]  # noqa: B905
TEXT = st.lists(SENTENCE, min_size=1, max_size=5)


def partly_fixed(start: Saved, tuned: int) -> Saved:
    """The same tagger, of whose words only so many are trained."""
    table = start.weights["words.weight"]
    split = {"words.weight": table[: FIRST + tuned], "words.fixed": table[FIRST + tuned :]}
    return dataclasses.replace(start, weights={**start.weights, **split})


def data(sentences: list[Sentence]) -> Dataset:
    return Dataset(sentences, sentences, sentences, Splits(*[Path("x")] * 3), "IOBES", 0)


def gone_on(start: Saved, sentences: list[Sentence], **changes: object) -> tuple[Tagger, Indexer]:
    """The model and the tables that the start and the sentences give."""
    config: TaggerConfig = dataclasses.replace(start.config, seed=7, **changes)  # type: ignore[arg-type]
    task, _, indexer = build_from(Start(start, {}, {}), config, data(sentences), None)
    return task.model, indexer


def rows_of_words(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights[name] for name in ("words.weight", "words.fixed") if name in weights])


@settings(max_examples=60, deadline=None)
@given(old=TEXT, new=TEXT, share=st.floats(0, 1), least=st.integers(1, 3), decoder=st.sampled_from(["crf", "softmax"]))
def test_each_row_keeps_what_it_stands_for(
    old: list[Sentence], new: list[Sentence], share: float, least: int, decoder: str
) -> None:
    start = saved(sentences=old, decoder=decoder)
    start = partly_fixed(start, round(share * len(start.indexer.words)))
    model, indexer = gone_on(start, new, tune_min_count=least)
    was, now = dict(start.weights), {name: value.detach() for name, value in model.state_dict().items()}
    own = Indexer.build(new, start.indexer.rule, start.config.scheme)
    counts = word_counts(new, own)
    assert set(start.indexer.words) <= set(indexer.words)
    assert set(indexer.words) == {*start.indexer.words, *(word for word in own.words if counts[word] >= least)}
    assert set(indexer.characters) == {*start.indexer.characters, *own.characters}
    assert indexer.types == list(dict.fromkeys([*start.indexer.types, *own.types]))
    assert Indexer.from_dict(indexer.to_dict()) == indexer
    before, after = rows_of_words(was), rows_of_words(now)
    assert len(after) == indexer.num_words
    for word, row in start.indexer.words.items():
        assert after[indexer.words[word]].equal(before[row]), word
    trained = list(indexer.words)[: len(now["words.weight"]) - FIRST]
    first = list(start.indexer.words)[: len(was["words.weight"]) - FIRST]
    assert set(trained) == {*first, *(word for word in indexer.words if counts[word] >= least)}
    assert after[:FIRST].equal(before[:FIRST])
    for character, row in start.indexer.characters.items():
        assert now["characters.embeddings"][indexer.characters[character]].equal(was["characters.embeddings"][row])
    place = [indexer.labels.index(label) for label in start.indexer.labels]
    for name in ("linear.weight", "linear.bias"):
        assert now[name][place].equal(was[name])
    if decoder == "crf":
        assert now["crf.transitions"][place][:, place].equal(was["crf.transitions"])
        assert now["crf.start_transitions"][place].equal(was["crf.start_transitions"])
        assert now["crf.end_transitions"][place].equal(was["crf.end_transitions"])
    for name in set(was) - {"words.weight", "words.fixed", "characters.embeddings"}:
        if not name.startswith(("linear.", "crf.")):
            assert now[name].equal(was[name]), name


@settings(max_examples=25, deadline=None)
@given(new=TEXT, decoder=st.sampled_from(["crf", "softmax"]))
def test_what_is_new_begins_as_in_a_new_tagger(new: list[Sentence], decoder: str) -> None:
    """A function of (start, data, seed): new rows are those that the initial weights have at their place."""
    start = saved(decoder=decoder)
    model, indexer = gone_on(start, new)
    again, _ = gone_on(start, new)
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    fresh = Tagger(
        dataclasses.replace(start.config, seed=7), torch.zeros(indexer.num_words, 6), indexer.num_characters,
        len(indexer.labels), allowed_transitions(indexer.labels, indexer.scheme),
    )  # fmt: skip
    added = [i for i, label in enumerate(indexer.labels) if label not in start.indexer.labels]
    assert model.linear.weight[added].equal(fresh.linear.weight[added])
    characters = [row for each, row in indexer.characters.items() if each not in start.indexer.characters]
    assert model.characters is not None
    assert fresh.characters is not None
    assert model.characters.embeddings[characters].equal(fresh.characters.embeddings[characters])


def scores_of(model: Tagger, indexer: Indexer, config: TaggerConfig, sentences: list[Sentence]) -> torch.Tensor:
    (batch,) = SentenceBatches(encode(sentences, indexer, config), 16, shuffle=False).plan(0)
    scores: torch.Tensor = model.eval()(batch).detach()
    return scores


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("mentions", [True, False])
def test_with_the_same_labels_the_first_scores_are_the_starts(decoder: str, precision: str, mentions: bool) -> None:
    start = saved(decoder=decoder, mentions=mentions, features_dim=4, precision=precision, topic_dim=3)
    if precision == "64-true":
        start = dataclasses.replace(start, weights={name: each.double() / 3 for name, each in start.weights.items()})
    model, indexer = gone_on(start, SENTENCES)
    assert indexer == start.indexer
    wanted = scores_of(start.model(), start.indexer, start.config, SENTENCES)
    assert scores_of(model, indexer, start.config, SENTENCES).equal(wanted)


@settings(max_examples=25, deadline=None)
@given(new=TEXT)
def test_with_more_labels_the_old_columns_are_the_starts(new: list[Sentence]) -> None:
    start = saved()
    model, indexer = gone_on(start, new)
    place = places(start.indexer.labels, indexer.labels)
    wanted = scores_of(start.model(), start.indexer, start.config, SENTENCES)
    found = scores_of(model, indexer, start.config, SENTENCES)[:, place]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_rare_words_without_a_vector_stay_unknown_and_those_with_one_are_fixed() -> None:
    new = [Sentence(("Kyiv", "Lviv", "Lviv", "Oslo"), ("S-LOC", "S-LOC", "S-LOC", "S-LOC"))]
    start = saved()
    own = Indexer.build(new, start.indexer.rule)
    known = {"start": start, "new": own, "counts": word_counts(new, own), "least": 2}
    for has_vector, there in ((lambda word: word == "Kyiv", True), (lambda word: False, False)):
        tables = joined(**known, has_vector=has_vector)  # type: ignore[arg-type]
        words = list(tables.indexer.words)
        assert words == [*start.indexer.words, "Lviv", *(["Kyiv"] if there else [])]
        assert tables.tuned == FIRST + len(start.indexer.words) + 1


def test_vectors_of_another_size_are_refused() -> None:
    start = saved()
    views = Views([WordVectors(["Ada"], torch.ones(1, 5))])
    with pytest.raises(ConfigError, match="vectors: expected 6 numbers a word"):
        build_from(Start(start, {}, {}), start.config, data(SENTENCES), views)


def test_new_words_get_the_attached_vectors_and_old_ones_keep_theirs() -> None:
    start = saved()
    views = Views([WordVectors(["Kyiv", "Oslo"], torch.arange(12.0).reshape(2, 6))])
    sentences = [Sentence(("Kyiv", "Oslo", "zyx"), ("S-LOC", "S-LOC", "O"))]
    task, _, indexer = build_from(Start(start, {}, {}), start.config, data(sentences), views)
    table = task.model.words.weight.detach()
    assert table[indexer.words["Kyiv"]].equal(torch.arange(6.0))
    assert table[indexer.words["Oslo"]].equal(start.weights["words.weight"][start.indexer.words["Oslo"]])


def test_carrying_over_twice_changes_nothing() -> None:
    start = saved()
    model, indexer = gone_on(start, SENTENCES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    carry_over(start, model, indexer)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
