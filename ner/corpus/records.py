"""A text with entities as spans of its characters, and how a JSON record says so.

Read are the forms that annotation tools and libraries write:

- doccano: ``{"text": …, "label": [[0, 5, "PER"]]}`` (``labels`` and ``entities``, and ``start_offset``, ``end_offset``, too)
- Prodigy: ``{"text": …, "spans": [{"start": 0, "end": 5, "label": "PER"}], "tokens": […], "answer": "accept"}``
- spaCy: ``{"text": …, "ents": […], "sents": […], "tokens": […]}``, ``{"text": …, "entities": [[0, 5, "PER"]]}``, and
  ``["Ada ran", {"entities": [[0, 3, "PER"]]}]``
- Label Studio: ``{"data": {"text": …}, "annotations": [{"result": [{"type": "labels", "value": {…}}]}]}``
- what ``predict --format jsonl`` writes: ``{"text": …, "entities": [{"type": "PER", "start": 0, "end": 5}]}``

Offsets count characters (code points), the end excluded. Tokens are the record's own, where it has some; else the text is
cut as predict cuts it. Nothing is guessed and nothing left out in silence: what a record lacks is an error.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ner.corpus.cut import cut_text, cut_tokens, joined, placed
from ner.corpus.json_lines import in_json, is_unicode
from ner.corpus.units import other_unit
from training.errors import DataError
from training.visible import shortened
from word2vec.text.tokenize import Token, is_separator

SPAN_KEYS = ("label", "labels", "spans", "entities", "ents", "annotations")
_STARTS, _ENDS, _TYPES = ("start", "start_offset"), ("end", "end_offset"), ("label", "type", "labels", "hypertextlabels")


class CharSpan(NamedTuple):
    """An entity: characters ``start`` (included) to ``end`` (excluded) of a text.

    ``where`` is the file and line that say so; ``pieces`` are those of BRAT's discontinuous spans, none for others.
    """

    type: str
    start: int
    end: int
    where: str
    pieces: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Record:
    """A text with its sentences of tokens and its entities.

    Args:
        text: the text.
        sentences: its tokens, ``text[token.start : token.end] == token.text``; none of the sentences is empty.
        spans: its entities, as they stand in the file: in any order, on token borders or not.
        path: the file.
        line: its line there, from 1.
        document: the number of its document, from 1; 0 for a sentence that stands alone.
        id: its name, if it has one.
        on_one_line: all its words stand in ``line``; else their lines are counted from there on.
    """

    text: str
    sentences: list[list[Token]]
    spans: tuple[CharSpan, ...]
    path: str
    line: int = 1
    document: int = 1
    id: str = ""
    on_one_line: bool = True

    @property
    def tokens(self) -> list[Token]:
        """The tokens of all sentences."""
        return [token for sentence in self.sentences for token in sentence]


def record_of(value: Any, path: str, line: int, document: int) -> Record | str:
    """The record that a JSON value is, or why it is to be left out. DataError (file:line) for what is none."""
    where = f"{path}:{line}"
    values = _values(value, where)
    if (answer := values.get("answer")) in ("reject", "ignore"):
        return f"{where}: its answer is {answer}"
    text, sentences, _ = text_and_sentences(values, where)
    said = _said(values, where)
    if isinstance(said, str):
        return said
    spans = tuple(span for number, item in enumerate(said, 1) for span in _spans(item, text, where, number))
    _check_ids(said, where)
    name = values.get("id")
    named = str(name) if isinstance(name, str | int) and not isinstance(name, bool) else ""
    return Record(text, sentences, spans, path, line, document, named if is_unicode(named) else "")


def _values(value: Any, where: str) -> Mapping[str, Any]:
    value = as_object(value)
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object with a text and its spans, got {in_json(value)}")
    return value


def as_object(value: Any) -> Any:
    """The value; of a pair of a text and its annotations, as spaCy has them, an object with both."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
        return {**value[1], "text": value[0]}
    return value


# --- the text and its tokens


def text_and_sentences(values: Mapping[str, Any], where: str) -> tuple[str, list[list[Token]], bool]:
    """A record's text, its sentences, and whether its tokens, not a text, were given."""
    text, tokens = _text(values, where), values.get("tokens")
    if text is None and not isinstance(tokens, list):
        expected = 'expected an entry "text" (or "tokens") with the text'
        raise DataError(f"{where}: {expected}, got {in_json(list(values))}")
    if not isinstance(tokens, list):  # beside a text it may be a number of them
        return text or "", _sentences(values, text or "", None, where), False
    if text is None:
        words = _words(tokens, where)
        return *joined(words), True
    return text, _sentences(values, text, _tokens(tokens, text, where), where), False


def _text(values: Mapping[str, Any], where: str) -> str | None:
    """The text: of ``text``; of ``data``, as a text (doccano), or Label Studio's object; None for none."""
    data = values.get("data")
    if "text" in values:
        text = values["text"]
    elif isinstance(data, dict):
        texts = [key for key, each in data.items() if isinstance(each, str)]
        if "text" not in data and len(texts) != 1:
            raise DataError(f'{where}: expected an entry "text" in "data", got {in_json(list(data))}')
        text = data["text"] if "text" in data else data[texts[0]]
    else:
        text = data
        if not isinstance(text, str):
            return None
    if not isinstance(text, str) or not is_unicode(text):
        raise DataError(f'{where}: expected "text" to be a text, got {in_json(text)}')
    return text


def _words(tokens: list[Any], where: str) -> list[str]:
    """Tokens that no text stands beside, as texts or objects with one."""
    words = _texts(tokens, where)
    for word in words:
        if not word.strip(" \t\r\n"):
            raise DataError(f'{where}: expected "tokens" to be words, got {in_json(word)}')
        _check_word(word, where)
    return words


def _texts(tokens: list[Any], where: str) -> list[str]:
    words: list[str] = []
    for each in tokens:
        word = each.get("text") if isinstance(each, dict) else each
        if not isinstance(word, str) or not is_unicode(word):
            raise DataError(f'{where}: expected "tokens" to be words, or objects with start and end, got {in_json(word)}')
        words.append(word)
    return words


def _tokens(tokens: list[Any], text: str, where: str) -> list[Token]:
    """The tokens that a record has beside its text: words in their order, or objects with offsets. Blanks are none."""
    if all(isinstance(each, dict) and "start" in each for each in tokens):
        found = [_token(each, text, where) for each in tokens]
    else:
        words = [word.strip(" \t\r\n") for word in _texts(tokens, where)]
        try:
            found = placed(text, [word for word in words if word])
        except ValueError:
            raise DataError(
                f'{where}: expected "tokens" in the order of the text, got others; without them the text is cut'
            ) from None
        _check_gaps(found, text, where)
    found = [token for token in found if token.text]
    for before, after in itertools.pairwise(found):
        if after.start < before.end:
            first, second = (f"{in_json(each.text)} ({each.start}-{each.end})" for each in (before, after))
            raise DataError(f"{where}: expected tokens one after the other, got {second} after {first}")
    for token in found:
        _check_word(token.text, where)
    return found


def _token(value: Mapping[str, Any], text: str, where: str) -> Token:
    """A token of an object; one of blanks alone, as spaCy has, is empty."""
    start, end = _offsets(value.get("start"), value.get("end"), text, f"{where}: tokens")
    said = value.get("text")
    if isinstance(said, str) and said != text[start:end]:
        raise DataError(f"{where}: expected the token {in_json(said)} at {start}-{end}, got {in_json(text[start:end])}")
    while start < end and text[start] in " \t\r\n":
        start += 1
    while start < end and text[end - 1] in " \t\r\n":
        end -= 1
    return Token(text[start:end], start, end)


def _check_gaps(tokens: list[Token], text: str, where: str) -> None:
    """DataError where letters stand between tokens that came without offsets: they may be others than they seem."""
    borders = [0, *(end for token in tokens for end in (token.start, token.end)), len(text)]
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        if gap := next((c for c in text[start:end] if not is_separator(c)), ""):
            at = text.index(gap, start)
            raise DataError(f'{where}: expected all of the text in "tokens", got none for {in_json(gap)} (character {at})')


def _check_word(word: str, where: str) -> None:
    if re.search("[\t\r\n]", word) or word != word.strip(" "):
        expected = "expected words without tabs and line ends, and without blanks around them"
        raise DataError(f"{where}: {expected}, got {in_json(word)}")


def _sentences(values: Mapping[str, Any], text: str, tokens: list[Token] | None, where: str) -> list[list[Token]]:
    """The tokens by the record's own sentences (spaCy's ``sents``), or as predict cuts them."""
    said = values.get("sents")
    if not isinstance(said, list):
        return cut_text(text) if tokens is None else cut_tokens(text, tokens)
    starts: list[int] = []
    for each in said:
        first, last = (each.get("start"), each.get("end")) if isinstance(each, dict) else (None, None)
        start, _ = _offsets(first, last, text, f"{where}: sents")
        if starts and start < starts[-1]:
            raise DataError(f"{where}: sents: expected sentences in their order, got {start} after {starts[-1]}")
        starts.append(start)
    if tokens is None:
        tokens = [token for part in _cut_at(text, starts) for token in part]
    found: list[list[Token]] = []
    at = iter([*starts, len(text) + 1])
    border = next(at)
    for token in tokens:
        if not found or token.start >= border:
            found.append([])
            while border <= token.start:
                border = next(at)
        found[-1].append(token)
    return found


def _cut_at(text: str, starts: list[int]) -> Iterator[list[Token]]:
    """The tokens of each of the texts that begin at ``starts``: a word at a sentence's end is cut as if it stood alone."""
    borders = [0, *starts, len(text)]
    for start, end in itertools.pairwise(borders):
        for sentence in cut_text(text[start:end]):
            yield [Token(token.text, token.start + start, token.end + start) for token in sentence]


# --- the spans


def _said(values: Mapping[str, Any], where: str) -> list[Any] | str:
    """The items that say where entities are, or why the record is to be left out."""
    if isinstance(values.get("data"), dict) or any(map(_has_results, values.values())):
        return _results(values, where)
    found = {key: values[key] for key in SPAN_KEYS if isinstance(values.get(key), list)}
    if len(found) > 1:  # other keys may hold labels of the whole text
        found = {key: each for key, each in found.items() if not each or not all(isinstance(item, str) for item in each)}
    filled = {key: each for key, each in found.items() if each}
    if len(filled) > 1:
        raise DataError(f"{where}: expected spans in one entry, got some in {' and '.join(filled)}; leave out the wrong one")
    if not found and values.get("answer") == "accept":
        return []
    if not found:
        wanted = ", ".join(SPAN_KEYS[:-2])
        raise DataError(
            f"{where}: expected a list of spans in an entry {wanted} or {SPAN_KEYS[-2]}, got {in_json(list(values))}"
        )
    return next(iter(filled.values()), [])


def _has_results(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) and "result" in each for each in value)


def _results(values: Mapping[str, Any], where: str) -> list[Any] | str:
    """The labels of the one annotation that a task of Label Studio has; a task without one is left out."""
    key = next((key for key in ("annotations", "completions") if key in values), None)
    if key is None or not isinstance(values[key], list):
        raise DataError(f"{where}: expected annotations, got {in_json(list(values))}; export the tasks as JSON")
    some = [each for each in values[key] if isinstance(each, dict)]
    kept = [each.get("result") for each in some if not (each.get("was_cancelled") or each.get("skipped"))]
    for result in kept:
        if not isinstance(result, list) or not all(isinstance(each, dict) for each in result):
            raise DataError(f'{where}: expected "result" to be a list of objects, got {in_json(result)}')
    if not kept:
        return f"{where}: it has no annotation"
    found = [[each for each in result or [] if _is_label(each)] for result in kept]
    if any(_keys(each) != _keys(found[0]) for each in found):
        raise DataError(
            f"{where}: expected one annotation of the task, got {len(kept)} that differ; keep one, skip the others"
        )
    return found[0]


def _is_label(item: Mapping[str, Any]) -> bool:
    """Whether a result is a label on a part of the text, no relation, choice or comment."""
    if "type" in item:
        return item["type"] in ("labels", "hypertextlabels")
    return isinstance(item.get("value"), dict) and "labels" in item["value"]


def _keys(items: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(repr(each.get("value")) for each in items)


def _check_ids(items: Iterable[Any], where: str) -> None:
    seen: set[tuple[str, str]] = set()
    for item in items:
        if isinstance(item, dict) and isinstance(name := item.get("id"), str | int):
            key = repr(name), repr(item.get("from_name"))
            if key in seen:
                raise DataError(f"{where}: expected spans with distinct ids, got two with {in_json(name)}")
            seen.add(key)


def _spans(item: Any, text: str, where: str, number: int) -> Iterator[CharSpan]:
    """The span that an item is: one for each of its labels."""
    at = f"{where}: span {number}"
    start, end, types, said = _parts(item, at)
    start, end = _offsets(start, end, text, at)
    if isinstance(said, str):
        check_text(said, text, [(start, end)], f"{at}: {start}-{end}")
    for kind in types:
        yield CharSpan(checked_type(kind, at), start, end, where)


def _parts(item: Any, at: str) -> tuple[Any, Any, list[Any], Any]:
    """(start, end, types, text) of an item: a list of them, or an object of any tool's."""
    if isinstance(item, list) and len(item) in (3, 4):
        return item[0], item[1], [item[2]], item[3] if len(item) == 4 else None
    if not isinstance(item, dict):
        expected = "expected [start, end, type], or an object with start, end and label"
        raise DataError(f"{at}: {expected}, got {in_json(item)}")
    values = item["value"] if isinstance(item.get("value"), dict) else item
    everywhere = values.get("globalOffsets")
    places = everywhere if isinstance(everywhere, dict) else values
    start, end = (next((places[key] for key in keys if key in places), None) for keys in (_STARTS, _ENDS))
    kinds = next((values[key] for key in _TYPES if key in values), None)
    if isinstance(kinds, list) and not kinds:
        raise DataError(f"{at}: expected a label, got an empty list")
    return start, end, kinds if isinstance(kinds, list) else [kinds], values.get("text")


def _offsets(start: Any, end: Any, text: str, at: str) -> tuple[int, int]:
    """Both, if they are whole numbers and a part of the text."""
    for value in (start, end):
        if not isinstance(value, int) or isinstance(value, bool):
            raise DataError(
                f"{at}: expected start and end to be whole numbers, got {in_json(start, 30)} and {in_json(end, 30)}"
            )
    if not 0 <= start < end <= len(text):
        got = f"{shortened(str(start), 30)} and {shortened(str(end), 30)}"
        got += other_unit(text, start, end, lambda first, last: True) if 0 <= start < end else ""
        raise DataError(f"{at}: expected start < end within the text's {len(text):,} characters, got {got}")
    return start, end


def checked_type(kind: Any, at: str) -> str:
    """A type that a tag can hold; DataError for others."""
    if not isinstance(kind, str):
        raise DataError(f"{at}: expected a label that is a text, got {in_json(kind)}")
    if kind.strip(" -") != kind or re.search("[\t\r\n]", kind) or not is_unicode(kind):
        expected = "expected a label without tabs and line ends, and without blanks and hyphens around it"
        raise DataError(f"{at}: {expected}, got {in_json(kind)}")
    return kind


def check_text(said: str, text: str, pieces: Sequence[tuple[int, int]], at: str) -> None:
    """DataError unless the text that a span is said to be is there; white space may be written in other ways."""
    there = " ".join(text[start:end] for start, end in pieces)
    if _bare(said) != _bare(there):
        hint = "; offsets count characters: code points, line ends as they stand, no byte-order mark"
        if len(pieces) == 1:
            hint = other_unit(text, *pieces[0], lambda first, last: _bare(said) == _bare(text[first:last])) or hint
        raise DataError(f"{at}: expected {in_json(said)} there, got {in_json(there)}{hint}")


def _bare(text: str) -> str:
    return re.sub(r"\s|\\[nrt]|[\ufeff\ufffd]", "", text)
