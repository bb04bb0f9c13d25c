from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.corpus.conll import Sentence
from ner.inputs.indexer import PAD, UNK, Indexer
from training.errors import ConfigError, DataError
from word2vec.text.tokenize import TextRule

TRAIN = [
    Sentence(("The", "EU", "met", "in", "1996"), ("O", "S-ORG", "O", "O", "O"), 1, "train.conll"),
    Sentence(("the", "Berlin", "Wall", "in", "Berlin"), ("O", "B-MISC", "E-MISC", "O", "S-LOC"), 7, "train.conll"),
    Sentence(("Bonn", "1995"), ("S-LOC", "O"), 13, "train.conll"),
]


def test_ids_are_ordered_by_count_and_name() -> None:
    found = Indexer.build(TRAIN, TextRule(lowercase=True, digits="zero"))
    assert list(found.words) == ["0000", "berlin", "in", "the", "bonn", "eu", "met", "wall"]
    assert list(found.words.values()) == list(range(2, 10))
    assert found.num_words == 10
    assert list(found.characters)[:3] == ["n", "e", "9"]
    assert sorted(found.characters) == sorted({c for s in TRAIN for w in s.words for c in w})
    assert found.num_characters == 2 + len(found.characters)
    assert found.labels == tuple("O B-LOC I-LOC E-LOC S-LOC B-MISC I-MISC E-MISC S-MISC B-ORG I-ORG E-ORG S-ORG".split())
    assert found.types == ["LOC", "MISC", "ORG"]


def test_encoding() -> None:
    found = Indexer.build(TRAIN, TextRule(lowercase=False, digits="keep"), min_count=2)
    assert (PAD, UNK) == (0, 1)
    assert found.encode(["in", "Berlin", "EU", "The", "Прага"]).tolist() == [3, 2, 1, 1, 1]
    ids, lengths = found.encode_characters(["nen", "", "Я"])
    assert (ids.tolist(), lengths.tolist()) == ([2, 3, 2, 1], [3, 0, 1])
    assert found.encode([]).dtype == found.encode_characters([])[0].dtype == "int64"
    labels = found.encode_labels(TRAIN[1])
    assert labels.dtype == "int64"
    assert found.decode(labels.tolist()) == list(TRAIN[1].tags)


def test_a_tag_that_training_lacks() -> None:
    found = Indexer.build(TRAIN, TextRule())
    three = Sentence(("a", "b", "c"), ("B-LOC", "I-LOC", "E-LOC"))
    assert found.decode(found.encode_labels(three).tolist()) == list(three.tags)  # I-LOC is in no training sentence
    other = Sentence(("in", "Rome"), ("O", "S-GPE"), 41, "valid.conll")
    with pytest.raises(DataError, match=r"^valid.conll:42: expected O or a IOBES tag .*\(LOC, MISC, ORG\), got 'S-GPE'$"):
        found.encode_labels(other)


def test_only_outside_tags_and_bare_tags() -> None:
    assert Indexer.build([Sentence(("a",), ("O",))], TextRule()).labels == ("O",)
    bare = Indexer.build([Sentence(("a", "b"), ("B", "I"))], TextRule(), "bio")
    assert bare.labels == ("O", "B", "I")
    assert Indexer.from_dict(bare.to_dict()) == bare


def test_words_met_later_are_a_table_of_their_own() -> None:
    found = Indexer.build(TRAIN, TextRule(lowercase=True))
    rows = found.num_words
    later = {"prague": rows, "oslo": rows + 1, "in": rows + 2}
    assert found.encode(["Oslo", "Prague", "in", "gone"], later).tolist() == [rows + 1, rows, found.words["in"], UNK]
    assert found.num_words == rows
    with pytest.raises(FrozenInstanceError):
        found.words = later  # type: ignore[misc]


def test_fewer_words_have_new_ids_and_the_indexer_stays_as_it_is() -> None:
    found = Indexer.build(TRAIN, TextRule(lowercase=True))
    fewer = found.with_words(["wall", "in"])
    assert fewer.words == {"wall": 2, "in": 3}
    assert len(found.words) == 9
    assert fewer.labels == found.labels
    assert fewer.encode_labels(TRAIN[1]).tolist() == found.encode_labels(TRAIN[1]).tolist()


def test_min_count_is_checked() -> None:
    with pytest.raises(ConfigError, match="min_count: expected 1 or more, got 0"):
        Indexer.build(TRAIN, TextRule(), min_count=0)


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1), max_size=8))
@settings(deadline=None)
def test_order_of_sentences_does_not_matter(texts: list[list[str]]) -> None:
    sentences = [Sentence(tuple(words), ("O",) * len(words)) for words in texts]
    found = Indexer.build(sentences, TextRule())
    assert found.to_dict() == Indexer.build(sentences[::-1], TextRule()).to_dict()
    assert all((found.encode(words) >= 2).all() for words in texts)
    assert Indexer.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_file_round_trip(tmp_path: Path) -> None:
    found = Indexer.build([*TRAIN, Sentence(("Москва", "\u2028", '"'), ("S-LOC", "O", "O"))], TextRule(digits="zero"))
    found.save(tmp_path / "indexer.json")
    assert Indexer.load(tmp_path / "indexer.json") == found
    assert Indexer.load(tmp_path / "indexer.json").rule == TextRule(digits="zero")
    first = (tmp_path / "indexer.json").read_bytes()
    found.save(tmp_path / "indexer.json")
    assert (tmp_path / "indexer.json").read_bytes() == first


def damaged(**changes: Any) -> dict[str, Any]:
    values = {**Indexer.build(TRAIN, TextRule()).to_dict(), **changes}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (damaged(words=None), "expected words, characters, labels, scheme and rule"),
        (damaged(extra=1), "expected words, characters, labels, scheme and rule"),
        (damaged(words=["a", 1]), "expected words to be a list of strings"),
        (damaged(characters={"a": 2}), "expected characters to be a list of strings"),
        (damaged(words=["a", "a"]), "expected words without repetition"),
        (damaged(labels=["O", "B-LOC"]), "expected the labels of scheme IOBES, got O, B-LOC"),
        (damaged(labels=["O", "LOC"]), "expected O or a tag like B-PER"),
        (damaged(scheme="ABC"), "scheme: expected one of"),
        (damaged(rule=[]), "expected rule to be a text rule"),
        (damaged(rule={"tokenize": 1}), "expected tokenize, lowercase"),
        ([], "expected words, characters, labels, scheme and rule"),
    ],
)
def test_damaged_files(tmp_path: Path, values: Any, message: str) -> None:
    path = tmp_path / "indexer.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=message) as error:
        Indexer.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read it: No such file"):
        Indexer.load(tmp_path / "nothing")
    for content in (b"{", b"\xff"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(DataError, match="expected an indexer as JSON"):
            Indexer.load(tmp_path / "bad.json")
