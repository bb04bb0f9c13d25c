"""The evaluation: its numbers by hand and against each other; as text, Markdown, JSON and HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from ner.corpus.conll import Sentence
from ner.corpus.scheme import labels_of
from ner.scoring.errors import KINDS
from ner.scoring.html import MOST_SENTENCES, page
from ner.scoring.report import Evaluation, evaluation

LABELS = labels_of(["PER", "ORG"], "IOB2")
TRAIN = {"Ada", "met", "Bo", "Club"}
VECTORS = {"Ada", "met", "Oslo", "Club"}


def small() -> Evaluation:
    gold = [
        Sentence(("Ada", "met", "Bo"), ("B-PER", "O", "B-PER"), 1, "a.conll"),
        Sentence(("Oslo", "Club", "won"), ("B-ORG", "I-ORG", "O"), 5, "a.conll"),
        Sentence(("Zed", "won"), ("B-PER", "O"), 9, "a.conll"),
        Sentence(("Rain",), ("O",), 12, "a.conll"),
    ]
    predicted = [["B-PER", "O", "B-ORG"], ["O", "B-ORG", "I-PER"], ["B-PER", "O"], ["O"]]
    return evaluation(gold, predicted, "IOB2", TRAIN.__contains__, VECTORS.__contains__)


def test_numbers_by_hand() -> None:
    found = small()
    assert found.by_kind() == {
        "boundary": {"ORG": 1, "PER": 0},
        "type": {"ORG": 0, "PER": 1},
        "both": {"ORG": 0, "PER": 0},
        "missed": {"ORG": 0, "PER": 0},
        "spurious": {"ORG": 0, "PER": 0},
    }
    assert found.confusion() == {
        "ORG": {"ORG": 1, "PER": 0, "missed": 0},
        "PER": {"ORG": 1, "PER": 2, "missed": 0},
        "spurious": {"ORG": 0, "PER": 0},
    }
    assert found.wrong() == (2, 2)
    assert found.broken == (1, 1)  # I-PER after B-ORG
    assert {name: tuple(scores) for name, scores in found.by_words.items()} == {
        "seen in training": (0.5, 1.0, pytest.approx(2 / 3), 1),  # Ada found, and Club, which was more
        "seen in training, no vector": (0.0, 0.0, 0.0, 1),  # Bo
        "unseen": (0.0, 0.0, 0.0, 1),  # Oslo Club
        "unseen, no vector": (1.0, 1.0, 1.0, 1),  # Zed
        "all": (0.5, 0.5, 0.5, 4),
    }
    assert found.worst() == [0, 1]
    assert "line 1: type (gold PER 'Bo', predicted ORG 'Bo')" in found.to_text()
    assert "gold       [Oslo Club]{ORG} won" in found.to_text()
    assert found.scores.strict["micro avg"]["f1-score"] == found.by_words["all"].f1


def test_types_called_as_the_confusion_tables_own_rows_stand_apart() -> None:
    gold = [Sentence(("w",) * 6, ("B-missed", "B-missed", "B-spurious", "B-missed (type)", "O", "O"))]
    found = evaluation(gold, [["B-missed", "O", "O", "B-missed (type)", "B-spurious", "B-spurious"]], "IOB2", len, len)  # type: ignore[arg-type]
    assert found.confusion() == {
        "missed (type)'": {"missed (type)'": 1, "missed (type)": 0, "spurious (type)": 0, "missed": 1},
        "missed (type)": {"missed (type)'": 0, "missed (type)": 1, "spurious (type)": 0, "missed": 0},
        "spurious (type)": {"missed (type)'": 0, "missed (type)": 0, "spurious (type)": 0, "missed": 1},
        "spurious": {"missed (type)'": 0, "missed (type)": 0, "spurious (type)": 2},
    }
    table = found.tables()["confusion"]
    assert table.header == ("gold", "missed (type)'", "missed (type)", "spurious (type)", "missed")
    assert [row[0] for row in table.rows] == ["missed (type)'", "missed (type)", "spurious (type)", "spurious"]
    assert json.loads(json.dumps(found.to_dict()))["confusion"] == found.confusion()
    read(page(found, "Evaluation", {}))


ROWS = st.lists(st.lists(st.tuples(*[st.sampled_from(LABELS)] * 2), min_size=1, max_size=6), max_size=5)


@given(ROWS)
@settings(max_examples=60)
def test_the_numbers_add_up(rows: list[list[tuple[str, str]]]) -> None:
    """Of any tags, ill-formed ones too: the errors are those that seqeval's strict report counts."""
    gold = [Sentence(tuple(f"w{i}" for i in range(len(row))), tuple(g for g, _ in row)) for row in rows]
    found = evaluation(gold, [[p for _, p in row] for row in rows], "IOB2", lambda word: word < "w2", str.isalpha)
    micro = found.scores.strict["micro avg"]
    everything = found.by_words["all"]
    assert (micro["precision"], micro["recall"], micro["f1-score"], micro["support"]) == pytest.approx(tuple(everything))
    assert sum(s.support for name, s in found.by_words.items() if name != "all") == everything.support
    kinds = {kind: sum(row.values()) for kind, row in found.by_kind().items()}
    assert sum(kinds.values()) - kinds["spurious"] == found.wrong()[0]
    assert sum(kinds.values()) - kinds["missed"] == found.wrong()[1]
    confusion = found.confusion()
    for name in found.types:
        row = found.scores.strict.get(name, {"support": 0})
        assert sum(confusion[name].values()) == row["support"]
        assert sum(confusion[other][name] for other in (*found.types, "spurious")) == sum(
            span.type == name for each in found.judged for span in each.predicted
        )
    json.dumps(found.to_dict())
    for table in found.tables().values():
        assert len({len(row) for row in (table.header, *table.rows)}) == 1
        assert table.to_markdown().count("\n|") == len(table.rows) + 2


class Reader(HTMLParser):
    """Checks that tags are closed, and collects what is inside and what is loaded."""

    VOID = ("meta", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page(small(), "Evaluation", {"run": "runs/ner/version_0"})
    reader = read(text)
    assert not re.search(r"(https?:|//\w|url\(|@import|<link|<img|src=)", text), "nothing is loaded"
    assert "prefers-color-scheme: dark" in text
    for shown in ("50.00", "Oslo Club", "type (gold PER 'Bo', predicted ORG 'Bo')", "a.conll:5", "runs/ner/version_0"):
        assert shown in reader.text
    assert reader.seen.count("mark") == (2 + 2) + (1 + 1) + 1  # gold and predicted of the two wrong sentences; Zed
    assert text == page(small(), "Evaluation", {"run": "runs/ner/version_0"})


def test_without_javascript_every_sentence_is_shown_and_no_filter() -> None:
    text = page(small(), "Evaluation", {})
    assert "<form id=filters hidden>" in text
    assert text.count("<article class=sentence ") == 4
    assert not re.search(r"<article class=sentence [^>]*hidden", text)
    kinds = [value for name, value in read(text).attributes if name == "data-kinds"]
    assert kinds == ["type", "boundary", "right", "right"]


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4), st.text(max_size=9))
@settings(max_examples=80)
def test_no_word_breaks_the_page(words: list[str], title: str) -> None:
    hostile = [*words, "<script>alert(1)</script>", "</style>", "' onload='x", '"&amp;']
    gold = [Sentence(tuple(hostile), tuple(["B-<b>'\"|"] * len(hostile)))]
    found = evaluation(gold, [["O"] * len(hostile)], "IOB2", lambda word: False)
    reader = read(page(found, title, {title: title}))
    assert reader.seen.count("script") == 1
    assert not {"onload", "x", "b"} & {name for name, _ in reader.attributes}
    assert reader.seen.count("b") == 6 + 2, "those of the cards, and of gold and predicted: none of the type's name"
    found.to_text()
    for table in found.tables().values():
        assert "<b>" not in table.to_markdown()


def test_a_page_has_a_limit_and_says_so() -> None:
    n = MOST_SENTENCES + 5
    gold = [Sentence(("Ada",), ("B-PER",)) for _ in range(n)]
    found = evaluation(gold, [["O"]] + [["B-PER"]] * (n - 1), "IOB2", lambda word: True)
    text = page(found, "Evaluation", {})
    assert text.count("<article class=sentence ") == MOST_SENTENCES
    assert f"2,000 of {n:,} sentences, the 1 with errors first" in text


QUICK = "--max-epochs 1 --hidden-size 8 --word-dim 8 --no-progress --threads 1 --vectors none".split()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module", params=["softmax", "crf"])
def finished(request: pytest.FixtureRequest, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "run"
    more = ["--decoder", str(request.param), "--scheme", "IOB2" if request.param == "crf" else "IOBES"]
    result = run("train-ner", "--data", str(small_data), "--run", str(path), *more, *QUICK)
    assert result.exit_code == 0, result.output
    return path


def test_evaluate_says_what_the_test_said(finished: Path, small_data: Path, tmp_path: Path) -> None:
    file, html = str(small_data / "test.conll"), tmp_path / "report.html"
    text = run("evaluate", str(finished), file)
    assert text.exit_code == 0
    written = (finished / "test_report.txt").read_text(encoding="utf-8")
    assert "precision    recall  f1-score   support" in written, "seqeval's own"
    assert text.output.startswith(written[written.index("Scores (seqeval)") : written.index("Worst sentences")])
    found = json.loads(run("evaluate", str(finished), file, "--json", "--html", str(html)).stdout)
    assert {"strict", "conlleval", "by_words", "errors", "confusion", "worst", "broken_tags"} <= set(found)
    assert set(found["errors"]["by_kind"]) == set(KINDS)
    metrics = json.loads((finished / "manifest.json").read_text())["metrics"]
    assert found["by_words"]["all"]["f1"] == pytest.approx(metrics["test_f1"], abs=1e-12)
    predicted = (finished / "predictions.conll").read_text(encoding="utf-8")
    for path in (html, finished / "test_report.html"):
        assert read(path.read_text(encoding="utf-8")).seen.count("article") == 4 + predicted.count("\n\n")


def test_a_page_that_cannot_be_written_is_said(finished: Path, small_data: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "report.html", tmp_path):
        result = run("evaluate", str(finished), str(small_data / "test.conll"), "--html", str(target))
        assert result.exit_code == 2
        assert "--html: " in result.output


def test_tensorboard_has_the_tables_and_the_curves(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

    events = EventAccumulator(str(finished), size_guidance={TENSORS: 0})
    events.Reload()
    by_plugin = {name: set(events.PluginTagToContent(name)) for name in ("text", "pr_curves")}
    pages = {f"test/{name}/text_summary" for name in ("scores", "words", "errors", "confusion", "worst sentences")}
    assert pages <= by_plugin["text"]
    assert {f"test/words of {kind}" for kind in ("PER", "LOC", "ORG", "MISC")} == by_plugin["pr_curves"]
    (event,) = events.Tensors("test/words of PER")
    from tensorboard.util import tensor_util

    positives, false_positives, *_ = tensor_util.make_ndarray(event.tensor_proto)
    gold = [line.split("\t")[1] for line in (finished / "predictions.conll").read_text().splitlines() if line]
    assert positives[0] == sum(tag.endswith("PER") for tag in gold), "at threshold 0 every word is taken"
    assert positives[0] + false_positives[0] == len(gold)
