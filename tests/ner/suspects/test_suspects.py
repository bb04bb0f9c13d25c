"""Suspects: probabilities by enumeration, folds of whole documents, what is written of them, and the command."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from benchmarks.suspects import KINDS, plant
from ner.config import TaggerConfig
from ner.corpus.conll import Columns, Sentence, read_conll
from ner.corpus.scheme import Span, from_spans, parse_tag, to_spans
from ner.scoring.errors import judge
from ner.suspects.folds import LabeledFile, assign, begin, settings_for, unknown_types
from ner.suspects.suspects import read
from ner.suspects.writers import to_conll, to_json_lines, to_text, write_all
from ner.tagging.tagger import TrainedTagger, _Pieces
from tests.ner import small_tagger
from training.errors import ConfigError


def goes_on(one: str, two: str) -> bool:
    (a, kind), (b, other) = parse_tag(one), parse_tag(two)
    return a in "BI" and b in "IE" and kind == other


def by_enumeration(tagger: TrainedTagger, words: list[str], tags: list[str], start: int, end: int) -> float:
    """The share of all label sequences' weights that have these tags there and no entity that goes on behind."""
    labels = tagger.indexer.labels
    ((_, found),) = [*tagger._found(_Pieces([words], None))]
    scores = (found.scores.double() / tagger.confidence.temperature).tolist()
    crf = tagger.confidence.crf
    total = wanted = 0.0
    moves, begins, ends = (
        ([[0.0] * len(labels)] * len(labels), [0.0] * len(labels), [0.0] * len(labels))
        if crf is None
        else [each.detach().double().tolist() for each in crf._masked(torch.float64)]
    )
    for path in itertools.product(range(len(labels)), repeat=len(words)):
        score = begins[path[0]] + ends[path[-1]] + sum(scores[t][label] for t, label in enumerate(path))
        score += sum(moves[a][b] for a, b in itertools.pairwise(path))
        weight = math.exp(score) if score > -500 else 0.0
        total += weight
        named = [labels[i] for i in path]
        if named[start:end] == tags[start:end] and not (end < len(words) and goes_on(named[end - 1], named[end])):
            wanted += weight
    return wanted / total


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("case", range(4))
def test_probabilities_are_those_of_all_label_sequences(decoder: str, case: int) -> None:
    drawn = random.Random(case)
    tagger = small_tagger.tagger(case, decoder=decoder)
    words = [small_tagger.some_words(drawn.randint(1, 3), case + i) for i in range(3)]
    tags, ranges = [], []
    for row in words:
        spans = [] if drawn.random() < 0.4 else [(0, drawn.randint(1, len(row)))]
        named = [Span(drawn.choice(["PER", "LOC"]), *span) for span in spans]
        tags.append(from_spans(named, len(row), "IOBES"))
        start = drawn.randrange(len(row))
        ranges.append([*spans, (start, drawn.randint(start + 1, len(row)))])
    found = tagger.probabilities(words, [0] * len(words), tags, ranges)
    for row, asked, told, known in zip(words, ranges, found, tags, strict=True):
        for (start, end), probability in zip(asked, told, strict=True):
            assert probability == pytest.approx(by_enumeration(tagger, row, known, start, end), rel=1e-5, abs=1e-9)
    best = tagger.predict(words)
    again = tagger.probabilities(
        words, [0] * len(words), [each.tags for each in best], [[(s.start, s.end) for s in each.spans] for each in best]
    )
    assert again == [pytest.approx(each.confidences) for each in best]


def test_suspects_are_the_errors_of_the_tagger_the_surest_first() -> None:
    tagger = small_tagger.tagger(3, decoder="crf")
    gold = small_tagger.tagger(4, decoder="crf")
    words = [tuple(small_tagger.some_words(5, i)) for i in range(30)]
    sentences = [
        Sentence(w, tuple(tags), line=7 * i) for i, (w, tags) in enumerate(zip(words, gold.tag(words), strict=True))
    ]
    found = read(tagger, [*enumerate(sentences)])
    wanted = [
        (i, m) for i, (s, tags) in enumerate(zip(sentences, tagger.tag(words), strict=True))
        for m in judge(to_spans(s.tags), to_spans(tags)).mistakes
    ]  # fmt: skip
    assert [(each.number, each.mistake) for each in found] == wanted
    assert {each.mistake.kind for each in found} >= {"missed", "spurious"}
    assert all(0 <= p <= 1 for each in found for p in (each.other, each.label))
    assert all(each.other + each.label <= 1 + 1e-9 for each in found), "two readings of a word cannot both hold"
    without = read(tagger, [*enumerate(sentences)], ["PER"])
    assert all(each.mistake.gold is None or each.mistake.gold.type != "PER" for each in without)


DOCUMENTS = st.lists(st.integers(1, 4), min_size=1, max_size=12)


def labeled(documents: list[int], named: bool = True) -> LabeledFile:
    """A file of so many documents of so many sentences."""
    sentences = [
        Sentence((f"w{d}",) * (1 + i), ("O",) * (1 + i), document=d if named else 0)
        for d, n in enumerate(documents, 1) for i in range(n)
    ]  # fmt: skip
    return LabeledFile(Path("made"), sentences, "IOBES", "IOBES")


@given(DOCUMENTS, st.integers(2, 5), st.integers(0, 3), st.booleans())
@settings(deadline=None)
def test_folds_hold_whole_documents_each_once(documents: list[int], folds: int, seed: int, named: bool) -> None:
    file = labeled(documents, named)
    n = len(documents) if named else sum(documents)
    if n < folds:
        with pytest.raises(ConfigError, match="folds: expected at most as many"):
            assign(file, folds, seed)
        return
    found = assign(file, folds, seed)
    assert sorted(i for fold in found for i in fold) == [*range(len(file.sentences))]
    assert all(found)
    assert found == assign(file, folds, seed)
    for document in file.documents():
        assert sum(bool({*document} & {*fold}) for fold in found) == 1
    words = [sum(len(file.sentences[i].words) for i in fold) for fold in found]
    assert max(words) - min(words) <= max(sum(len(file.sentences[i].words) for i in d) for d in file.documents())


def test_a_type_of_one_document_alone_is_not_judged() -> None:
    file = labeled([1, 1, 1, 1])
    tags = [("S-A",), ("S-A",), ("S-B",), ("O",)]
    file = replace(file, sentences=[replace(s, tags=t) for s, t in zip(file.sentences, tags, strict=True)])
    folds = assign(file, 4, 0)
    unknown = unknown_types(file, folds)
    assert {name for each in unknown for name in each} == {"B"}
    assert [2 in fold for fold in folds] == [bool(each) for each in unknown]


@given(st.integers(0, 30))
@settings(deadline=None, max_examples=10)
def test_planted_faults_are_what_they_say(seed: int) -> None:
    made = [
        Sentence(s.words, tuple(from_spans(to_spans(s.tags), len(s.words), "IOB2"))) for s in small_tagger.SENTENCES * 20
    ]
    sentences, faults = plant(made, 0.2, seed)
    assert len(faults) == round(0.2 * 5 * 20)
    assert [fault.kind for fault in faults[:3]] == [*KINDS]
    changed = {i for i, (a, b) in enumerate(zip(made, sentences, strict=True)) if a.tags != b.tags}
    assert changed == {fault.number for fault in faults}
    for fault in faults:
        before, after = (to_spans(s[fault.number].tags) for s in (made, sentences))
        assert fault.before in before
        assert fault.before not in after
        assert (fault.after in after) if fault.after else len(after) == len(before) - 1


# -- the command -------------------------------------------------------------------------------------------------------


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


def tiny(folder: Path, **changes: Any) -> Path:
    config = TaggerConfig(
        vectors="none", hidden_size=8, word_dim=8, characters="none", max_epochs=2, batch_size=8, threads=1, progress=False
    )
    path = folder / f"config{len(changes)}.json"
    path.write_text(json.dumps(replace(config, **changes).to_dict()))
    return path


@pytest.fixture(scope="module")
def done(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a cross-validation, and what the command printed."""
    folder = tmp_path_factory.mktemp("suspects")
    result = run(
        "data", "suspects", small_data / "test.conll", "--folds", 2, "--config", tiny(folder), "--run", folder / "run"
    )
    assert result.exit_code == 0, result.output
    return folder / "run", result.stdout


NAMES = [f"suspects.{suffix}" for suffix in ("txt", "conll", "jsonl", "html")]


def test_what_is_written_says_the_same(done: tuple[Path, str], small_data: Path) -> None:
    folder, said = done
    objects = [json.loads(line) for line in (folder / "suspects.jsonl").read_text().splitlines()]
    assert objects
    assert [each["rank"] for each in objects] == [*range(1, len(objects) + 1)]
    assert [each["other_probability"] for each in objects] == sorted((e["other_probability"] for e in objects), reverse=True)
    lines = (small_data / "test.conll").read_text().splitlines()
    for each in objects:
        sides = [side for side in (each["label"], each["other"]) if side]
        first = each["words"][min(side["start"] for side in sides)]
        assert lines[each["line"] - 1].split()[0] == first
    text = (folder / "suspects.txt").read_text().splitlines()
    assert len(text) == len(objects) + 1
    assert [line.split() for line in said.splitlines()[: min(21, len(text))]] == [line.split() for line in text[:21]]
    columns = read_conll(folder / "suspects.conll", columns=Columns(0, -2), docstart="drop")
    original = read_conll(small_data / "test.conll", docstart="drop")
    assert [(s.words, s.tags) for s in columns] == [(s.words, s.tags) for s in original]
    marked = {row[-1].partition("#")[2] for s in columns for row in s.columns} - {""}
    assert {int(rank) for rank in marked} <= {each["rank"] for each in objects}
    assert "1" in marked
    page = (folder / "suspects.html").read_text()
    assert page.count("type=checkbox") == page.count("<article class=sentence") == len(objects)
    assert page.endswith("</html>\n")


def test_stopped_it_goes_on_to_the_same_bytes(done: tuple[Path, str], small_data: Path, tmp_path: Path) -> None:
    words = ["data", "suspects", small_data / "test.conll", "--folds", 2, "--run", tmp_path / "run", "--config"]
    stopped = run(*words, tiny(tmp_path, max_time="0s"))
    assert stopped.exit_code == 75
    assert "the same command resumes it" in stopped.output
    assert not (tmp_path / "run" / "suspects.txt").exists()
    again = run(*words, tiny(tmp_path))
    assert again.exit_code == 0, again.output
    for name in NAMES:
        assert (tmp_path / "run" / name).read_bytes() == (done[0] / name).read_bytes(), name
    refused = run(*words, tiny(tmp_path, hidden_size=9))
    assert refused.exit_code == 2
    assert "was started with other data or settings" in refused.output


@pytest.mark.parametrize("name", ["config.json", "fold_0.train.conll", "fold_0", "fold_1.notes", ".notes", "suspects.txt"])
def test_nobodys_files_are_replaced(small_data: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    refused = run(
        "data", "suspects", small_data / "test.conll", "--folds", 2, "--config", tiny(tmp_path), "--run", tmp_path / "mine"
    )
    assert refused.exit_code == 2
    assert "mine holds other files; give --run another folder" in refused.output
    assert [path.read_text() for path in mine.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("at", [None, "write:fold_0.train.conll", "rename:fold_1.held.conll", "rename:folds.json"])
def test_killed_while_it_begins_it_begins_again(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str | None
) -> None:
    """Also in an empty folder; the files of its own that are there are written again."""

    def killed(point: str) -> None:
        if point == at:
            raise KeyboardInterrupt

    (tmp_path / "run").mkdir()
    config = settings_for(TaggerConfig.load(tiny(tmp_path)))
    file = LabeledFile.read(small_data / "test.conll", Columns.asked(None, None), config, print)
    if at is not None:
        monkeypatch.setattr("training.files.fault_hook", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(file, config, 2, str(tmp_path / "run"), "", print)
        monkeypatch.setattr("training.files.fault_hook", None)
    begin(file, config, 2, str(tmp_path / "run"), "", print)
    names = [f"fold_{fold}.{part}.conll" for fold in (0, 1) for part in ("held", "train")]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", *names, "folds.json"]


@pytest.mark.parametrize("command", ["check", "suspects"])
def test_what_can_be_read_only_once_is_refused(tmp_path: Path, command: str) -> None:
    """The file is read more than once."""
    os.mkfifo(tmp_path / "pipe")
    for name, got in (("-", "standard input"), (tmp_path / "pipe", "a pipe, a device or a socket")):
        refused = run("data", command, name)
        assert refused.exit_code == 2
        expected = f"error: {name}: expected a file, which can be read again, got {got}; write it to a file first"
        assert refused.output.splitlines() == [expected]


def test_what_cannot_be_is_said(small_data: Path, tmp_path: Path) -> None:
    many = run("data", "suspects", small_data / "test.conll", "--folds", 900, "--config", tiny(tmp_path))
    assert many.exit_code == 2
    assert "folds: expected at most as many as" in many.output
    for name in ("start_from", "teacher"):
        taught = run("data", "suspects", small_data / "test.conll", "--config", tiny(tmp_path, **{name: "x"}))
        assert taught.exit_code == 2
        assert f"{name}: expected none, since that tagger may have seen the labels in doubt, got x" in taught.output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    where = ["--config", tiny(tmp_path), "--run", tmp_path / "mine", "--folds", 2]
    assert "holds other files" in run("data", "suspects", small_data / "test.conll", *where).output
    assert run("data", "suspects", tmp_path / "none", *where).exit_code == 2


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    tagger = small_tagger.tagger(3, decoder="crf")
    words = ("<script>alert(1)</script>", "\x1b[2J", "a\u202eb", "Oslo")
    sentences = [Sentence(words, tags) for tags in itertools.product(("O", "S-PER"), ("O",), ("S-LOC", "O"), ("S-PER", "O"))]
    file = LabeledFile(Path("<b>.conll"), sentences, "IOBES", "IOBES")
    found = read(tagger, [*enumerate(sentences)])
    assert found
    assert "\x1b" not in to_text(found)
    assert [json.loads(line)["words"] for line in to_json_lines(found).splitlines()] == [list(words)] * len(found)
    assert to_conll(file, found).count("\n\n") == len(sentences)
    write_all(tmp_path, file, found)
    page = (tmp_path / "suspects.html").read_text()
    assert "<script>alert" not in page
    assert "<b>.conll" not in page
