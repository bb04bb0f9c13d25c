"""What predict writes: text with the entities marked, for a terminal in colors, CoNLL, JSON lines, a page of HTML."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ner.corpus.conll import Sentence, format_sentence
from ner.corpus.layout import with_column
from ner.model.sets import Reading, ReadingSet
from ner.tagging.readers import Passage
from ner.tagging.tagger import Entity, Tagged, entities_of
from training.errors import DataError
from training.files import packaged
from training.visible import one_line, visible
from word2vec.text.tokenize import Token

FORMATS = ("text", "conll", "jsonl", "html")
WITH_SETS = ("text", "jsonl")  # those that can hold sets of readings
NOTHING = "none"  # the reading that no entity is there, in text
Sets = Sequence[Sequence[ReadingSet]]
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ANSI = (32, 36, 35, 33, 34, 31)  # green, cyan, magenta, yellow, blue, red: readable on dark and on light
_KNOWN = {"PER": 1, "LOC": 0, "ORG": 2, "MISC": 3}


class Writer:
    """Turns tagged passages into one of FORMATS, piece by piece: ``begin``, ``file``, ``piece`` for each, ``end``.

    What was CoNLL and stays CoNLL, and likewise JSON lines, comes out as it stood, with the tags or entries more. With
    ``key_out`` all that is added to a JSON line is one entry of that name. For a ``terminal``, and in text with ``color``,
    what a terminal would obey is escaped.
    """

    def __init__(self, output: str, color: bool = False, key_out: str | None = None, terminal: bool = False) -> None:
        self.output, self.color, self.key_out = output, color and output == "text", key_out
        self.terminal = terminal
        self.counts: Counter[str] = Counter()
        self.source: str | None = None
        self._ended = "\n\n"  # the end of what was written

    def begin(self) -> str:
        """What stands before all passages."""
        return _page_begins() if self.output == "html" else ""

    def file(self, name: str) -> str:
        """What stands before the passages of one of several files: its name. JSON lines have it in each line."""
        self.source = name
        shown = one_line(name, 10_000)
        if self.output == "html":
            return f"<h2>{html.escape(shown)}</h2>\n"
        gap = "" if self._ended.endswith("\n") else "\n"
        if self.output == "jsonl":
            return gap
        gap += "" if self._ended.replace("\r", "").endswith("\n\n") else "\n"
        return gap + (f"# file: {shown}\n" if self.output == "conll" else f"==> {shown} <==\n")

    def piece(self, passage: Passage, tagged: Sequence[Tagged], sets: Sets | None = None) -> str:
        """One passage, whose sentences are tagged; "" where it has nothing that the output could hold.

        ``sets``: those of each sentence, for a format that can hold them.

        DataError (file:line) for words that CoNLL's columns cannot hold, and for a JSON line that has an entry of the name
        of one that is to be written.
        """
        written = self._piece(passage, tagged, sets)
        self._ended = (self._ended + written)[-4:]
        return visible(written) if self.terminal and not self.color else written

    def _piece(self, passage: Passage, tagged: Sequence[Tagged], sets: Sets | None) -> str:
        before = passage.before if passage.form == self.output else ""
        if not passage.lines:
            return before
        if self.output == "conll":
            return before + _conll(passage, tagged)
        pairs = list(zip(passage.sentences, tagged, strict=True))
        entities = [entity for tokens, found in pairs for entity in entities_of(passage.text, tokens, found)]
        if self.output == "jsonl":
            return before + self._json_line(passage, self._added(passage, tagged, entities, sets))
        self.counts.update(entity.type for entity in entities)
        if self.output == "html":
            return f"<p>{marked(passage.text, entities, _html_mark, _escaped)}</p>\n"
        end = passage.lines[0][len(passage.text) :] if passage.form in ("text", "sentences") else "\n"
        if sets is not None:
            return marked(passage.text, shown_sets(passage, sets), self._set_mark, visible if self.color else str) + end
        if self.color:
            return marked(passage.text, entities, _color_mark, visible) + end
        return marked(passage.text, entities, _plain_mark) + end

    def _set_mark(self, shown: ShownSet) -> str:
        return _color_set(shown) if self.color else f"[{shown.text}]{{{shown.label()}}}"

    def _added(
        self, passage: Passage, tagged: Sequence[Tagged], entities: Sequence[Entity], sets: Sets | None
    ) -> dict[str, Any]:
        """What a passage's JSON line has more."""
        added: dict[str, Any] = {} if self.source is None else {"file": self.source}
        found: list[dict[str, Any]] = [entity.to_dict() for entity in entities]
        if passage.given:
            added["tags"] = [tag for each in tagged for tag in each.tags]
            spans = (span for each in tagged for span in each.spans)
            found = [{**entity, "tokens": [span.start, span.end]} for entity, span in zip(found, spans, strict=True)]
        added["entities"] = found
        if sets is not None:
            added["sets"] = [shown.to_dict(passage.given) for shown in shown_sets(passage, sets)]
        return {self.key_out: added} if self.key_out else added

    def _json_line(self, passage: Passage, added: Mapping[str, Any]) -> str:
        """The line with the entries ``added``. One that was JSON is not written anew: numbers stay as they are spelled."""
        if taken := [name for name in added if name in passage.values]:
            another = "give --key-out another NAME" if self.key_out else "write it into one of its own with --key-out NAME"
            raise DataError(f"{passage.where}: the line has an entry {_json(taken[0])} already, which is kept; {another}")
        if passage.form != "jsonl":
            return _json({**passage.values, **added}) + "\n"
        (line,) = passage.lines
        end = line.rindex("}")
        return f"{line[:end]}, {_json(added)[1:-1]}{line[end:]}"

    def end(self) -> str:
        """What stands after all passages."""
        if self.output != "html":
            return ""
        rows = (f'<li><mark style="{_style(kind)}">{_escaped(kind or "_")}</mark> {n:,}</li>' for kind, n in self._sorted())
        return f"<ul>{''.join(rows)}</ul>\n</main></body></html>\n"

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))


class ShownSet(NamedTuple):
    """A set of readings in its text: the words that it stands at, and each reading's.

    Args:
        start: the first character in the text.
        end: the character behind the last.
        text: what stands there.
        tokens: the words, first and behind the last.
        readings: each with its entity in the text, None for none.
    """

    start: int
    end: int
    text: str
    tokens: tuple[int, int]
    readings: list[tuple[Reading, Entity | None]]

    def label(self) -> str:
        """The readings in a line: those with other words say which."""
        parts = []
        for reading, entity in self.readings:
            other = "" if entity is None or (entity.start, entity.end) == (self.start, self.end) else f' "{entity.text}"'
            parts.append(f"{NOTHING if entity is None else entity.type} {reading.probability:.2f}{other}".strip())
        return " | ".join(parts)

    def to_dict(self, with_tokens: bool) -> dict[str, Any]:
        """Plain values for JSON; a reading of the type null is that there is no entity."""
        readings: list[dict[str, Any]] = []
        for (span, sure), entity in self.readings:
            tokens = {"tokens": [span.start, span.end]} if with_tokens and span else {}
            readings.append(
                {"type": None, "confidence": round(sure, 4)} if entity is None else {**entity.to_dict(), **tokens}
            )
        own = {"start": self.start, "end": self.end, "text": self.text}
        return {**own, **({"tokens": list(self.tokens)} if with_tokens else {}), "readings": readings}


def shown_sets(passage: Passage, sets: Sets) -> list[ShownSet]:
    """The sets of a passage's sentences, in order."""
    return [_shown(passage.text, tokens, each) for tokens, own in zip(passage.sentences, sets, strict=True) for each in own]


def _shown(text: str, tokens: Sequence[Token], found: ReadingSet) -> ShownSet:
    spans, sure = [each.span for each in found.readings if each.span], [r.probability for r in found.readings if r.span]
    entities = dict(zip(spans, entities_of(text, tokens, Tagged([], spans, sure)), strict=True))
    start, end = tokens[found.start].start, tokens[found.end - 1].end
    readings = [(each, each.span and entities[each.span]) for each in found.readings]
    return ShownSet(start, end, text[start:end], (found.start, found.end), readings)


class Placed(Protocol):
    """What stands in a text."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


PlacedT = TypeVar("PlacedT", bound=Placed)


def marked(text: str, entities: Sequence[PlacedT], mark: Callable[[PlacedT], str], plain: Callable[[str], str] = str) -> str:
    """The text with each entity or set as ``mark`` writes it, and what stands between as ``plain`` does."""
    parts, at = [], 0
    for entity in entities:
        parts += [plain(text[at : entity.start]), mark(entity)]
        at = entity.end
    return "".join([*parts, plain(text[at:])])


def _plain_mark(entity: Entity) -> str:
    return f"[{entity.text}]{{{_label(entity)}}}"


def _color_mark(entity: Entity) -> str:
    color = _ANSI[_color(entity.type)]
    label = f"{visible(entity.type)} {entity.confidence:.2f}".strip()
    return f"\x1b[1;4;{color}m{visible(entity.text)}\x1b[0m\x1b[{color}m {label}\x1b[0m"


def _color_set(shown: ShownSet) -> str:
    own = shown.readings[0][1]
    color = 90 if own is None else _ANSI[_color(own.type)]
    return f"\x1b[1;4;{color}m{visible(shown.text)}\x1b[0m\x1b[{color}m {visible(shown.label())}\x1b[0m"


def _label(entity: Entity) -> str:
    return f"{entity.type} {entity.confidence:.2f}".strip()


def _color(kind: str) -> int:
    """The same number for the same type, in any text."""
    return _KNOWN.get(kind.upper(), hashlib.sha256(kind.encode("utf-8", "replace")).digest()[0] % len(_ANSI))


# -- CoNLL and JSON ---------------------------------------------------------------------------------------------------


def _conll(passage: Passage, tagged: Sequence[Tagged]) -> str:
    if passage.rows is not None:
        pairs = enumerate(zip(passage.lines, tagged[0].tags, strict=True))
        return "".join(with_column(row, passage.rows, tag, i) for i, (row, tag) in pairs)
    rows = []
    for tokens, found in zip(passage.sentences, tagged, strict=True):
        try:
            rows.append(format_sentence(Sentence(tuple(t.text for t in tokens), separator="\t"), found.tags))
        except DataError as error:
            raise DataError(f"{passage.where}: {str(error).partition(': ')[2]}; write --format jsonl instead") from None
    return "".join(rows)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as in the name of a file that is not UTF-8
        return json.dumps(value)
    return text


# -- HTML -------------------------------------------------------------------------------------------------------------


def _page_begins() -> str:
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Entities</title><style>\n{packaged('ner.tagging', 'page.css')}</style></head><body><main>\n"
    )


def _escaped(text: str) -> str:
    """For a page: control characters, which HTML cannot hold, as pictures."""
    return html.escape(_CONTROLS.sub(_picture, text))


def _picture(control: re.Match[str]) -> str:
    return chr(0x2400 + ord(control[0])) if control[0] < " " else "\N{SYMBOL FOR DELETE}"


def _style(kind: str) -> str:
    hue = (130, 200, 300, 45, 230, 0)[_color(kind)]
    return f"--hue:{hue}"


def _html_mark(entity: Entity) -> str:
    sure = f"{entity.confidence:.2f}"
    kind = _escaped(entity.type or "_")
    unsure = ' class="unsure"' if entity.confidence < 0.5 else ""
    label = f'<mark{unsure} style="{_style(entity.type)}" title="{kind}, confidence {sure}">'
    return f"{label}{_escaped(entity.text)}<small>{kind} {sure}</small></mark>"
