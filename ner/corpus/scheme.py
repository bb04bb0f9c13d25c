"""How entities are written as one tag a word: IOB1, IOB2 (BIO), IOBES (BIOES), BILOU and BMES.

A tag is ``O``, or a prefix letter, a hyphen and a type (``B-PER``, ``I-creative-work``), or a bare prefix letter where
a data set has one unnamed type (``B``; its type is the empty string). The letters stand for four roles: begin (B),
inside (I, M), end (E, L), single (S, U).

- IOB1 (Ramshaw & Marcus 1995; CoNLL-2003 as published): I- everywhere; B- only where an entity follows one of its type.
- IOB2, also called BIO (Ratnaparkhi 1998): B- begins every entity.
- IOBES, also BIOES: single words are S-, last words E-. BILOU spells the same with L and U, BMES with M for I.

There is one policy for tags that break their scheme, conlleval's reading (Tjong Kim Sang 2000), which needs no scheme:
an entity begins at B- and S-, and at an I- or E- that cannot continue what stands before it (O, an ended entity,
another type); it ends where another begins, after E- and S-, and before O. ``to_spans`` reads so, and ``repair`` writes
the spans so found back in the scheme.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.errors import ConfigError, DataError

ROLES = {"O": "O", "B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
# Letters for begin, inside, end, single. The order breaks ties in detect().
SCHEMES = {"IOB2": "BI", "IOB1": "BI", "IOBES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
_ALIASES = {"BIO": "IOB2", "BIO2": "IOB2", "BIOES": "IOBES", "BILUO": "BILOU", "BIOUL": "BILOU", "BMESO": "BMES"}


class Span(NamedTuple):
    """An entity: words ``start`` (included) to ``end`` (excluded) of a sentence."""

    type: str
    start: int
    end: int


def overlap(one: Span, other: Span) -> bool:
    """Whether two spans of a sentence share a word."""
    return one.start < other.end and other.start < one.end


@dataclass(frozen=True)
class Fault:
    """A tag that breaks the scheme: its index in the sentence, the tag, and what is wrong in words.

    ``harmless`` faults can be read in one way only: a needless B- in IOB1 (CoNLL-2003's eng.train has two).
    """

    index: int
    tag: str
    what: str
    harmless: bool = False


def scheme_named(name: str) -> str:
    """The scheme's one name in SCHEMES, any case, aliases (BIO, BIOES, …) allowed; else ConfigError."""
    upper = _ALIASES.get(name.upper(), name.upper())
    if upper not in SCHEMES:
        raise ConfigError(f"scheme: expected one of {', '.join([*SCHEMES, *_ALIASES])}, got {name!r}")
    return upper


@lru_cache(maxsize=65536)
def parse_tag(tag: str) -> tuple[str, str]:
    """A tag's (letter, type), ("O", "") for O and ("B", "") for a bare B; ValueError if it is no tag.

    A type may hold hyphens but not begin or end with one: seqeval drops those, so two types would be counted as one.
    """
    letter, kind = tag[:1], tag[2:]
    if tag in ROLES:
        return tag, ""
    if letter in ROLES and letter != "O" and tag[1] == "-" and kind and kind.strip("-") == kind:
        return letter, kind
    raise ValueError(f"expected O or a tag like B-PER (a letter of B I E S L U M, a hyphen, a type), got {tag!r}")


def doubtful_types(types: Iterable[str]) -> list[str]:
    """What is odd about types that look like tags themselves (O, PER|B-ORG, I-PER) or hold a blank: lines to warn with."""
    found, known = [], set(types)
    for kind in sorted(known):
        parts = [part for part in re.split(r"[|,;/+]", kind) if part]
        if kind in ROLES:
            found.append(f"the type {kind!r} is a tag's letter: I-{kind} and the like are read as entities of that type")
        elif (len(parts) > 1 and any(map(is_tag, parts))) or (kind[1:2] == "-" and kind[2:] in known):
            found.append(f"the type {kind!r} contains a tag: it is read as one type, though several may be meant")
        elif " " in kind:
            remedy = "predict on such files needs --format jsonl"
            found.append(f"the type {kind!r} contains a blank, which columns separated by blanks cannot hold: {remedy}")
    return found


def is_tag(tag: str) -> bool:
    """Whether ``tag`` has a tag's form."""
    try:
        parse_tag(tag)
    except ValueError:
        return False
    return True


def make_tag(letter: str, kind: str) -> str:
    """The tag of a prefix letter and a type; parse_tag undoes it."""
    return f"{letter}-{kind}" if kind else letter


def letters(scheme: str) -> dict[str, str]:
    """The scheme's letter for each role it has: {"B": "B", "I": "I", "E": "L", "S": "U"} for BILOU."""
    return dict(zip("BIES", SCHEMES[scheme_named(scheme)], strict=False))


@lru_cache(maxsize=262144)
def _fault(previous: str, tag: str, scheme: str) -> str | None:
    """What is wrong with ``tag`` right after ``previous``; "" is a sentence's beginning or end. None if it is right.

    A tag whose letter the scheme does not have is one fault; what follows it is not judged by it.
    """
    letter, kind = parse_tag(tag or "O")
    letter_before, kind_before = parse_tag(previous or "O")
    known = "O" + SCHEMES[scheme]
    if letter not in known:
        return f"{scheme} has no prefix {letter}"
    role, role_before = ROLES[letter], ROLES[letter_before]
    continues = role_before in ("B", "I") and kind_before == kind
    if scheme in ("IOB1", "IOB2"):
        right = continues or role != ("B" if scheme == "IOB1" else "I")
    else:
        right = continues if role in ("I", "E") else role_before not in ("B", "I")
    if right or letter_before not in known:
        return None
    if not tag:
        return f"{previous} cannot end a sentence"
    return f"{tag} cannot follow {previous}" if previous else f"{tag} cannot begin a sentence"


def _pairs(tags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each tag with the one before it, and the sentence's end."""
    return zip(("", *tags), (*tags, ""), strict=True)


def check(tags: Sequence[str], scheme: str) -> list[Fault]:
    """What breaks ``scheme`` (a key of SCHEMES) in one sentence's tags, by index; empty if they are well formed.

    Where two words do not go together, the fault is the second one's; the last word's if the sentence cannot end so.
    """
    return [
        Fault(min(index, len(tags) - 1), tag or previous, what, harmless=scheme == "IOB1" and tag[:1] == "B")
        for index, (previous, tag) in enumerate(_pairs(tags))
        if (what := _fault(previous, tag, scheme))
    ]


@dataclass(frozen=True)
class Detection:
    """Which scheme some sentences are in.

    ``scheme`` is the one with the fewest faults; ``faults`` are (sentence number from 0, Fault) under it, in order.
    ``has_entities`` is False if all tags are O: then every scheme fits, and IOB2 is said.
    """

    scheme: str
    faults: tuple[tuple[int, Fault], ...]
    has_entities: bool


def detect(sentences: Iterable[Sequence[str]]) -> Detection:
    """The scheme of sentences' tags: the one with the fewest faults, ties by the order of SCHEMES.

    Two schemes fit a text without faults only if it has no entity (or no inside word, for IOBES and BMES): otherwise
    each writes the first or the last word of an entity in a way of its own. ValueError on a string that is no tag.
    """
    every = list(sentences)
    pairs = Counter(pair for tags in every for pair in _pairs(tags))
    counts = {scheme: sum(n for pair, n in pairs.items() if _fault(*pair, scheme)) for scheme in SCHEMES}
    best = min(SCHEMES, key=lambda scheme: counts[scheme])
    faults = ((number, fault) for number, tags in enumerate(every) for fault in check(tags, best))
    return Detection(best, tuple(faults) if counts[best] else (), any(tag not in ("", "O") for _, tag in pairs))


def to_spans(tags: Sequence[str]) -> list[Span]:
    """The entities of one sentence, in order, read as conlleval does: for well-formed tags of any scheme, and others.

    The same spans as seqeval's get_entities gives for the letters B, I, E, S (there ``end`` is included).
    """
    spans: list[Span] = []
    start, role_before, type_before = -1, "O", ""
    for index, tag in enumerate(tags):
        letter, kind = parse_tag(tag)
        role = ROLES[letter]
        begins = role != "O" and (role in ("B", "S") or role_before in ("O", "E", "S") or kind != type_before)
        if start >= 0 and (role == "O" or begins):
            spans.append(Span(type_before, start, index))
            start = -1
        if begins:
            start = index
        role_before, type_before = role, kind
    if start >= 0:
        spans.append(Span(type_before, start, len(tags)))
    return spans


def from_spans(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The tags of a sentence of ``length`` words with these entities.

    ValueError if spans overlap, are empty, or leave the sentence.
    """
    letter = letters(scheme)
    tags = ["O"] * length
    before = Span("", 0, 0)
    for span in sorted(spans, key=lambda each: each.start):
        if not before.end <= span.start < span.end <= length:
            raise ValueError(
                f"expected spans that do not overlap within {length} words, got {tuple(span)} after {tuple(before)}"
            )
        touches = before.end == span.start and before.type == span.type and before.end > before.start
        inside = make_tag(letter["I"], span.type)
        tags[span.start : span.end] = [inside] * (span.end - span.start)
        if scheme != "IOB1" or touches:
            tags[span.start] = make_tag(letter["B"], span.type)
        if "E" in letter:
            tags[span.end - 1] = make_tag(letter["E"], span.type)
            if span.end - span.start == 1:
                tags[span.start] = make_tag(letter["S"], span.type)
        before = span
    return tags


def convert(tags: Sequence[str], source: str, target: str) -> list[str]:
    """Tags of scheme ``source`` in scheme ``target``; DataError names the first fault that is not harmless."""
    faults = [fault for fault in check(tags, source) if not fault.harmless]
    if faults:
        raise DataError(f"word {faults[0].index + 1}: expected {source} tags, but {faults[0].what}")
    return from_spans(to_spans(tags), len(tags), target)


def repair(tags: Sequence[str], scheme: str) -> tuple[list[str], int]:
    """Tags of ``scheme`` with the spans that conlleval reads from ``tags``, and how many tags changed.

    Well-formed tags are returned as they are (0 changes); a letter of another scheme is read by its role.
    """
    repaired = from_spans(to_spans(tags), len(tags), scheme)
    return repaired, sum(old != new for old, new in zip(tags, repaired, strict=True))


class Transitions(NamedTuple):
    """Which labels may stand where. Boolean arrays: start (L,), pairs (L, L) from row to column, end (L,)."""

    start: npt.NDArray[np.bool_]
    pairs: npt.NDArray[np.bool_]
    end: npt.NDArray[np.bool_]


def pair_table(labels: Sequence[str], holds: Callable[[str, str], bool]) -> npt.NDArray[np.bool_]:
    """(L, L): whether something holds for a label and the next one that depends on their letters, and on the types only by
    whether they are the same. So it is asked for pairs of letters, not for the millions of pairs of thousands of labels."""
    parts = [parse_tag(label) for label in labels]
    known = sorted({letter for letter, _ in parts})
    letter = np.array([known.index(each) for each, _ in parts], dtype=np.int64)

    def table(kinds: tuple[str, str]) -> npt.NDArray[np.bool_]:
        tags = [[each if each == "O" else make_tag(each, kind) for each in known] for kind in kinds]
        return np.array([[holds(a, b) for b in tags[1]] for a in tags[0]], dtype=np.bool_).reshape(len(known), len(known))

    same, other = table(("X", "X")), table(("X", "Y"))
    pairs: npt.NDArray[np.bool_] = other[letter][:, letter]
    of_kind: dict[str, list[int]] = {}
    for i, (_, kind) in enumerate(parts):
        of_kind.setdefault(kind, []).append(i)
    for places in of_kind.values():
        pairs[np.ix_(places, places)] = same[np.ix_(letter[places], letter[places])]
    return pairs


def allowed_transitions(labels: Sequence[str], scheme: str) -> Transitions:
    """The label sequences that are well formed in ``scheme``; DataError for a label with a letter it does not have."""
    for label in labels:
        if parse_tag(label)[0] not in "O" + SCHEMES[scheme]:
            raise DataError(f"expected labels of scheme {scheme}, got {label!r}")
    pairs = pair_table(labels, lambda row, column: not _fault(row, column, scheme))
    return Transitions(
        np.array([not _fault("", label, scheme) for label in labels], dtype=np.bool_),
        pairs,
        np.array([not _fault(label, "", scheme) for label in labels], dtype=np.bool_),
    )


def labels_of(types: Iterable[str], scheme: str) -> list[str]:
    """O and, for each type in the order given, every tag that the scheme can write: B, I (and E, S)."""
    return ["O"] + [make_tag(letter, kind) for kind in types for letter in SCHEMES[scheme]]
