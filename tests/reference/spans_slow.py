"""Slow, obvious twins of ner/corpus/scheme.py: all ways to mark entities in a short sentence, in each scheme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Span = tuple[str, int, int]


def all_span_sets(length: int, types: Sequence[str], start: int = 0) -> Iterator[tuple[Span, ...]]:
    """Every set of entities that do not overlap in ``length`` words, in order."""
    if start == length:
        yield ()
        return
    yield from all_span_sets(length, types, start + 1)
    for end in range(start + 1, length + 1):
        for kind in types:
            for rest in all_span_sets(length, types, end):
                yield ((kind, start, end), *rest)


def write(spans: Sequence[Span], length: int, scheme: str) -> tuple[str, ...]:
    """The tags of these entities, word by word."""
    tags = []
    for word in range(length):
        inside = [span for span in spans if span[1] <= word < span[2]]
        if not inside:
            tags.append("O")
            continue
        kind, start, end = inside[0]
        first, last = word == start, word == end - 1
        follows_its_type = any(span[2] == start and span[0] == kind for span in spans)
        if scheme == "IOB1":
            letter = "B" if first and follows_its_type else "I"
        elif scheme == "IOB2":
            letter = "B" if first else "I"
        else:
            names = {"IOBES": "BIES", "BILOU": "BILU", "BMES": "BMES"}[scheme]
            letter = names[3] if first and last else names[0] if first else names[2] if last else names[1]
        tags.append(f"{letter}-{kind}" if kind else letter)
    return tuple(tags)


def conlleval_spans(tags: Sequence[str]) -> list[Span]:
    """What conlleval.pl (Tjong Kim Sang 2000) counts: its endOfChunk and startOfChunk, line by line."""
    spans = []
    start, before, type_before = 0, "O", ""
    for index, tag in enumerate([*tags, "O"]):
        now, _, kind = tag.partition("-")
        end_of_chunk = (before, now) in {
            ("B", "B"), ("B", "O"), ("B", "S"), ("I", "B"), ("I", "O"), ("I", "S"),
            ("E", "E"), ("E", "I"), ("E", "O"), ("E", "B"), ("E", "S"),
            ("S", "S"), ("S", "B"), ("S", "I"), ("S", "E"), ("S", "O"),
        }  # fmt: skip
        if before != "O" and type_before != kind:
            end_of_chunk = True
        start_of_chunk = now in ("B", "S") or (before, now) in {
            ("O", "I"), ("O", "E"), ("E", "E"), ("E", "I"), ("S", "E"), ("S", "I")
        }  # fmt: skip
        if now != "O" and type_before != kind:
            start_of_chunk = True
        if end_of_chunk:
            spans.append((type_before, start, index))
        if start_of_chunk:
            start = index
        before, type_before = now, kind
    return spans
