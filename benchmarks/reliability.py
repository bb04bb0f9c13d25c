"""Are the confidences of entities true? Reliability on valid and test, as they are and with a temperature fitted on valid.

    PYTHONPATH=. python benchmarks/reliability.py RUN [RUN …] --valid FILE --test FILE

Of the entities that a tagger is 80% sure of, 80% should be right (type and both ends). ECE is the mean difference of
confidence and precision over ten bins of equal width, weighted by the entities in them (Naeini et al. 2015); Brier the mean
squared difference of confidence and 0 or 1. The temperature is fitted here as train-ner does it (ner/model/calibration.py),
on valid. An interval is 95%, by resampling sentences. Of several runs (seeds) the bins are those of all their entities.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.corpus.conll import read_conll, to_scheme
from ner.inputs.batches import Batch, SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.model.calibration import fit_temperature, judge
from ner.model.confidence import Confidence
from ner.tagging.tagger import TrainedTagger

BINS = 10
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sure:
    """Of each entity that was found: its confidence, 1 if it is right, the number of its sentence."""

    confidence: Floats
    right: Floats
    sentence: npt.NDArray[np.int64]


def batches(tagger: TrainedTagger, path: str) -> Iterator[Batch]:
    """A labeled file's batches."""
    config = tagger.config
    read = read_conll(path, columns=tagger.columns, docstart="drop")
    sentences = to_scheme(read, config.scheme, mend=True)[0]
    later = tagger.look_up(w for s in sentences for w in s.words)
    yield from SentenceBatches(encode_labeled(sentences, tagger.indexer, config, later), 256, shuffle=False).plan(0)


def sure(tagger: TrainedTagger, path: str, temperature: float) -> Sure:
    """How sure the tagger is of what it finds in a labeled file."""
    confidence = Confidence(tagger.model, tagger.indexer.labels, temperature)
    parts: list[tuple[Floats, Floats, npt.NDArray[np.int64]]] = []
    for batch in batches(tagger, path):
        judged = judge(tagger.model, tagger.indexer.labels, batch)
        counts = torch.tensor([len(spans) for spans in judged.found.spans])
        numbers = torch.repeat_interleave(batch.sentences, counts)
        parts.append((confidence(judged.found).numpy(), judged.right.double().numpy(), numbers.numpy()))
    return Sure(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def ece(confidence: Floats, right: Floats) -> float:
    """Expected calibration error over BINS bins of equal width."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(place, confidence - right, BINS))
    return float(gaps.sum() / len(confidence))


def interval(found: Sure, draws: int = 500) -> tuple[float, float]:
    """The 95% interval of the ECE over resampled sentences."""
    rng = np.random.default_rng(0)
    order = np.argsort(found.sentence, kind="stable")
    kinds, first = np.unique(found.sentence[order], return_index=True)
    groups = np.split(order, first[1:])
    values = []
    for _ in range(draws):
        chosen = np.concatenate([groups[i] for i in rng.integers(len(kinds), size=len(kinds))])
        values.append(ece(found.confidence[chosen], found.right[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def summary(found: Sure) -> str:
    low, high = interval(found)
    error = ece(found.confidence, found.right)
    return (
        f"{len(found.right):,} | {100 * found.right.mean():.1f}% | {100 * found.confidence.mean():.1f}% | "
        f"{error:.4f} ({low:.4f} to {high:.4f}) | {np.square(found.confidence - found.right).mean():.4f}"
    )


def table(before: list[Sure], after: list[Sure]) -> Iterator[str]:
    """Bins of all runs' entities: mean confidence, share right, number; before and after the temperature."""
    columns = []
    for runs in (before, after):
        confidence = np.concatenate([each.confidence for each in runs])
        right = np.concatenate([each.right for each in runs])
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        there = [place == i for i in range(BINS)]
        cells = [f"{confidence[t].mean():.3f} | {right[t].mean():.3f} | {t.sum():,}" if t.any() else " | | 0" for t in there]
        columns.append(cells)
    for i, (one, other) in enumerate(zip(*columns, strict=True)):
        yield f"| {i / BINS:.1f} to {(i + 1) / BINS:.1f} | {one} | {other} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--valid", required=True)
    parser.add_argument("--test", required=True)
    record.add_option(parser)
    given = parser.parse_args()
    splits = {"valid": given.valid, "test": given.test}
    found: dict[tuple[str, bool], list[Sure]] = {(name, fitted): [] for name in splits for fitted in (False, True)}
    print("| split | temperature | entities | right | mean confidence | ECE (95%) | Brier |")
    for run in given.runs:
        tagger = TrainedTagger.load(run)
        fitted = fit_temperature(tagger.model, tagger.indexer.labels, batches(tagger, given.valid))
        print(f"{run} ({tagger.config.decoder}): {fitted}")
        for name, path in splits.items():
            for after, temperature in enumerate((1.0, fitted.temperature)):
                each = sure(tagger, path, temperature)
                print(f"| {name} | {temperature} | {summary(each)} |", flush=True)
                found[name, bool(after)].append(each)
    for name in splits:
        print(f"{name}: mean confidence, share right, entities; the same with the temperature")
        print("\n".join(table(found[name, False], found[name, True])))
    rows: dict[str, dict[str, record.Figure]] = {}
    for (name, after), every in found.items():
        rows[f"{Path(splits[name]).name}, {'with the temperature' if after else 'as the scores say'}"] = {
            "ECE": [ece(each.confidence, each.right) for each in every],
            "Brier": [float(np.square(each.confidence - each.right).mean()) for each in every],
        }
    record.write(given.record, "confidence", rows, modules=record.PREDICT, threads=1, data=splits.values())


if __name__ == "__main__":
    main()
