"""The evaluation as one HTML page that needs nothing else: no network, no other file, and no JavaScript to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from html import escape

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span
from ner.scoring.errors import KINDS, MEANING, Judged
from ner.scoring.metrics import AVERAGES
from ner.scoring.report import Evaluation, Table, said
from training.files import packaged

MOST_SENTENCES = 2000  # on one page
RIGHT = "right"


def page(found: Evaluation, title: str, facts: Mapping[str, str]) -> str:
    """The page. ``facts`` stand under its title (the run, the file); the same evaluation gives the same bytes."""
    tables = found.tables()
    colors = {name: i % 8 for i, name in enumerate(found.types)}
    shown = _chosen(found)
    body = [
        f"<header><h1>{escape(title)}</h1>",
        "<dl class=facts>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()),
        "</dl></header>",
        _cards(found),
        "<section class=tables>",
        _table(tables["scores"], bars=True),
        _table(tables["words"], bars=True),
        _errors(found, tables["errors"]),
        _confusion(found, tables["confusion"]),
        *([_table(tables["sets"])] if "sets" in tables else []),
        "</section>",
        f"<section id=sentences><h2>Sentences</h2>{_filters(found)}",
        f"<p class=note>{_shown_note(found, shown)}</p>",
        *(_sentence(found.sentences[i], found.judged[i], i, colors) for i in shown),
        "<p id=none hidden>No sentence fits.</p></section>",
    ]
    return document(title, body)


def document(title: str, body: Sequence[str]) -> str:
    """A page around ``body``, with the style and the script of reports in it."""
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta name=color-scheme content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{packaged('ner.scoring', 'report.css')}</style></head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>\n{packaged('ner.scoring', 'report.js')}</script>\n</body></html>\n"
    )


def _chosen(found: Evaluation) -> list[int]:
    """The sentences to show: the wrong ones, worst first, and the others as long as there is room."""
    wrong = found.worst()
    right = [i for i, each in enumerate(found.judged) if not each.mistakes]
    return [*wrong, *right][:MOST_SENTENCES]


def _shown_note(found: Evaluation, shown: Sequence[int]) -> str:
    wrong = sum(bool(each.mistakes) for each in found.judged)
    part = "all" if len(shown) == len(found.judged) else f"{len(shown):,}"
    return f"{part} of {len(found.judged):,} sentences, the {wrong:,} with errors first, the worst of them on top"


def _cards(found: Evaluation) -> str:
    strict, loose = (table["micro avg"] for table in (found.scores.strict, found.scores.conlleval))
    cards = [
        ("F1, strict", f"{100 * strict['f1-score']:.2f}", "main"),
        ("F1, conlleval", f"{100 * loose['f1-score']:.2f}", ""),
        ("precision", f"{100 * strict['precision']:.2f}", ""),
        ("recall", f"{100 * strict['recall']:.2f}", ""),
        ("entities", f"{int(strict['support']):,}", ""),
        ("sentences", f"{len(found.sentences):,}", ""),
    ]
    inner = "".join(f"<div class='card {kind}'><b>{value}</b><span>{name}</span></div>" for name, value, kind in cards)
    return f"<section class=cards>{inner}</section>"


def _table(
    table: Table, *, bars: bool = False, attributes: Mapping[tuple[int, int], str] | None = None, above: str = ""
) -> str:
    """A table as an article. ``bars``: the shares in columns of F1 are drawn, too.

    ``attributes``: (row, column), both from 0, → what the cell's tag has beside its name. ``above`` stands over the table.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    drawn = {c for c, name in enumerate(table.header) if bars and name.endswith("F1")}
    rows = [_row(row, r, drawn, attributes or {}) for r, row in enumerate(table.rows)]
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<article><h2>{escape(table.title)}</h2>{above}<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}</article>"
    )


def _row(row: Sequence[str], r: int, drawn: Set[int], attributes: Mapping[tuple[int, int], str]) -> str:
    """A row of a table; the cells of the columns ``drawn`` have their share of 1, which the style sheet draws."""
    cells = [f"<th>{_first(row[0])}</th>"]
    for c, text in enumerate(row[1:], 1):
        attribute = attributes.get((r, c), "")
        if c in drawn:
            attribute += f" class=bar style='--share:{0 if text == '–' else text}'"
        cells.append(f"<td{attribute}>{escape(text)}</td>")
    average = " class=average" if row[0] in (*AVERAGES, "all") else ""
    return f"<tr{average}>{''.join(cells)}</tr>"


def _first(text: str) -> str:
    """A row's name; of an error kind, the name apart from what it means."""
    name, colon, meaning = text.partition(": ")
    return f"<i class='kind {name}'>{name}</i> {escape(meaning)}" if colon and name in KINDS else escape(text)


def _errors(found: Evaluation, table: Table) -> str:
    """The errors by kind, with a bar over them that is cut in their proportion."""
    counts = {kind: sum(row.values()) for kind, row in found.by_kind().items()}
    parts = "".join(
        f"<span class={kind} style='flex-grow:{n}' title='{kind}: {n:,}'></span>" for kind, n in counts.items() if n
    )
    return _table(table, above=f"<div class=stack>{parts}</div>" if parts else "")


def _confusion(found: Evaluation, table: Table) -> str:
    """The darker a cell, the larger its share of its row."""
    attributes: dict[tuple[int, int], str] = {}
    for r, (name, row) in enumerate(found.confusion().items()):
        total = max(1, sum(row.values()))
        for c, (other, n) in enumerate(row.items(), 1):
            kind = "same" if name == other else "other"
            attributes[r, c] = f" class='heat {kind}' style='--share:{n / total:.3f}'"
    return _table(table, attributes=attributes)


def _filters(found: Evaluation) -> str:
    n = {kind: sum(any(m.kind == kind for m in each.mistakes) for each in found.judged) for kind in KINDS}
    n[RIGHT] = sum(not each.mistakes for each in found.judged)
    return filters(n, found.types)


def filters(n: Mapping[str, int], types: Sequence[str]) -> str:
    """Buttons that the script makes work; without it they stay hidden, and every sentence is shown.

    ``n``: of each kind of error how many sentences have one.
    """
    meaning = {**MEANING, RIGHT: "no error"}
    kinds = "".join(
        f"<button type=button class='kind {kind}' data-kind={kind} aria-pressed=true "
        f"title='{meaning[kind]}; double click: these alone'>{kind} <small>{count:,}</small></button>"
        for kind, count in n.items()
    )
    offered = "".join(f"<option>{escape(name)}</option>" for name in types)
    return (
        f"<form id=filters hidden><span>show</span>{kinds}"
        f"<label>type <select id=type><option value=''>any</option>{offered}</select></label>"
        "<label>with <input id=text type=search placeholder='words'></label><output id=count></output></form>"
    )


def _sentence(sentence: Sentence, judged: Judged, number: int, colors: Mapping[str, int]) -> str:
    place = f"{sentence.path}:{sentence.line}" if sentence.path else f"sentence {number + 1}"
    return sentence_article(sentence, judged, f"<span>{escape(place)}</span>", colors)


def sentence_article(
    sentence: Sentence, judged: Judged, top: str, colors: Mapping[str, int], sides: tuple[str, str] = ("gold", "predicted")
) -> str:
    """A sentence as an article: its ``top`` and kinds of error; both ``sides`` one above the other where they differ.

    The script reads data-kinds and data-types to show and hide it.
    """
    kinds = sorted({m.kind for m in judged.mistakes}) or [RIGHT]
    types = sorted({span.type for span in (*judged.gold, *judged.predicted)})
    chips = "".join(f"<i class='kind {kind}'>{kind}</i>" for kind in kinds)
    head = f"<header>{top}{chips}</header>"
    if judged.mistakes:
        wrong = {span: m.kind for m in judged.mistakes for span in (m.gold, m.predicted) if span}
        lines = [(sides[0], judged.gold), (sides[1], judged.predicted)]
        text = "".join(
            f"<p><b>{name}</b><span>{_marked(sentence.words, spans, wrong, colors)}</span></p>" for name, spans in lines
        )
        text += "<ul>" + "".join(f"<li>{escape(said(sentence, m))}</li>" for m in judged.mistakes) + "</ul>"
    else:
        text = f"<p><span>{_marked(sentence.words, judged.right, {}, colors)}</span></p>"
    data = f"data-kinds='{' '.join(kinds)}' data-types='{escape('|'.join(types))}'"
    return f"<article class=sentence {data}>{head}{text}</article>"


def _marked(words: Sequence[str], spans: Sequence[Span], wrong: Mapping[Span, str], colors: Mapping[str, int]) -> str:
    """The words with each entity as a <mark>, those that are wrong with their kind."""

    def parts() -> Iterator[str]:
        at = 0
        for span in spans:
            yield from (escape(word) for word in words[at : span.start])
            inside = escape(" ".join(words[span.start : span.end]))
            kind = wrong.get(span)
            wrongly, title = (f" wrong {kind}", f" title='{kind}'") if kind else ("", "")
            name = f"<small>{escape(span.type)}</small>"
            yield f"<mark class='t{colors[span.type]}{wrongly}'{title}>{inside}{name}</mark>"
            at = span.end
        yield from (escape(word) for word in words[at:])

    return " ".join(parts())
