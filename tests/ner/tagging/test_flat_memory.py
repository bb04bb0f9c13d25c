"""Predicting takes the memory of a batch, whatever stands in the text: words, sentences and lines of any length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ner.tagging.tagger
from ner.corpus.conll import Sentence
from ner.corpus.scheme import to_spans
from ner.inputs.batches import SentenceBatches
from ner.inputs.document import LONGEST
from ner.inputs.encode import encode
from ner.inputs.indexer import SPELLED
from ner.tagging.tagger import MOST_TOKENS
from tests.ner.small_tagger import SENTENCES, saved, some_words, tagger

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import resource, sys
from ner.predict import predict_stream
from tests.ner.small_tagger import tagger

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

found = tagger(1, features_dim=4, mentions=True, decoder="crf")
def run(name, form):
    with open(sys.argv[1] + "/out", "w") as out:
        out.writelines(predict_stream(found, sys.argv[1] + "/" + name, form, "jsonl", split_words=True))

run("tiny", "sentences")
before = peak()
for name, form in (("token", "sentences"), ("tokens", "text"), ("sentence", "conll"), ("line", "text"), ("object", "jsonl")):
    run(name, form)
    print(name, peak() - before)
"""


def test_no_word_sentence_or_line_takes_memory_as_it_is_long(tmp_path: Path) -> None:
    """A child's peak, in MB above what it has when it has loaded torch and a tagger; a token of 1 MB once took 4,000."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "tiny").write_text("Ada won .\n")
    (tmp_path / "token").write_text("Ada " + "aGVsbG8/" * 60_000 + " won .\n")
    (tmp_path / "tokens").write_text(" ".join(f"{i}abcdefghi" * 10_000 for i in range(20)) + "\n")
    (tmp_path / "sentence").write_text("Ada\nwon\nOslo\n" * 8_000)
    (tmp_path / "line").write_text("Ada won in Oslo .\t" * 3_000)
    (tmp_path / "object").write_text('{"text": "' + "Ada won in Oslo . " * 3_000 + '"}')
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    peaks = dict(line.split() for line in done.stdout.splitlines())
    assert len(peaks) == 5
    assert {name: int(mb) for name, mb in peaks.items() if int(mb) > 200} == {}


@pytest.mark.parametrize("characters", ["cnn", "lstm"])
def test_of_a_long_word_both_ends_are_read_in_training_and_in_predicting(characters: str) -> None:
    found = tagger(2, characters=characters, decoder="crf")
    long = "Os" * SPELLED + "lo" * SPELLED
    ends = long[:SPELLED], long[-SPELLED:]
    for words in ([long, "won"], ["".join(ends), "won"], [("?" * 10**6).join(ends), "won"]):
        assert found.predict([words]) == found.predict([[long, "won"]])
    assert found.indexer.encode_characters([long])[1].tolist() == [2 * SPELLED]
    limit = long[: 2 * SPELLED]
    assert found.indexer.encode_characters([limit])[0].tolist() == [found.indexer.characters.get(c, 1) for c in limit]
    encoded = encode([Sentence((long,), ("O",))], found.indexer, saved(2, characters=characters).config)
    assert encoded.spellings is not None
    assert encoded.spellings.lengths.tolist() == [2 * SPELLED]
    assert all(len(word) < 2 * SPELLED for sentence in SENTENCES for word in sentence.words)


def test_a_long_sentence_is_tagged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ner.tagging.tagger, "LONGEST_SENTENCE", 50)
    found = tagger(3)
    words, short = some_words(83), some_words(5, 1)
    tagged = found.predict([short, words, [], short])
    assert [len(each.tags) for each in tagged] == [5, len(words), 0, 5]
    assert tagged[0] == tagged[3] == found.predict([short])[0]
    pieces = found.predict([words[:50], words[50:]])
    assert tagged[1].tags == pieces[0].tags + pieces[1].tags
    assert tagged[1].spans == to_spans(tagged[1].tags)
    assert tagged[1].confidences == pieces[0].confidences + pieces[1].confidences
    assert found.tag([short, words, [], short]) == [each.tags for each in tagged]


@pytest.mark.parametrize("documents", [False, True])
def test_batches_are_bounded_and_keep_sentences_and_documents_whole(documents: bool) -> None:
    parts = saved(1, mentions=documents)
    lengths = [1, 40, 9, 1900, 1000, 300, 2, 700, 5000, 3, 0, 80] * 3
    given = [Sentence(tuple(some_words(n, i)) or (), document=i // 4 + 1) for i, n in enumerate(lengths)]
    encoded = encode(given, parts.indexer, parts.config)
    free, bound = (SentenceBatches(encoded, 256, shuffle=False, most=most).plan(0).groups for most in (0, 3000))
    assert np.concatenate(list(bound)).tolist() == np.concatenate(list(free)).tolist()
    for group in bound:
        if documents:
            assert encoded.documents is not None
            assert len(set(encoded.documents.numbers[group].tolist())) == 1 or encoded.lengths[group].sum() <= 3000
        else:
            assert len(group) == 1 or encoded.lengths[group].sum() <= 3000
    assert len(bound) > len(free)
    assert all(encoded.lengths[group].sum() <= max(3000, LONGEST, 5000) for group in bound)
    ordinary = encode(SENTENCES * 100, parts.indexer, parts.config)
    same = [SentenceBatches(ordinary, 256, shuffle=False, most=most).plan(0).groups for most in (0, MOST_TOKENS)]
    assert [each.tolist() for each in same[0]] == [each.tolist() for each in same[1]], "ordinary text is batched as ever"
