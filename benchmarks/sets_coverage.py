r"""Do sets of readings hold what they say, also where the text is of another kind than that of the calibration?

    python cli.py train-ner --train train.conll --valid valid.conll --test valid.conll --limit-test-batches 1 \
        --vectors glove.6B.50d.10k.txt --max-epochs 8 --threads 1 --run RUN
    PYTHONPATH=. python benchmarks/sets_coverage.py RUN --valid valid.conll --test eng.testb

The sets of a tagger (run, group or bundle) on the test file as it is, lower-cased, and with typing noise: a tenth of the
words of three letters or more has two letters swapped, one dropped or one doubled, a function of the sentence's number.
The bounds are those of the run, and then those of the validation file changed in the same way.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.corpus.conll import Sentence
from ner.corpus.scheme import to_spans
from ner.model.conformal import fit_sets
from ner.scoring.sets import SetCoverage, judge_sets
from ner.tagging.gold import judge_gold, read_gold
from ner.tagging.tagger import TrainedTagger
from training.errors import ConfigError
from training.randomness import unit
from training.visible import aligned

COVERAGES = (0.8, 0.9, 0.95)
NOISE = 0.1
Change = Callable[[Sentence, int], Sequence[str]]


def as_it_is(sentence: Sentence, number: int) -> Sequence[str]:
    return sentence.words


def lower_cased(sentence: Sentence, number: int) -> Sequence[str]:
    return [word.lower() for word in sentence.words]


def mistyped(sentence: Sentence, number: int) -> Sequence[str]:
    draws = unit(3 * len(sentence.words), 0, "benchmark/noise", number).tolist()
    return [_mistyped(word, *draws[3 * i : 3 * i + 3]) for i, word in enumerate(sentence.words)]


def _mistyped(word: str, whether: float, place: float, how: float) -> str:
    if whether >= NOISE or len(word) < 3:
        return word
    at = int(place * (len(word) - 1))
    one, two = word[at], word[at + 1]
    return word[:at] + (two + one, two, one + one + two)[int(3 * how)] + word[at + 2 :]


CHANGES: dict[str, Change] = {"as it is": as_it_is, "lower-cased": lower_cased, "typing noise": mistyped}


def changed(sentences: Sequence[Sentence], change: Change) -> list[Sentence]:
    """The sentences with other words, and their tags."""
    return [dataclasses.replace(s, words=tuple(change(s, number))) for number, s in enumerate(sentences)]


def judged(tagger: TrainedTagger, sentences: Sequence[Sentence], coverage: float) -> SetCoverage:
    """What the sets of labeled sentences hold."""
    bounds = tagger.bounds(coverage)
    sets = tagger.sets([s.words for s in sentences], bounds, [s.document for s in sentences])
    return judge_sets(((to_spans(s.tags), own) for s, (_, own) in zip(sentences, sets, strict=True)), bounds.percent)


def cells(tagger: TrainedTagger, sentences: Sequence[Sentence], coverage: float) -> tuple[float, ...] | None:
    """The figures of a row; None where the calibration cannot show the coverage."""
    try:
        found = judged(tagger, sentences, coverage)
    except ConfigError:
        return None
    _, alone, held, _, size = found.row(found.types)
    there = found.in_places / max(1, found.places)
    return alone, held, size, found.places, there, found.nothing / max(1, found.spurious)


FIGURES = {
    "found": ".4f", "held": ".4f", "readings a set": ".2f", "more sets": ",.0f", "readings there": ".2f", "none held": ".3f",
}  # fmt: skip
"""The names of the cells, and how they are printed."""
Key = tuple[str, str, float]
"""How the test file was changed, what was calibrated on, and the stated coverage."""


def figures(run: str, valid_path: str, test_path: str) -> Iterator[tuple[Key, tuple[float, ...] | None]]:
    """The cells of one run."""
    tagger = TrainedTagger.load(run)
    valid, test = (read_gold(tagger, path, None, None, None) for path in (valid_path, test_path))
    own = tagger.conformal or fit_sets(tagger.confidence, judge_gold(tagger, valid), tagger.indexer.scheme)
    for name, change in CHANGES.items():
        for source in ("valid", f"valid, {name}"):
            if source == "valid, as it is":
                continue
            tagger.conformal = own
            if source != "valid":
                own_kind = judge_gold(tagger, changed(valid, change))
                tagger.conformal = fit_sets(tagger.confidence, own_kind, tagger.indexer.scheme)
            for coverage in COVERAGES:
                yield (name, source, coverage), cells(tagger, changed(test, change), coverage)


def main() -> None:
    """Print a table: medians, where there are several runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", help="a run, group or bundle; several are runs with other seeds")
    parser.add_argument("--valid", required=True)
    parser.add_argument("--test", required=True)
    record.add_option(parser)
    given = parser.parse_args()
    found: dict[Key, list[tuple[float, ...] | None]] = {}
    for run in given.run:
        for key, each in figures(run, given.valid, given.test):
            found.setdefault(key, []).append(each)
    shown = [("test", "calibrated on", "stated", *FIGURES)]
    rows: dict[str, dict[str, record.Figure]] = {}
    for (name, source, coverage), results in found.items():
        known = [each for each in results if each is not None]
        columns = dict(zip(FIGURES, zip(*known, strict=True), strict=True)) if known else {}
        medians = (f"{statistics.median(columns[key]):{form}}" if columns else "–" for key, form in FIGURES.items())
        shown.append((name, source, f"{coverage:.2f}", *medians))
        rows[f"{name}, calibrated on {source}, {coverage:.2f}"] = {key: columns.get(key, "–") for key in FIGURES}
    print("\n".join(aligned(shown)))
    modules = (*record.PREDICT, "ner/scoring/sets.py")
    record.write(given.record, "sets", rows, modules=modules, threads=1, data=[given.valid, given.test])


if __name__ == "__main__":
    main()
