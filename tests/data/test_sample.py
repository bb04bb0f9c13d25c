"""data/sample: made anew it is what is committed, and it is the task that its README says it is."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from ner.corpus.conll import read_conll
from word2vec.text.tokenize import sentences, split, tokenize

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
SPLITS = {"train": 2000, "valid": 500, "test": 500}
Mention = tuple[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_generate", SAMPLE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows(name: str) -> list[list[tuple[str, str]]]:
    """Sentences as (word, tag) pairs, without the -DOCSTART- lines."""
    blocks = (SAMPLE / f"{name}.conll").read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    return [[(w, t) for w, t in map(str.split, block.split("\n"))] for block in blocks if block != "-DOCSTART- O"]


def mentions(name: str) -> list[Mention]:
    found: list[tuple[str, list[str]]] = []
    for sentence in rows(name):
        for word, tag in sentence:
            if tag.startswith("B-"):
                found.append((tag[2:], [word]))
            elif tag.startswith("I-"):
                found[-1][1].append(word)
    return [(kind, tuple(words)) for kind, words in found]


def test_made_anew_it_is_the_same(generate: ModuleType, tmp_path: Path) -> None:
    generate.make(tmp_path)
    made = {p.name for p in tmp_path.iterdir()}
    assert made == {"train.conll", "valid.conll", "test.conll", "text.txt", "SHA256SUMS"}
    for name in made:
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), f"{name}: run data/sample/generate.py"


def test_sums() -> None:
    lines = [line.split("  ") for line in (SAMPLE / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    assert [name for _, name in lines] == sorted([*(f"{s}.conll" for s in SPLITS), "text.txt", "names.txt", "patterns.txt"])
    for digest, name in lines:
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == digest, name


def test_license_and_size() -> None:
    assert "CC0 1.0" in (SAMPLE / "LICENSE").read_text(encoding="utf-8")
    assert "CC0 1.0" in (SAMPLE / "README.md").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in SAMPLE.iterdir() if p.is_file()) < 4_000_000


@pytest.mark.parametrize("name", SPLITS)
def test_counts_and_tags(name: str) -> None:
    found = rows(name)
    assert len(found) == SPLITS[name]
    for sentence in found:
        before = "O"
        for _, tag in sentence:
            assert re.fullmatch(r"O|[BI]-(PER|LOC|ORG|MISC)", tag)
            assert not tag.startswith("I-") or before[1:] == tag[1:], sentence
            before = tag
    kinds = Counter(kind for kind, _ in mentions(name))
    assert set(kinds) == {"PER", "LOC", "ORG", "MISC"}
    assert min(kinds.values()) > 0.1 * kinds.total()
    articles = (SAMPLE / f"{name}.conll").read_text(encoding="utf-8").count("-DOCSTART- O\n\n")
    assert 3 < SPLITS[name] / articles < 15


@pytest.mark.parametrize("name", SPLITS)
def test_our_reader_reads_it(name: str) -> None:
    read = read_conll(SAMPLE / f"{name}.conll")
    assert [list(zip(s.words, s.tags, strict=True)) for s in read if s.words[0] != "-DOCSTART-"] == rows(name)


def test_tokens_are_those_of_the_tokenizer(generate: ModuleType) -> None:
    for name in SPLITS:
        made = [sentence for article in generate.labelled(name) for sentence in article]
        for sentence, row in zip(made, rows(name), strict=True):
            assert split(sentence.text) == [word for word, _ in row]
            assert len(sentences(tokenize(sentence.text))) == 1, sentence.text
    for line in (SAMPLE / "text.txt").read_text(encoding="utf-8").splitlines():
        assert split(line) == [line[start:end] for start, end in generate.tokenize(line)]


def test_text_is_raw_prose() -> None:
    lines = (SAMPLE / "text.txt").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert all(line and line == line.strip() and "  " not in line for line in lines)
    assert 290_000 < sum(len(line.split()) for line in lines) < 310_000
    annotated = {" ".join(word for word, _ in row) for name in SPLITS for row in rows(name)}
    long = [" ".join(split(line)) for line in lines if len(line.split()) > 5]
    assert sum(line in annotated for line in long) < 0.02 * len(long)


@pytest.mark.parametrize("name", ["valid", "test"])
def test_most_names_are_new_but_known_to_the_text(name: str) -> None:
    train = {word.casefold() for row in rows("train") for word, _ in row}
    text = Counter(split((SAMPLE / "text.txt").read_text(encoding="utf-8")))
    found = mentions(name)
    unseen = [words for _, words in found if any(word.casefold() not in train for word in words)]
    assert 0.55 < len(unseen) / len(found) < 0.7
    for word in {w for words in unseen for w in words if w.casefold() not in train and not (w.isupper() and len(w) > 5)}:
        cased = text[word] if not word.isupper() else text[word] + text[word.title()]
        assert cased >= 15, word


def test_names_are_ambiguous_and_capitals_do_not_tell(generate: ModuleType) -> None:
    kinds: dict[str, set[str]] = {}
    for name in SPLITS:
        for kind, words in mentions(name):
            if len(words) == 1:
                kinds.setdefault(words[0], set()).add(kind)
    assert sum(len(k) > 1 for k in kinds.values()) > 100
    inner = [tag for row in rows("test") for word, tag in row[1:] if word[0].isupper()]
    assert 0.05 < inner.count("O") / len(inner) < 0.5


def test_patterns_and_names_fit_together(generate: ModuleType) -> None:
    names, kinds = generate.read_names(), generate.read_patterns()
    patterns = [pattern for uses in kinds.values() for found in uses.values() for pattern in found]
    assert len(patterns) == len(set(patterns)) > 400
    assert all({"raw", "labelled", "heldout", "heading"} <= set(uses) for kind, uses in kinds.items() if kind != "any")
    slots = {slot for p in patterns for inside in re.findall(r"\{([^}]*)\}", p) for slot in inside.split("|")}
    slots |= {slot for entries in names.values() for entry in entries for slot in re.findall(r"\{([^}]*)\}", entry)}
    words = {slot for slot in slots if not re.fullmatch(r"[\d.-]+|year", slot)}
    assert words - set(names) == {"PER", "PER.short"}
    assert set(names) - words == {"first"}, "first names come with PER"
