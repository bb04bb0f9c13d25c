"""Suspects as text, as CoNLL with one more column, as JSON lines, and as an HTML page to go through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from ner.corpus.conll import Sentence, format_sentence
from ner.corpus.scheme import convert, from_spans
from ner.scoring.errors import KINDS, Judged
from ner.scoring.html import MOST_SENTENCES, document, filters, sentence_article
from ner.suspects.folds import LabeledFile
from ner.suspects.suspects import Suspect
from training.files import atomic_write
from training.visible import aligned, counted, one_line, to_json

NONE = "_"  # in the column: no suspect
WIDEST = 60  # characters of the words that are shown in a line


def to_text(found: Sequence[Suspect], most: int | None = None) -> str:
    """A line each: rank, how sure the tagger is of its reading and of the label, place, kind, both readings, the words."""
    rows = [("rank", "other", "label", "line", "kind", "label → other", "words")]
    for rank, each in enumerate(found[:most], 1):
        words = " ".join(each.sentence.words[each.touched.start : each.touched.stop])
        line = str(each.sentence.line_of(each.touched.start))
        kind = each.mistake.kind
        rows.append(
            (str(rank), f"{each.other:.4f}", f"{each.label:.4f}", line, kind, readings(each), one_line(words, WIDEST))
        )
    return "\n".join(aligned(rows)) + "\n"


def readings(each: Suspect) -> str:
    """Both readings in short."""
    sides = []
    for span in (each.mistake.gold, each.mistake.predicted):
        words = " ".join(each.sentence.words[span.start : span.end]) if span else ""
        sides.append(one_line(f"{span.type} {words}", WIDEST) if span else "nothing")
    return " → ".join(sides)


def to_conll(labeled: LabeledFile, found: Sequence[Suspect]) -> str:
    """The file's rows with one more column: for each word that a suspect is about the other reading's tag and the rank."""
    columns = [[NONE] * len(sentence.words) for sentence in labeled.sentences]
    for rank, each in enumerate(found, 1):
        span = each.mistake.predicted
        tags = from_spans([span] if span else [], len(each.sentence.words), labeled.scheme)
        for i in each.touched:
            if columns[each.number][i] == NONE:
                columns[each.number][i] = f"{tags[i]}#{rank}"
    return "".join(format_sentence(_in_rows(labeled, s), row) for s, row in zip(labeled.sentences, columns, strict=True))


def _in_rows(labeled: LabeledFile, sentence: Sentence) -> Sentence:
    """The sentence with the rows of its file; of one that had no rows words and tags."""
    if sentence.columns:
        return sentence
    return replace(sentence, tags=tuple(convert(sentence.tags, labeled.target, labeled.scheme)), separator="\t")


def to_json_lines(found: Sequence[Suspect]) -> str:
    """An object a line."""
    return "".join(to_json(each.to_dict(rank)) + "\n" for rank, each in enumerate(found, 1))


def page(labeled: LabeledFile, found: Sequence[Suspect]) -> str:
    """One page that needs nothing else: the suspects in order, with both readings marked, and filters."""
    shown = found[:MOST_SENTENCES]
    types = sorted({s.type for each in shown for s in (each.mistake.gold, each.mistake.predicted) if s})
    colors = {name: i % 8 for i, name in enumerate(types)}
    counts = Counter(each.mistake.kind for each in shown)
    title = f"Suspects in {labeled.path.name}"
    note = f"{len(shown):,} of {counted(len(found), 'suspect')}, the most confident other readings first"
    body = [
        f"<header><h1>{escape(title)}</h1></header>",
        f"<section id=sentences><h2>Suspects</h2>{filters({kind: counts[kind] for kind in KINDS}, types)}",
        f"<p class=note>{escape(note)}; tick a box when you have looked at its sentence.</p>",
        *(_article(rank, each, colors) for rank, each in enumerate(shown, 1)),
        "<p id=none hidden>No suspect fits.</p></section>",
    ]
    return document(title, body)


def _article(rank: int, each: Suspect, colors: dict[str, int]) -> str:
    place = f"{rank}: line {each.sentence.line_of(each.touched.start)}, {each.other:.1%} to {each.label:.1%}"
    top = f"<label><input type=checkbox> {escape(place)}</label>"
    return sentence_article(each.sentence, Judged((), (each.mistake,)), top, colors, ("label", "other"))


def write_all(folder: Path, labeled: LabeledFile, found: Sequence[Suspect]) -> list[Path]:
    """suspects.txt, .conll, .jsonl and .html; the same suspects give the same bytes."""
    texts = {
        "suspects.txt": to_text(found), "suspects.conll": to_conll(labeled, found),
        "suspects.jsonl": to_json_lines(found), "suspects.html": page(labeled, found),
    }  # fmt: skip
    for name, text in texts.items():
        atomic_write(folder / name, text)
    return [folder / name for name in texts]
