"""How often sets of readings hold the gold entities, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ner.corpus.scheme import Span, overlap
from training.visible import counted

if TYPE_CHECKING:
    from ner.model.sets import ReadingSet  # which needs torch

HEADER = ("type", "entities", "found", "held", "sets", "readings a set")
COLUMNS = ("entities", "found", "held", "sets", "readings")


@dataclass(frozen=True)
class SetCoverage:
    """Counts by type, of gold entities and of sets, whose type is that of the entity that was found there.

    Args:
        percent: the stated coverage.
        gold: gold entities.
        found: those that the tagger's own reading has.
        held: those that a set holds.
        sets: sets of entities that were found.
        readings: the readings in them, "no entity" among them.
        places: sets where nothing was found.
        in_places: the readings in those.
        spurious: entities that were found where no gold entity has a word.
        nothing: those whose set holds "no entity".
    """

    percent: int
    gold: Counter[str]
    found: Counter[str]
    held: Counter[str]
    sets: Counter[str]
    readings: Counter[str]
    places: int
    in_places: int
    spurious: int
    nothing: int

    @property
    def types(self) -> list[str]:
        """The types of gold entities and of sets, in order of their names."""
        return sorted({*self.gold, *self.sets})

    def row(self, types: Sequence[str]) -> tuple[int, float, float, int, float]:
        """Of these types: gold entities, the shares of them that are found and held, sets, and readings a set."""
        every = (self.gold, self.found, self.held, self.sets, self.readings)
        gold, found, held, sets, readings = (sum(counts[kind] for kind in types) for counts in every)
        return gold, found / max(1, gold), held / max(1, gold), sets, readings / max(1, sets)

    def cells(self) -> list[tuple[str, ...]]:
        """A table's rows under HEADER: each type, and all."""
        rows = [(kind or "_", self.row([kind])) for kind in self.types] + [("all", self.row(self.types))]
        return [
            (name, f"{gold:,}", f"{found:.4f}", f"{held:.4f}", f"{sets:,}", f"{readings:.2f}")
            for name, (gold, found, held, sets, readings) in rows
        ]

    def note(self) -> str:
        """What the table does not say."""
        note = (
            f"held: the share of gold entities that are in a set; {self.percent} % is stated. found: by the tagger's own "
            f"reading. Where nothing was found there are {counted(self.places, 'set')} more, of "
            f"{self.in_places / max(1, self.places):.2f} readings on average."
        )
        if self.spurious:
            wrong = counted(self.spurious, "entity was", "entities were")
            note += f" {wrong} found where none is: {100 * self.nothing / self.spurious:.1f} % of their sets say so."
        return note

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "coverage": self.percent / 100,
            "by_type": {kind: dict(zip(COLUMNS, self.row([kind]), strict=True)) for kind in self.types},
            "all": dict(zip(COLUMNS, self.row(self.types), strict=True)),
            "where_nothing_was_found": {"sets": self.places, "readings": self.in_places / max(1, self.places)},
            "where_nothing_is": {"sets": self.spurious, "say_so": self.nothing / max(1, self.spurious)},
        }


def judge_sets(rows: Iterable[tuple[Sequence[Span], Sequence[ReadingSet]]], percent: int) -> SetCoverage:
    """Count: ``rows`` are each sentence's gold entities and its sets, for a coverage of so many percent."""
    gold, found, held, sets, readings = (Counter[str]() for _ in range(5))
    places = in_places = spurious = nothing = 0
    for spans, own in rows:
        for span in spans:
            gold[span.type] += 1
            found[span.type] += any(each.own == span for each in own)
            held[span.type] += any(each.holds(span) for each in own)
        for each in own:
            if each.own is None:
                places, in_places = places + 1, in_places + len(each.readings)
                continue
            sets[each.own.type] += 1
            readings[each.own.type] += len(each.readings)
            if not any(overlap(each.own, span) for span in spans):
                spurious, nothing = spurious + 1, nothing + each.holds(None)
    return SetCoverage(percent, gold, found, held, sets, readings, places, in_places, spurious, nothing)
