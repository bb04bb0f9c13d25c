"""Predicting: confidence against enumeration, offsets, thresholds, memory of unseen words, streams in order."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ner.tagging.tagger
from ner.corpus.cut import LONGEST_SENTENCE, cut_text
from ner.corpus.scheme import labels_of, to_spans
from ner.model.confidence import continuations
from ner.predict import predict_stream
from ner.tagging.chunks import CHUNK
from ner.tagging.readers import LONGEST, Lines, form_of, read_passages
from ner.tagging.tagger import TrainedTagger
from ner.vectors.views import Views
from tests.ner.small_tagger import RULE, saved, some_words, tagger
from tests.reference import spans_brute
from training.errors import ConfigError, DataError
from word2vec.text.file_kinds import STDIN, decide
from word2vec.vectors.vectors import WordVectors

TEXT = "Ada Marlow flew to Oslo. She won in Rome 2-1!\n\nBo won in Oslo\r\n  \nÜnsal 🇳🇴 — “Rome”\u200b.\n"


def brute_confidence(found: TrainedTagger, words: list[str], temperature: float) -> list[float]:
    """The probability of each predicted entity by enumeration of all label sequences, whose scores are divided."""
    chain, tags = spans_brute.chain_of(found, words, temperature), found.tag([words])[0]
    return [spans_brute.probability(chain, found.indexer.labels, span, tags) for span in to_spans(tags)]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("scheme", ["IOBES", "IOB2"])
def test_confidence_is_that_of_enumeration(decoder: str, scheme: str) -> None:
    seen = set()
    for seed in range(12):
        temperature = (1.0, 1.7, 0.6)[seed % 3]
        found = TrainedTagger(dataclasses.replace(saved(seed, decoder=decoder, scheme=scheme), temperature=temperature))
        sentences = [some_words(length, seed + length) for length in (4, 1, 3, 2)]
        predicted = found.predict(sentences)
        for words, result in zip(sentences, predicted, strict=True):
            assert result.tags == found.tag([words])[0]
            assert result.spans == to_spans(result.tags)
            assert result.confidences == pytest.approx(brute_confidence(found, words, temperature), abs=1e-6)
            seen |= {span.end - span.start for span in result.spans}
    assert {1, 2, 3} <= seen, "entities of several lengths were met"


@pytest.mark.parametrize(
    ("words", "got"),
    [
        ("Ada met Bo", '"Ada met Bo"'),
        (["Ada met Bo"], '"Ada met Bo"'),
        ([["Ada"], "Bo"], '"Bo"'),
        ([["Ada", 5]], "5 as a word"),
        ([b"Ada"], "Ada"),
        ([5], "5"),
        ({"a": ["Ada"]}, "Ada"),
        ([{"Ada"}], "Ada"),
        (iter([["Ada"]]), "iterator"),
    ],
)
def test_what_is_no_list_of_words(words: Any, got: str) -> None:
    found = tagger()
    for call in (found.tag, found.predict):
        with pytest.raises(ConfigError, match=f"expected sentences, each a list of its words, got .*{got}.*; entities"):
            call(words)


@pytest.mark.parametrize("kind", [list, tuple, np.array, collections.deque, collections.UserList])
def test_words_in_any_kind_of_list(kind: Callable[[list[str]], Any]) -> None:
    found = tagger()
    assert found.tag([kind(["Ada", "met"])]) == found.tag([["Ada", "met"]])


def test_numbers_of_other_sentences() -> None:
    with pytest.raises(ConfigError, match="numbers: expected one for each of 1 sentences, got 2"):
        tagger().tag([["Ada"]], [1, 2])


def test_continuations_are_what_makes_a_span_longer() -> None:
    for scheme in ("IOBES", "IOB2"):
        names = labels_of(["X", "Y"], scheme)
        for (i, one), (j, two) in itertools.product(enumerate(names), repeat=2):
            longer = len(to_spans([one, two])) == 1 and to_spans([one, two])[0].end == 2 and one != "O"
            assert bool(continuations(names)[i, j]) == longer, (one, two)


def test_offsets_and_batches() -> None:
    """Entities are what stands at their offsets; in any company and with any number of threads in the same bits."""
    found = tagger(3)
    entities = found.entities(TEXT)
    assert len(entities) > 3
    assert all(TEXT[e.start : e.end] == e.text and 0.0 <= e.confidence <= 1.0 for e in entities)
    middle = sorted(e.confidence for e in entities)[len(entities) // 2]
    assert found.entities(TEXT, middle) == [e for e in entities if e.confidence >= middle]
    sentences = [some_words(n % 9, n) for n in range(150)]
    together = found.predict(sentences)
    assert [found.predict([words])[0] for words in sentences] == together
    for threads in (2, 3, 4):
        torch.set_num_threads(threads)
        assert [found.predict([words])[0] for words in sentences[:40]] == together[:40]
        assert found.predict(sentences) == together
    torch.set_num_threads(1)
    assert found.predict([]) == []


def test_under_a_crf_company_changes_no_tag_and_no_more_than_the_last_bits_of_a_confidence() -> None:
    """The recursion's products round by the number of sentences in a batch (docs/data.md says so)."""
    for seed in range(4):
        found = tagger(seed, decoder="crf")
        sentences = [some_words(1 + n % 9, n) for n in range(60)]
        for words, together in zip(sentences, found.predict(sentences), strict=True):
            alone = found.predict([words])[0]
            assert (alone.tags, alone.spans) == (together.tags, together.spans)
            assert alone.confidences == pytest.approx(together.confidences, rel=1e-14, abs=0)


def test_above_a_threshold_tags_and_entities_agree() -> None:
    found = tagger(3).predict([some_words(30)])[0]
    for threshold in sorted({0.0, 1.0, *found.confidences}):
        kept = found.above(threshold)
        assert to_spans(kept.tags) == kept.spans
        assert kept.spans == [s for s, c in zip(found.spans, found.confidences, strict=True) if c >= threshold]


def test_unseen_words_are_looked_up_and_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{i}" for i in range(50)]
    vectors = Views([WordVectors(words, torch.randn(50, 6, generator=torch.Generator().manual_seed(0)), RULE)])
    with_all, forgetful, without = tagger(1, vectors), tagger(1, vectors), tagger(1)
    monkeypatch.setattr(ner.tagging.tagger, "MOST_UNSEEN", 5)
    most = 0
    for i in range(0, 50, 4):
        row = [*words[i : i + 4], "Ada", "w0"]
        monkeypatch.setattr(ner.tagging.tagger, "MOST_UNSEEN", 10**9)
        wanted = with_all.predict([row])
        monkeypatch.setattr(ner.tagging.tagger, "MOST_UNSEEN", 5)
        assert forgetful.predict([row]) == wanted
        most = max(most, len(forgetful.model.words.extra))
        assert len(forgetful._unseen) == len(forgetful.model.words.extra)
    assert len(with_all.model.words.extra) == 50
    assert most < 12
    assert with_all.predict([words])[0] != without.predict([words])[0]


# -- reading ----------------------------------------------------------------------------------------------------------


def passages(data: bytes, form: str, **settings: object) -> list[tuple[str, list[list[str]]]]:
    import io

    lines = Lines(io.BytesIO(data), "f")
    read = read_passages(lines, form, tagger().columns, **settings)  # type: ignore[arg-type]
    return [(p.text, [[t.text for t in s] for s in p.sentences]) for p in read]


def test_forms_by_content_and_by_name_where_that_leaves_it_open() -> None:
    words = "Ada\nwon\n\nBo\nlost\n"
    names = {"a.txt": "text", "x/eng.testa": "conll", "a.conll": "conll", "train.json": "text", "dev.tsv": "conll"}
    assert {name: form_of(name, decide(words.encode(), whole=True, name=name)) for name in names} == names
    contents = {"Ada won. Bo lost.\n": "text", "Ada O\nwon O\n": "conll", '{"text": "Ada won."}\n': "jsonl"}
    for content, form in contents.items():
        kinds = {name: decide(content.encode(), whole=True, name=name) for name in (*names, STDIN, "a.jsonl")}
        assert {form_of(name, kind) for name, kind in kinds.items()} == {form}, content


def test_text_sentences_json_and_conll_are_read() -> None:
    two = [["Ada", "won", "."], ["Bo", "lost", "."]]
    assert passages(b"\xef\xbb\xbfAda won. Bo lost.\r\n\nx", "text") == [
        ("Ada won. Bo lost.", two),
        ("", []),
        ("x", [["x"]]),
    ]
    assert passages(b"Ada won. Bo lost.\n", "sentences") == [("Ada won. Bo lost.", [[*two[0], *two[1]]])]
    assert passages(b"Ada's, won.\n", "sentences", split_words=True) == [("Ada's, won.", [["Ada's,", "won."]])]
    lines = b'{"text": "Ada won. Bo lost."}\n\n{"tokens": ["Ada", "a b"], "id": 1}\n{"text": "ab", "tokens": ["a", "b"]}\n'
    assert passages(lines, "jsonl") == [("Ada won. Bo lost.", two), ("Ada a b", [["Ada", "a b"]]), ("ab", [["a", "b"]])]
    assert passages(b'{"body": "x"}', "jsonl", key="body") == [("x", [["x"]])]
    assert passages(b"Ada x\nwon y\n\nBo z\n", "conll") == [("Ada won", [["Ada", "won"]]), ("Bo", [["Bo"]])]


def test_a_blank_line_ends_a_sentence_and_a_page_of_numbers_is_cut() -> None:
    assert [[t.text for t in part] for part in cut_text("Headline here\n\nIt\nwent on")] == [
        ["Headline", "here"],
        ["It", "went", "on"],
    ]
    long = cut_text("7 " * (2 * LONGEST_SENTENCE + 5))
    assert [len(part) for part in long] == [LONGEST_SENTENCE, LONGEST_SENTENCE, 5]


@pytest.mark.parametrize(
    ("data", "form", "message"),
    [
        (b"a\nb\xff\n", "text", r"f:2: expected UTF-8, got byte 0xff"),
        (b'{"text": "x"}\n[1]\n', "jsonl", r"f:2: expected a JSON object, got list"),
        (b'{"text": "x"', "jsonl", r"f:1: expected a JSON object, got text that is not JSON at character 13 \(Expecting"),
        (b"[" * 100_000, "jsonl", r"f:1: expected a JSON object, got JSON that is nested too deep"),
        (b'{"txt": "x"}\n', "jsonl", r"f:1: expected an entry text or tokens, got \[.txt.\]; name the right one"),
        (b'{"text": 3}\n', "jsonl", r"f:1: expected text to be a text, or a list of words, got 3"),
        (b'{"tokens": ["a", ""]}\n', "jsonl", r"f:1: expected tokens to be"),
        (b'{"text": "\\ud800"}\n', "jsonl", r"f:1: expected text to be"),
        (b"a b\nc\n", "conll", r"f:2: expected 2 columns"),
        (b"x" * (LONGEST + 70_000), "text", r"f:1: expected lines of at most"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(data: bytes, form: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        passages(data, form)


# -- streams ----------------------------------------------------------------------------------------------------------


def test_json_lines_keep_order_offsets_and_other_entries(tmp_path: Path) -> None:
    found = tagger(3)
    file = tmp_path / "a.txt"
    file.write_bytes(TEXT.encode() * 3)
    lines = [json.loads(piece) for piece in predict_stream(found, str(file), output="jsonl")]
    whole = TEXT * 3
    assert "".join(line["text"] for line in lines) == whole.replace("\r\n", "").replace("\n", "")
    entities = 0
    for line in lines:
        assert whole[line["offset"] :].startswith(line["text"])
        for each in line["entities"]:
            entities += 1
            assert line["text"][each["start"] : each["end"]] == each["text"]
            assert whole[line["offset"] + each["start"] : line["offset"] + each["end"]] == each["text"]
            assert set(each) == {"type", "start", "end", "text", "confidence"}
    assert entities > 9
    given = [{"id": n, "tokens": some_words(n % 7, n), "x": {"y": [n]}} for n in range(CHUNK + 30)]
    source = tmp_path / "b.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in given))
    results = [json.loads(piece) for piece in predict_stream(found, str(source))]
    for one, result in zip(given, results, strict=True):
        assert {name: result[name] for name in one} == one
        assert result["tags"] == (found.tag([one["tokens"]])[0])  # type: ignore[list-item]
        for each in result["entities"]:
            first, last = each["tokens"]
            assert " ".join(result["tokens"][first:last]) == each["text"]


def test_conll_text_html_and_colors(tmp_path: Path) -> None:
    found = tagger(3)
    conll = tmp_path / "a.conll"
    conll.write_text("-DOCSTART- -X-\n\nAda x\nMarlow y\n\nOslo z\n")
    rows = "".join(predict_stream(found, str(conll))).splitlines()
    assert [row.split()[:2] for row in rows if row] == [["-DOCSTART-", "-X-"], ["Ada", "x"], ["Marlow", "y"], ["Oslo", "z"]]
    assert rows[0].split()[-1] == "O"
    assert [row.split()[-1] for row in rows if row][1:] == [
        tag for tags in found.tag([["Ada", "Marlow"], ["Oslo"]]) for tag in tags
    ]
    as_json = [json.loads(piece) for piece in predict_stream(found, str(conll), output="jsonl")]
    assert [line["tokens"] for line in as_json] == [["Ada", "Marlow"], ["Oslo"]]
    text = tmp_path / "a.txt"
    text.write_text("Ada <b>&amp; Bo</b> \x1b[2J won in Oslo.\n")
    plain = "".join(predict_stream(found, str(text)))
    marks = [f"[{e.text}]{{{e.type} {e.confidence:.2f}}}" for e in found.entities(text.read_text())]
    assert marks
    assert all(mark in plain for mark in marks)
    assert plain.count("\n") == 1
    colored = "".join(predict_stream(found, str(text), color=True))
    assert "\x1b[2J" not in colored
    assert colored.count(r"\x1b") == 1
    assert colored.count("\x1b[0m") == 2 * len(marks)
    page = "".join(predict_stream(found, str(text), output="html"))
    assert "<b>" not in page
    assert page.count("<mark") == len(marks) + len({e.type for e in found.entities(text.read_text())})
    assert page.endswith("</html>\n")
    assert "http" not in page, "nothing is fetched"
    none = "".join(predict_stream(found, str(text), threshold=1.0))
    assert "{" not in none
    tagged = [row.split("\t") for row in "".join(predict_stream(found, str(text), output="conll")).splitlines() if row]
    assert all(len(row) == 2 for row in tagged)


def test_bad_settings_and_words_that_columns_cannot_hold(tmp_path: Path) -> None:
    found = tagger()
    with pytest.raises(ConfigError, match="expected input auto, text"):
        list(predict_stream(found, "-", "xml"))
    source = tmp_path / "a.jsonl"
    source.write_text('{"tokens": ["a"]}\n{"tokens": ["a\\tb"]}\n')
    with pytest.raises(DataError, match=r"a.jsonl:2: expected words and tags that columns can hold.*--format jsonl"):
        list(predict_stream(found, str(source), output="conll"))
    with pytest.raises(DataError, match=r"gone.txt: expected a file to tag"):
        list(predict_stream(found, str(tmp_path / "gone.txt")))


def test_progress_counts_the_bytes_of_the_files(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Ada flew to Oslo.\n" * (2 * CHUNK) + "Bo won.", encoding="utf-8")
    told: list[tuple[str, int, int]] = []
    pieces = list(predict_stream(tagger(), str(file), progress=lambda *each: told.append(each)))
    assert len(pieces) == 2 * CHUNK + 1
    assert {(what, total) for what, _, total in told} == {(f"tagging {file}", file.stat().st_size)}
    done = [each for _, each, _ in told]
    assert done == sorted(set(done))
    assert done[0] < done[-1] == file.stat().st_size


def test_a_stream_is_read_only_as_far_as_it_is_written() -> None:
    """Memory does not grow with the input: what is read ahead is one chunk."""
    read = 0

    class Endless:
        def read(self, size: int) -> bytes:
            nonlocal read
            read += 1
            return b"Ada Marlow flew to Oslo. " * 40 + b"\n"

    lines = Lines(Endless(), "endless")  # type: ignore[arg-type]
    stream = read_passages(lines, "text", tagger().columns)
    for _ in range(100):
        next(stream)
    assert read <= 100
