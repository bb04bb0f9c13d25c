"""Does ``data suspects`` find labels that are wrong? Faults are planted, and looked for among the first suspects.

    PYTHONPATH=. python benchmarks/suspects.py FILE --run FOLDER [--share 0.02] [--folds 5] [--preset NAME] [--vectors FILE]

2% of the file's entities are changed, a third each: another type of the file's, drawn by how often they occur; a border
moved by a word; the entity dropped. A suspect is a hit where it touches the words of a planted fault, the entity's before or
after. Precision is that of the first n suspects; recall the share of the faults that they touch. Faults that the file had
before are counted as no hits, so that precision is a lower bound. The random order of all suspects is there to compare with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.config import PRESETS, TaggerConfig
from ner.corpus.conll import Columns, Sentence, read_conll, to_scheme, write_conll
from ner.corpus.scheme import Span, detect, from_spans, to_spans
from ner.suspects.folds import LabeledFile, begin
from ner.suspects.suspects import Suspect, suspects
from training.randomness import words32
from training.run.experiment import RunOptions

KINDS = ("type", "border", "dropped")


@dataclass(frozen=True)
class Fault:
    """A planted fault: the sentence's number, the words that the entity had, and those that it has now."""

    kind: str
    number: int
    before: Span
    after: Span | None

    def touches(self, suspect: Suspect) -> bool:
        """Whether a suspect is about it."""
        words = {*suspect.touched}
        return suspect.number == self.number and any(
            words & {*range(span.start, span.end)} for span in (self.before, self.after) if span
        )


def drawn(n: int, name: str, seed: int) -> list[int]:
    """Numbers that are drawn for a purpose."""
    return [int(x) for x in words32(max(1, n), seed, f"benchmarks/suspects/{name}")]


def border_moved(span: Span, spans: Sequence[Span], length: int, number: int) -> Span | None:
    """The entity with one word more or less at an end; None where there is no way."""
    taken = {i for other in spans if other != span for i in range(other.start, other.end)}
    ways = [
        Span(span.type, start, end)
        for start, end in ((span.start - 1, span.end), (span.start + 1, span.end), (span.start, span.end - 1),
                           (span.start, span.end + 1))
        if 0 <= start < end <= length and not taken & {*range(start, end)}
    ]  # fmt: skip
    return ways[number % len(ways)] if ways else None


def plant(sentences: Sequence[Sentence], share: float, seed: int) -> tuple[list[Sentence], list[Fault]]:
    """The sentences, in IOB2, with faults in them; one a sentence at most."""
    places = [(i, span) for i, s in enumerate(sentences) for span in to_spans(s.tags)]
    types = [span.type for _, span in places]
    order = np.argsort(words32(len(places), seed, "benchmarks/suspects/place"), kind="stable").tolist()
    made, faults, wanted = list(sentences), list[Fault](), round(share * len(places))
    numbers = drawn(len(places), "choice", seed)
    for p in order:
        if len(faults) == wanted:
            break
        i, span = places[p]
        if any(fault.number == i for fault in faults):
            continue
        kind, spans, after = KINDS[len(faults) % len(KINDS)], to_spans(sentences[i].tags), None
        if kind == "type":
            others = [name for name in types if name != span.type]
            after = replace_type(span, others[numbers[p] % len(others)])
        elif kind == "border":
            after = border_moved(span, spans, len(sentences[i].words), numbers[p])
            if after is None:
                continue
        left = [other for other in spans if other != span] + ([after] if after else [])
        tags = tuple(from_spans(sorted(left, key=lambda each: each.start), len(sentences[i].words), "IOB2"))
        made[i] = replace(sentences[i], tags=tags, columns=())
        faults.append(Fault(kind, i, span, after))
    return made, faults


def replace_type(span: Span, name: str) -> Span:
    """The same words with another type."""
    return Span(name, span.start, span.end)


def recall_of(first: Sequence[Suspect], faults: Sequence[Fault]) -> float:
    """The share of the faults that some suspect touches."""
    return sum(any(fault.touches(each) for each in first) for fault in faults) / max(1, len(faults))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder for the file with faults and the runs")
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--preset", default="default", choices=sorted(PRESETS))
    parser.add_argument("--vectors", default="none")
    parser.add_argument("--epochs", type=int)
    record.add_option(parser)
    arguments = parser.parse_args()
    sentences = read_conll(arguments.file, docstart="drop")
    sentences = to_scheme(sentences, "IOB2", source=detect(s.tags for s in sentences).scheme, mend=True)[0]
    made, faults = plant(sentences, arguments.share, arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    planted = arguments.run / "planted.conll"
    with planted.open("w", encoding="utf-8") as stream:
        document = 0
        for each in made:
            if each.document != document:
                document = each.document
                stream.write("-DOCSTART-\tO\n\n")
            write_conll(stream, [Sentence(each.words, each.tags, separator="\t")])
    settings = {**PRESETS[arguments.preset], "vectors": arguments.vectors, "progress": False}
    if arguments.epochs:
        settings["max_epochs"] = arguments.epochs
    config = TaggerConfig(**settings)
    labeled = LabeledFile.read(planted, Columns(0, -1), config, print)
    done = begin(labeled, config, arguments.folds, str(arguments.run / "folds"), "", print)
    done.train(RunOptions(), print)
    found = suspects(done)
    hit = [any(fault.touches(each) for fault in faults) for each in found]
    print(
        f"{arguments.file}: {len(faults)} faults planted; {len(found)} suspects; at random {np.mean(hit):.3f} would be hits"
    )
    print(f"{'first n':>8}  precision  recall  " + "  ".join(f"{kind:>7}" for kind in KINDS))
    rows: dict[str, dict[str, record.Figure]] = {}
    for n in sorted({max(1, len(faults) // 4), len(faults) // 2, len(faults), 2 * len(faults), 4 * len(faults), len(found)}):
        first = found[:n]
        by_kind = [recall_of(first, [f for f in faults if f.kind == kind]) for kind in KINDS]
        cells = "  ".join(f"{value:7.3f}" for value in by_kind)
        print(f"{n:8}  {np.mean(hit[:n]):9.3f}  {recall_of(first, faults):6.3f}  {cells}")
        rows[f"first {n}"] = {"precision": float(np.mean(hit[:n])), "recall": recall_of(first, faults)}
        rows[f"first {n}"] |= {f"of {kind}": value for kind, value in zip(KINDS, by_kind, strict=True)}
    modules = (*record.TAGGER, "ner/suspects/*.py")
    record.write(arguments.record, "suspects", rows, modules=modules, threads=1, data=[arguments.file])


if __name__ == "__main__":
    main()
