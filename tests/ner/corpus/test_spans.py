"""Entities as spans of characters: every tool's form read alike, what does not fit named, and written back the same."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ner.config import TaggerConfig
from ner.corpus.alignment import SpanNotes, SpanRules, align, sentences_of
from ner.corpus.check import data_check
from ner.corpus.conll import Sentence, read_conll
from ner.corpus.convert import convert_file
from ner.corpus.cut import cut_text
from ner.corpus.dataset import read_dataset
from ner.corpus.labeled import files_of, read_labeled
from ner.corpus.records import CharSpan, Record
from ner.corpus.repair import repair_file
from ner.corpus.scheme import SCHEMES, from_spans, to_spans
from ner.corpus.splits import find_splits
from ner.inputs.document import documents
from ner.predict import evaluate_file, predict_stream
from tests.ner.small_tagger import tagger
from training.errors import ConfigError, DataError
from word2vec.text.corpus import encode
from word2vec.text.file_kinds import BRAT, opened
from word2vec.text.tokenize import TextRule, tokenize

TAGGER = tagger(3)
TEXT = "Ada Marlow flew to Oslo. She met Bo."
SPANS = ((0, 10, "PER"), (19, 23, "LOC"), (33, 35, "PER"))
READ = [
    (("Ada", "Marlow", "flew", "to", "Oslo", "."), ("B-PER", "I-PER", "O", "O", "B-LOC", "O")),
    (("She", "met", "Bo", "."), ("O", "O", "B-PER", "O")),
]


def objects(start: str = "start", end: str = "end", label: str = "label", **more: Any) -> list[dict[str, Any]]:
    return [{start: first, end: last, label: kind, **more} for first, last, kind in SPANS]


def results(**more: Any) -> list[dict[str, Any]]:
    labels = [
        {"type": "labels", "id": str(first), "from_name": "label", "to_name": "text",
         "value": {"start": first, "end": last, "text": TEXT[first:last], "labels": [kind], **more}}
        for first, last, kind in SPANS
    ]  # fmt: skip
    return [
        *labels,
        {"type": "choices", "value": {"choices": ["news"]}},
        {"type": "relation", "from_id": "0", "to_id": "19"},
    ]


TRIPLES = [list(span) for span in SPANS]
TOKENS = [{"text": t.text, "start": t.start, "end": t.end, "id": i} for i, t in enumerate(tokenize(TEXT))]
WORDS = [token.text for token in tokenize(TEXT)]
FORMS: dict[str, Any] = {
    "doccano": {"id": 1, "text": TEXT, "label": TRIPLES},
    "doccano, labels": {"id": 1, "text": TEXT, "labels": TRIPLES, "meta": {}},
    "doccano, data": {"id": 1, "data": TEXT, "label": TRIPLES},
    "doccano, relations": {"text": TEXT, "entities": objects("start_offset", "end_offset"), "relations": []},
    "doccano, annotations": {"text": TEXT, "annotations": objects("start_offset", "end_offset")},
    "Prodigy": {"text": TEXT, "spans": objects(token_start=0), "tokens": TOKENS, "answer": "accept", "_input_hash": 5},
    "spaCy, entities": {"text": TEXT, "entities": TRIPLES},
    "spaCy, pair": [TEXT, {"entities": TRIPLES}],
    "spaCy, Doc": {"text": TEXT, "ents": objects(), "tokens": TOKENS,
                   "sents": [{"start": 0, "end": 24}, {"start": 25, "end": 36}]},
    "Label Studio": {"id": 3, "data": {"text": TEXT}, "annotations": [{"id": 1, "result": results()}]},
    "Label Studio, completions": {"data": {"message": TEXT}, "completions": [{"result": results()}]},
    "Label Studio, skipped": {"data": {"text": TEXT},
                              "annotations": [{"was_cancelled": True, "result": []}, {"result": results()}]},
    "Label Studio, twice": {"data": {"text": TEXT}, "annotations": [{"result": results()}, {"result": results()}]},
    "Label Studio, small": {"text": TEXT, "label": [{"start": a, "end": b, "labels": [t]} for a, b, t in SPANS]},
    "predict": {"text": TEXT, "entities": objects(label="type", confidence=0.5)},
    "the text of each": {"text": TEXT, "label": [[a, b, t, TEXT[a:b]] for a, b, t in SPANS]},
    "a label of the text": {"text": TEXT, "label": "news", "spans": objects(), "labels": ["news", "sport"]},
    "a number of tokens": {"text": TEXT, "spans": objects(), "tokens": 10},
    "words": {"text": TEXT, "tokens": WORDS, "spans": objects()},
    "blank tokens": {"text": TEXT, "tokens": [*TOKENS[:6], {"text": " ", "start": 24, "end": 25}, *TOKENS[6:]],
                     "spans": objects()},
    "words and blanks": {"text": TEXT, "tokens": [*WORDS[:6], " ", *WORDS[6:], ""], "spans": objects()},
    "Label Studio, hypertext": {"data": {"text": TEXT}, "annotations": [{"result": [
        {"type": "hypertextlabels", "value": {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": a,
                                              "globalOffsets": {"start": a, "end": b}, "hypertextlabels": [kind]}}
        for a, b, kind in SPANS]}]},
    "unsorted": {"text": TEXT, "spans": objects()[::-1]},
    "blanks at the ends": {"text": TEXT, "label": [[0, 11, "PER"], [18, 23, "LOC"], [32, 35, "PER"]]},
}  # fmt: skip


def written(form: str, value: Any, path: Path) -> Path:
    if form == "lines":
        path.write_text(json.dumps(value) + "\n\n" + json.dumps(value) + "\n", encoding="utf-8")
    elif form == "list":
        path.write_text(json.dumps([value, value], indent=2), encoding="utf-8")
    elif form == "short list":
        path.write_text(json.dumps([value, value], ensure_ascii=False), encoding="utf-8")
    elif form == "CRLF":
        path.write_bytes(b"\xef\xbb\xbf" + (json.dumps(value) + "\r\n").encode() * 2)
    else:
        path.write_text(json.dumps(value, indent=2) + "\n" + json.dumps(value, indent=2), encoding="utf-8")
    return path


def tagged(sentences: list[Sentence]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(sentence.words, sentence.tags) for sentence in sentences]


@pytest.mark.parametrize("form", FORMS)
def test_every_tools_form_is_read_alike(form: str, tmp_path: Path) -> None:
    for i, way in enumerate(("lines", "list", "short list", "CRLF", "objects")):
        if way == "objects" and isinstance(FORMS[form], list):
            continue
        path = written(way, FORMS[form], tmp_path / f"{i}{('.json', '.jsonl', '.txt', '')[i % 4]}")
        found = read_labeled(path)
        assert tagged(found.sentences) == 2 * READ, (form, way)
        assert [each.document for each in found.sentences] == [1, 1, 2, 2]
        assert not found.lines()
        assert all(each.where(1) == f"{path}:{each.line}" for each in found.sentences)
        assert found.sentences[0].line == (2 if way == "list" else 1)
        assert data_check([path]).ok
        pieces = "".join(predict_stream(TAGGER, str(path), output="conll"))
        assert [line.split("\t")[0] for line in pieces.split("\n") if line] == [w for words, _ in 2 * READ for w in words]
        assert evaluate_file(TAGGER, str(path)).to_dict()["strict"]["micro avg"]["support"] == 6


def test_what_nobody_has_labeled_is_left_out_and_counted(tmp_path: Path) -> None:
    records = [
        FORMS["Label Studio"],
        {"id": 2, "data": {"text": "Bo won."}, "annotations": []},
        {"id": 3, "data": {"text": "Bo won."}, "annotations": [{"was_cancelled": True, "result": []}]},
        {"text": "Bo won.", "spans": [], "answer": "reject"},
        {"text": "Bo won.", "answer": "ignore"},
        {"text": "Bo won.", "answer": "accept"},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    found = read_labeled(path)
    assert tagged(found.sentences) == [*READ, (("Bo", "won", "."), ("O", "O", "O"))]
    assert found.lines() == [f"texts that were left out: 4 (the first: {path}:1: it has no annotation)"]
    assert [(each.kind, each.count) for each in data_check([path]).findings if each.level == "warning"] == [("spans", 4)]


# --- what is wrong with a record, each in one line with file and line

HALF = "\ud800"
OFFSETS: list[Any] = [-1, 37, 10**30, 1.0, 0.5, True, None, "3", [], {}, HALF]
NO_TYPES: list[Any] = [None, 3, 1.5, True, [], {}, HALF, "PER\n", "a\tb", " PER", "PER ", "-PER", "PER-", "\r"]


def each(key: str, *values: Any) -> list[Any]:
    """Records with a text, and these values for one entry."""
    return [{"text": TEXT, key: value} for value in values]


def tasks(*results_: Any) -> list[Any]:
    """Label Studio's, with these results."""
    return [{"data": {"text": TEXT}, "annotations": [{"result": result}]} for result in results_]


BAD: dict[str, list[Any]] = {
    "start": each("label", *([[bad, 10, "PER"]] for bad in OFFSETS)),
    "end": each("spans", *([{"start": 0, "end": bad, "label": "PER"}] for bad in OFFSETS)),
    "backwards": each("label", *([[start, end, "PER"]] for start, end in ((3, 3), (10, 0), (36, 36)))),
    "type": each("label", *([[0, 10, bad]] for bad in NO_TYPES)),
    "no list": each("label", {}, "PER", 3, None, True),
    "no span": each("label", [3], ["PER"], [None], [[]], [[0, 3]], [[0, 3, "A", "Ada", 1]], [{}], [[[0, 3, "A"]]]),
    "no text": [{"label": TRIPLES}, {"text": None, "label": []}, {"text": 3, "label": []}, {"text": [TEXT], "label": []},
                {"text": HALF, "label": []}, {"data": {"a": "x", "b": "y"}, "annotations": []}, {"data": {}, "label": []}],
    "no record": [3, "x", None, [], [1, 2], [TEXT, {}], [TEXT], True],
    "no spans": [{"text": TEXT}, *each("labels", "x"), {"data": {"text": TEXT}}],
    "two entries": [{"text": TEXT, "spans": objects(), "label": [[0, 3, "PER"]]}],
    "results": tasks(None, 3, {}, [3], "x"),
    "differ": [{"data": {"text": TEXT}, "annotations": [{"result": results()}, {"result": results()[1:]}]}],
    "no labels": tasks([{"type": "labels", "value": {"start": 0, "end": 3, "labels": []}}]),
    "other text": [*each("label", [[0, 10, "PER", "Ada Marlo"]]), *tasks(results(text="Oslo"))],
    "ids": each("entities", objects(id=7)),
    "tokens": [{**record, "spans": []} for record in each(
        "tokens", ["Ada"], ["Oslo", "Ada"], [3], [None], [HALF], [{"text": 3}], [{"start": 0, "end": 99}],
        [{"start": 0.0, "end": 3}], [{"text": "Bo", "start": 0, "end": 3}], [TOKENS[1], TOKENS[0]],
        [{"start": 0, "end": 5}, {"start": 4, "end": 10}], [[]],
    )],
    "tokens alone": [{"tokens": record["x"], "spans": []} for record in each(
        "x", ["a", ""], [" "], ["a\tb"], ["a\n"], [" a"], [3], [HALF],
    )],
    "sents": [{**record, "spans": []} for record in each(
        "sents", [3], [{"start": 0}], [[0, 3]], [{"start": 5, "end": 3}], [{"start": 9, "end": 12}, {"start": 0, "end": 8}],
    )],
    "misaligned": each("label", [[0, 5, "PER"]], [[10, 11, "PER"]]),
    "overlapping": each("label", *([[0, 10, "PER"], span] for span in ([0, 10, "LOC"], [4, 10, "PER"], [4, 15, "X"]))),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_one_line_with_its_place_for_every_reader(what: str, tmp_path: Path) -> None:
    good = json.dumps({"text": "Bo won.", "label": [[0, 2, "PER"]]})
    for i, (bad, end) in enumerate(itertools.product(BAD[what], ("\n", "\r\n"))):
        path = tmp_path / f"{i}.jsonl"
        path.write_bytes(end.join((good, "", json.dumps(bad), good)).encode())
        files: dict[str, Any] = {name: str(path) for name in ("train", "valid", "test")}
        readers: list[Callable[[], Any]] = [
            partial(read_labeled, path),
            partial(read_dataset, dataclasses.replace(TaggerConfig(), **files)),
            partial(evaluate_file, TAGGER, str(path)),
            partial(convert_file, path, path.with_suffix(".conll")),
        ]
        said = set()
        for read in readers:
            with pytest.raises(DataError) as error:
                read()
            said.add(str(error.value))
        assert len(said) == 1, (bad, said)
        (line,) = said
        assert line.startswith(f"{path}:3: "), (bad, line)
        assert "expected" in line
        assert len(line.splitlines()) == 1
        assert len(line) < 600
        found = data_check([path])
        places = [place for each in found.findings if each.level == "error" for place in each.places]
        assert places == [line], (bad, places)
        assert found.files[0].sentences >= 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"text": "Ada", "label": []},\n {"text": "Bo" "label": []}]', 2),
        ('[{"text": "Ada", "label": []}\n {"text": "Bo", "label": []}]', 2),
        ('[{"text": "Ada", "label": []},\n', 2),
        ('[{"text": "Ada", "label": [[0, 3, 5]]},\n\n {"text": "Bo", "label": []}]', 1),
        ('[{"text": "Ada", "label": []},\n\n {"text": "Bo", "label": [[0, 3, "A"]]}]', 3),
        ('[{"text": "Ada", "label": []},\n{"text": "Bo", "label": [NaN]}]', 2),
        ('{"text": "Ada", "label": []}\n{"text": \n', 2),
        ('{"text": "Ada", "label": []}\n{"text": "a", "label": [[0, 1, "A"]], "x": Infinity}\n', 2),
        ('{"text": "Ada", "label": []}\n{"text": "a", "label": ' + 100_000 * "[" + "\n", 2),
        ('{"text": "Ada", "label": [[0, ' + 5000 * "9" + ', "A"]]}\n', 1),
    ],
)  # fmt: skip
def test_broken_json_is_named_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_labeled(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert len(str(error.value)) < 300
    assert not data_check([path]).ok


def test_bytes_that_are_no_utf_8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "Ada", "label": []}\n{"text": "\xff", "label": []}\n')
    with pytest.raises(DataError, match=r"a.jsonl:2: expected UTF-8, got byte 0xff"):
        read_labeled(path)
    assert len(data_check([path]).findings[0].places) == 1


SNIPPETS = st.sampled_from(
    [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\t", b" ", b"-", b";", b"0", b"99", b"1.5", b"1e9", b"null",
     b"true", b"\\", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\x00", "Ü😀".encode(), b"label", b"T1", b"O", b"-DOCSTART-"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), SNIPPETS), min_size=1, max_size=3)
WRITTEN = [
    "".join(json.dumps(FORMS[form]) + "\n" for form in ("doccano", "Prodigy", "spaCy, Doc")),
    json.dumps([FORMS["Label Studio"], FORMS["Label Studio, twice"]], indent=1),
    json.dumps([FORMS["spaCy, pair"]] * 2),
]


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, length, put in edits:
        at = int(place * len(data))
        data = data[:at] + put + data[at + length :]
    return data


def is_read_or_refused(path: Path, beginning: str) -> None:
    """What is read has a tag for each word; what is not, one line that begins with the file."""
    problem, sentences = "", []
    try:
        sentences = read_labeled(path).sentences
    except DataError as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1
    assert not problem or problem.startswith(beginning)
    assert all(len(sentence.words) == len(sentence.tags) > 0 for sentence in sentences)
    assert data_check([path]).ok or problem


few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.sampled_from(WRITTEN), EDITS)
@few
def test_any_change_of_a_record_is_read_or_refused_in_one_line(tmp_path: Path, text: str, edits: Any) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(edited(text.encode(), edits))
    is_read_or_refused(path, str(path))


@given(EDITS, st.booleans())
@few
def test_any_change_of_annotations_is_read_or_refused_in_one_line(tmp_path: Path, edits: Any, both: bool) -> None:
    path = brat(tmp_path, "b", BRAT_GOOD)
    path.with_suffix(".ann").write_bytes(edited(BRAT_GOOD.encode(), edits))
    if both:
        path.write_bytes(edited(BRAT_TEXT.encode(), edits))
    is_read_or_refused(path.with_suffix(".ann"), f"{tmp_path}/b.")


# --- spans and words, beside a slow and obvious twin

words = st.text("abÜ.,- \n😀", min_size=1, max_size=24)
marks = st.lists(st.tuples(st.integers(0, 23), st.integers(1, 24), st.sampled_from("AB")), max_size=5)


def twin(text: str, spans: list[CharSpan], tokens: list[Any], rules: SpanRules) -> list[tuple[str, int, int]] | None:
    """The entities as tokens, None for an error: by looking at every character and every pair."""
    placed = []
    for order, span in enumerate(spans):
        touched = [i for i, t in enumerate(tokens) if any(span.start <= c < span.end for c in range(t.start, t.end))]
        whole = all(span.start <= c < span.end for i in touched for c in range(tokens[i].start, tokens[i].end))
        if not (touched and whole) and rules.misaligned == "error":
            return None
        if touched and (whole or rules.misaligned == "expand"):
            placed.append((span.type, touched[0], touched[-1] + 1, order))
    kept: list[tuple[str, int, int, int]] = []
    by_first = sorted(placed, key=lambda each: (each[1], -each[2], each[3]))
    by_length = sorted(placed, key=lambda each: (each[1] - each[2], each[1], each[3]))
    for each in by_length if rules.overlapping == "outermost" else by_first:
        if not any(set(range(each[1], each[2])) & set(range(other[1], other[2])) for other in kept):
            kept.append(each)
        elif rules.overlapping == "error":
            return None
    return sorted(((each[0], each[1], each[2]) for each in kept), key=lambda each: each[1])


@given(words, marks, st.sampled_from(["error", "skip", "expand"]), st.sampled_from(["error", "outermost", "first"]))
@settings(deadline=None, max_examples=150)
def test_alignment_is_that_of_the_twin(text: str, made: list[tuple[int, int, str]], how: str, which: str) -> None:
    spans = [CharSpan(kind, start, end, f"f:{i}") for i, (start, end, kind) in enumerate(made) if start < end <= len(text)]
    record = Record(text, cut_text(text), tuple(spans), "f")
    notes, rules = SpanNotes(), SpanRules(how, which)
    found = align(record, rules, notes)
    expected = twin(text, spans, record.tokens, rules)
    assert bool(notes.errors) == (expected is None)
    assert all(len(line.splitlines()) == 1 for line in notes.errors)
    if expected is None:
        return
    assert [tuple(span) for span in found] == expected
    assert len(found) + len(notes.skipped) + len(notes.overlapping) == len(spans)  # nothing is lost in silence
    sentences = sentences_of(record, found, notes)
    assert [word for sentence in sentences for word in sentence.words] == [token.text for token in record.tokens]
    assert sum(len(to_spans(sentence.tags)) for sentence in sentences) == len(found)
    assert len(sentences) + len(notes.joined) == len(record.sentences)


def test_a_sentence_does_not_end_within_an_entity(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "They saw Yahoo! Inc fall.", "label": [[9, 19, "ORG"]]}), encoding="utf-8")
    found = read_labeled(path)
    assert tagged(found.sentences) == [
        (("They", "saw", "Yahoo", "!", "Inc", "fall", "."), ("O", "O", "B-ORG", "I-ORG", "I-ORG", "O", "O"))
    ]
    assert found.lines() == [f"sentence ends within an entity, which were ignored: 1 (the first: {path}:1)"]


# --- cases from trackers


def test_a_label_on_a_part_of_a_word_is_not_dropped(tmp_path: Path) -> None:
    """Label Studio #556 and spaCy #6267: a span whose borders are no words' vanished, or moved to the next word."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "a listing for XTC-Pills 200mg", "label": [[14, 17, "Drug"], [24, 27, "Dose"]]}', encoding="utf-8"
    )
    with pytest.raises(
        DataError, match=r'a.jsonl:1: .* got Drug 14-17 "XTC" at the word "XTC-Pills" \(14-23\); --misaligned'
    ):
        read_labeled(path)
    found = read_labeled(path, rules=SpanRules(misaligned="expand"))
    assert found.sentences[0].tags == ("O", "O", "O", "B-Drug", "B-Dose")
    assert len(found.notes.expanded) == 2
    found = read_labeled(path, rules=SpanRules(misaligned="skip"))
    assert set(found.sentences[0].tags) == {"O"}
    assert len(found.notes.skipped) == 2


def test_languages_without_blanks_are_cut_into_words(tmp_path: Path) -> None:
    """doccano #7 gave a tag for each character of a word: here tags stand on words."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Sodali Ayran left", "labels": [[0, 12, "Person"]]}\n', encoding="utf-8")
    assert read_labeled(path).sentences[0].tags == ("B-Person", "I-Person", "O")


# --- BRAT

BRAT_TEXT = "Ada Marlow flew\nto New York and the\nbay of Oslo .\n"
BRAT_GOOD = "T1\tPER 0 10\tAda Marlow\nR1\tpart Arg1:T1 Arg2:T2\n#1\tAnnotatorNotes T1\twho?\nT2\tLOC 19 27\tNew York\n"
BRAT_BAD = {
    "T1\tPER 0 99\tAda": "within the text's 50 characters",
    "T1\tPER 5 5\t": "within the text's 50 characters",
    "T1\tPER 10 0\tAda": "within the text's 50 characters",
    "T1\tPER 4 10;0 3\tMarlow Ada": "one piece after the other",
    "T1\tPER 0 10\tMarlow": 'expected "Marlow" there, got "Ada Marlow"',
    "T1\tPER 0 5.0\tAda": "expected a name, a tab, a type",
    "T1\tPER -1 5\tAda": "expected a name, a tab, a type",
    "T1 PER 0 10 Ada Marlow": "expected a name, a tab, a type",
    "T1\tPER  0 10\tAda Marlow": "expected a name, a tab, a type",
    "T1\tPER 0 " + 5000 * "9": "expected a name, a tab, a type",
    "T1\t-PER 0 10\tAda Marlow": "expected a label without",
    "x": "expected a name, a tab, a type",
    "T2\tLOC 19 27\tNew York": "got T2 again",
    "T1\tPER 0 8\tAda Marl": "expected spans that begin and end where words do",
    "T1\tPER 0 3;11 15\tAda flew": "which is in pieces",
    "T1\tPER 19 22\tNew": "expected spans that share no word",
}


def brat(folder: Path, name: str, annotations: str, text: str = BRAT_TEXT, end: str = "\n") -> Path:
    (folder / f"{name}.txt").write_bytes(text.replace("\n", end).encode())
    (folder / f"{name}.ann").write_bytes(annotations.replace("\n", end).encode())
    return folder / f"{name}.txt"


def test_brats_pairs_and_folders_are_read(tmp_path: Path) -> None:
    path = brat(tmp_path, "b", BRAT_GOOD)
    found = read_labeled(path)
    assert tagged(found.sentences) == tagged(read_labeled(tmp_path / "b.ann").sentences)
    assert [each.words[0] for each in found.sentences] == ["Ada", "to", "bay"]
    assert [each.where() for each in found.sentences] == [f"{path}:{line}" for line in (1, 2, 3)]
    assert [to_spans(each.tags) for each in found.sentences][1] == [("LOC", 1, 3)]
    across = read_labeled(brat(tmp_path, "c", "T1\tLOC 32 35;36 42\tthe bay of\n"))
    assert [each.words[0] for each in across.sentences] == ["Ada", "to"]
    assert len(across.notes.joined) == 1
    assert across.sentences[1].where(6) == f"{tmp_path / 'c.txt'}:3"
    brat(tmp_path, "a", "")
    (tmp_path / "unlabeled.txt").write_text("Bo won.\n", encoding="utf-8")
    folder = read_labeled(tmp_path)
    assert [(Path(each.path).name, each.document) for each in folder.sentences] == [
        *[("a.txt", 1)] * 3, *[("b.txt", 2)] * 3, *[("c.txt", 3)] * 2,
    ]  # fmt: skip
    assert folder.notes.left_out == [f"{tmp_path / 'unlabeled.txt'}: it has no annotation file next to it"]
    assert [each.name for each in files_of("x", tmp_path).values()] == ["a.txt", "a.ann", "b.txt", "b.ann", "c.txt", "c.ann"]
    assert data_check([tmp_path]).files[0].documents == 3
    assert len("".join(predict_stream(TAGGER, str(tmp_path))).split("==>")) == 4
    windows = tmp_path / "windows"
    windows.mkdir()
    crlf = read_labeled(brat(windows, "b", "T1\tPER 0 10\tAda Marlow\nT2\tLOC 20 28\tNew York\n", end="\r\n"))
    assert tagged(crlf.sentences) == tagged(found.sentences)


@pytest.mark.parametrize("line", BRAT_BAD)
def test_bad_annotations_are_one_line_with_their_place(line: str, tmp_path: Path) -> None:
    path = brat(tmp_path, "b", f"T2\tLOC 19 27\tNew York\n{line}\n")
    with pytest.raises(DataError) as error:
        read_labeled(path)
    place = tmp_path / ("b.ann:1" if BRAT_BAD[line] == "expected spans that share no word" else "b.ann:2")
    assert BRAT_BAD[line] in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 600
    assert str(error.value).startswith((f"{place}: ", f"{tmp_path / 'b.ann:2'}: ")), str(error.value)
    assert [len(each.places) for each in data_check([path]).findings if each.level == "error"] == [1]


def test_annotations_are_known_by_their_content(tmp_path: Path) -> None:
    for name in ("a.txt", "b.ann", "c", "d.tsv"):
        path = tmp_path / name
        path.write_text(BRAT_GOOD, encoding="utf-8")
        with opened(path, "a file") as stream:
            assert stream.kind.kind == BRAT
        with pytest.raises(DataError, match=r"expected text, got BRAT's annotations; name the text file next to it"):
            encode([str(path)], tmp_path / "ids", TextRule(), min_count=1)
        with pytest.raises(DataError, match=r"expected a CoNLL file, got BRAT's annotations"):
            repair_file(path, tmp_path / "mended")


def test_annotations_without_their_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text(BRAT_GOOD, encoding="utf-8")
    with pytest.raises(DataError, match=r"a.txt: expected a text next to its annotations, cannot read it: No such file"):
        read_labeled(tmp_path / "a.ann")


# --- round trips

letters = st.characters(exclude_characters=" \t\n\r", exclude_categories=["Cs", "Cc"])
conll_words = st.text(letters, min_size=1, max_size=4).filter(lambda word: "DOCSTART" not in word and word[0] != "\ufeff")
spoken = st.tuples(conll_words, st.just(" "), conll_words).map("".join)
sentence = st.lists(
    st.tuples(conll_words | spoken, st.sampled_from(["O", "O", "B-PER", "B-a b", "I-x"])), min_size=1, max_size=6
)
document = st.lists(sentence, min_size=1, max_size=3)
slow = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
COUNT = itertools.count()


def conll_text(made: list[list[list[tuple[str, str]]]], marked: bool, scheme: str) -> str:
    parts = []
    for each in made:
        parts.append("-DOCSTART-\tO\n\n" if marked else "")
        for rows in each:
            tags = from_spans(to_spans([tag for _, tag in rows]), len(rows), scheme)
            parts.append("".join(f"{word}\t{tag}\n" for (word, _), tag in zip(rows, tags, strict=True)) + "\n")
    return "first\tO\n\n" + "".join(parts)


@given(st.lists(document, min_size=1, max_size=3), st.booleans(), st.sampled_from(sorted(SCHEMES)))
@slow
def test_columns_and_json_lines_are_converted_without_loss(tmp_path: Path, made: Any, marked: bool, scheme: str) -> None:
    folder = tmp_path / str(next(COUNT))
    folder.mkdir()
    source, middle, back = folder / "a.conll", folder / "b.jsonl", folder / "c.conll"
    source.write_text(conll_text(made, marked, scheme), encoding="utf-8", newline="")
    convert_file(source, middle)
    convert_file(middle, back, scheme=scheme)
    before, between, after = (
        read_conll(source, docstart="drop"),
        read_labeled(middle).sentences,
        read_conll(back, docstart="drop"),
    )
    assert tagged(after) == tagged(before)
    assert [each.words for each in between] == [each.words for each in before]
    assert [to_spans(each.tags) for each in between] == [to_spans(each.tags) for each in before]
    assert documents(between).tolist() == documents(before).tolist() == documents(after).tolist()
    convert_file(back, folder / "d.jsonl")
    assert (folder / "d.jsonl").read_bytes() == middle.read_bytes() or not marked


json_text = st.lists(st.sampled_from([*"abÜ.!\n ,😀\u2028\x85\x0b", "\r\n"]), max_size=30).map("".join)


@given(st.lists(st.tuples(json_text, marks), min_size=1, max_size=4))
@slow
def test_json_lines_and_brat_are_converted_without_loss(tmp_path: Path, made: list[tuple[str, Any]]) -> None:
    folder = tmp_path / str(next(COUNT))
    folder.mkdir()
    lines = []
    for text, spans in made:
        said = [[start, end, kind] for start, end, kind in spans if start < end <= len(text) and text[start:end].strip()]
        lines.append(json.dumps({"text": text, "label": said}) + "\n")
    (folder / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    convert_file(folder / "a.jsonl", folder / "b", "brat")
    convert_file(folder / "b", folder / "c.jsonl")
    convert_file(folder / "c.jsonl", folder / "d", "brat")
    assert {p.name: p.read_bytes() for p in (folder / "b").iterdir()} == {
        p.name: p.read_bytes() for p in (folder / "d").iterdir()
    }
    rows = [json.loads(line) for line in (folder / "c.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert [row["text"] for row in rows] == [text for text, _ in made]
    for row, line in zip(rows, lines, strict=True):
        given_spans = [(tuple(span), row["text"][span[0] : span[1]]) for span in json.loads(line)["label"]]
        for found, ((start, end, kind), text) in zip(row["spans"], given_spans, strict=True):
            assert found["label"] == kind
            assert (found["start"], found["end"]) == (start + len(text) - len(text.lstrip("\n\r")), found["end"])
            assert row["text"][found["start"] : found["end"]].strip("\n\r") == text.strip("\n\r")
            assert found["end"] <= end


def test_one_document_is_a_pair_and_several_want_a_folder(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(json.dumps(FORMS["doccano"]) + "\n", encoding="utf-8")
    two.write_text(2 * (json.dumps(FORMS["doccano"]) + "\n"), encoding="utf-8")
    done = convert_file(one, tmp_path / "a.ann")
    assert (done.documents, done.sentences, done.entities) == (1, 2, 3)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == TEXT
    assert (tmp_path / "a.ann").read_text(encoding="utf-8").split("\n")[0] == "T1\tPER 0 10\tAda Marlow"
    with pytest.raises(DataError, match=r"two.jsonl: expected one document for a pair of files, got 2; name a folder"):
        convert_file(two, tmp_path / "b.ann")
    with pytest.raises(ConfigError, match=r"a.txt exists already"):
        convert_file(one, tmp_path / "a.ann")
    with pytest.raises(ConfigError, match=r"x.txt: expected a name that ends with .conll, .jsonl or .ann"):
        convert_file(one, tmp_path / "x.txt")
    convert_file(two, tmp_path / "f", "brat")
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["1.ann", "1.txt", "2.ann", "2.txt"]


def test_what_the_form_cannot_hold_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Ada won", "label": [[0, 3, "a b"]]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl:1: expected a type without blanks .* got a b 0-3 \"Ada\""):
        convert_file(tmp_path / "a.jsonl", tmp_path / "a.ann")
    (tmp_path / "b.conll").write_text("Ada I-PER\nwon B-LOC\nOslo E-PER\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"b.conll:\d: expected .* data repair"):
        convert_file(tmp_path / "b.conll", tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_text('{"tokens": ["-DOCSTART-"], "spans": []}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"c.jsonl:1: expected sentences, got one of the word -DOCSTART-"):
        convert_file(tmp_path / "c.jsonl", tmp_path / "c.conll")
    path = brat(tmp_path, "d", "T1\tPER 0 3;11 15\tAda flew\n")
    with pytest.raises(DataError, match=r"d.ann:1: .* which is in pieces"):
        convert_file(path, tmp_path / "d.jsonl")
    assert convert_file(path, tmp_path / "d.jsonl", rules=SpanRules(misaligned="skip")).entities == 0


# --- data sets of several forms


def test_training_reads_splits_of_any_form_alike(tmp_path: Path) -> None:
    rows = "-DOCSTART- O\n\nAda B-PER\nMarlow I-PER\nran O\n\nOslo B-LOC\n\n-DOCSTART- O\n\nBo B-PER\n\n"
    columns = tmp_path / "columns"
    columns.mkdir()
    for name in ("train", "valid", "test"):
        (columns / f"{name}.conll").write_text(rows, encoding="utf-8")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    convert_file(columns / "train.conll", mixed / "train.jsonl")
    convert_file(columns / "valid.conll", mixed / "dev.conll", scheme="BILOU")
    convert_file(columns / "test.conll", mixed / "test", "brat")
    assert [path.name for path in find_splits(mixed)] == ["train.jsonl", "dev.conll", "test"]
    one, other = (read_dataset(dataclasses.replace(TaggerConfig(), data=str(each))) for each in (columns, mixed))
    for name in ("train", "valid", "test"):
        assert tagged(getattr(one, name)) == tagged(getattr(other, name))
        assert documents(getattr(one, name)).tolist() == documents(getattr(other, name)).tolist()


def test_what_is_skipped_in_training_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": TEXT, "label": [[0, 10, "PER"], [0, 2, "X"], [4, 10, "PER"]]}), encoding="utf-8")
    files: dict[str, Any] = {name: str(path) for name in ("train", "valid", "test")}
    with pytest.raises(DataError, match=r"a.jsonl:1: .*--misaligned .* \(1 more span like it; data check lists them\)"):
        read_dataset(dataclasses.replace(TaggerConfig(), **files))
    found = read_dataset(dataclasses.replace(TaggerConfig(), **files, misaligned="skip", overlapping="outermost"))
    assert len(found.notes) == 6
    assert found.notes[0].startswith(f"{path}: misaligned spans that were left out: 1 (the first: {path}:1: X 0-2")
    said: list[str] = []
    evaluate_file(TAGGER, str(path), warn=said.append, rules=SpanRules("skip", "outermost"))
    assert len(said) == 2
    with pytest.raises(ConfigError, match="misaligned: expected one of error, skip, expand"):
        SpanRules("drop")


# --- columns that nobody named

GERMEVAL = (
    "#\thttp://x [2009]\n1\tÜnsal\tB-PER\tO\n2\twon\tO\tO\n3\t.\tO\tO\n\n#\thttp://y\n1\tAda\tB-PER\tO\n2\tran\tO\tO\n\n"
)


def test_columns_are_guessed_with_a_line_where_nobody_named_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(GERMEVAL, encoding="utf-8")
    line = "words are read from column 2, tags from 3, as its first rows show; give --word-column 1 --tag-column 2"
    line += " to confirm this, or other columns"
    files: dict[str, Any] = {name: str(path) for name in ("train", "valid", "test")}
    found = read_dataset(dataclasses.replace(TaggerConfig(), **files))
    assert found.train[0].words == ("Ünsal", "won", ".")
    assert found.notes[0] == f"{path}: {line}"
    assert f"{path}: {line}" in [each.text for each in data_check([path]).findings]
    said: list[str] = []
    list(predict_stream(TAGGER, str(path), warn=said.append))
    evaluate_file(TAGGER, str(path), warn=said.append)
    words = "words are read from column 2, as its first rows show; give --word-column 1 to confirm this, or other columns"
    assert said == [f"{path}: {words}", f"{path}: {line}"]
    assert line in convert_file(path, tmp_path / "b.conll").to_text()
    with pytest.raises(DataError, match=r"got a running number; .* --word-column 1 --tag-column 2"):
        read_dataset(dataclasses.replace(TaggerConfig(), **files, word_column=0))
