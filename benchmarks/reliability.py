"""Are the confidences of entities true? Reliability on valid and test, as they are and with a temperature fitted on valid.

    PYTHONPATH=. python benchmarks/reliability.py RUN VALID TEST

Of the entities that a tagger is 80% sure of, 80% should be right (type and both ends). ECE is the mean difference of
confidence and precision over ten bins of equal width, weighted by the entities in them (Naeini et al. 2015); Brier the mean
squared difference of confidence and 0 or 1. The temperature divides all scores, a CRF's transitions too, and is the one
with the highest likelihood of valid's tags (Guo et al. 2017). An interval is 95%, by resampling sentences.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ner.batches import SentenceBatches
from ner.confidence import span_confidence
from ner.conll import Sentence, read_conll, to_scheme
from ner.data import encode
from ner.embeddings import attach_unseen
from ner.model import Tagger
from ner.predict import TrainedTagger
from ner.scheme import to_spans

BINS = 10
Floats = npt.NDArray[np.float64]
GRID = [round(0.5 + 0.05 * i, 2) for i in range(41)]


class Scored:
    """A split's batches with the tagger's scores, computed once."""

    def __init__(self, tagger: TrainedTagger, path: str) -> None:
        config = tagger.config
        read = read_conll(path, columns=tagger.columns, docstart="drop")
        self.sentences: list[Sentence] = to_scheme(read, config.scheme, mend=True)[0]
        if tagger.vectors is not None:
            words = (word for sentence in self.sentences for word in sentence.words)
            attach_unseen(tagger.model.words, tagger.indexer, tagger.vectors, words)
        encoded = encode(self.sentences, tagger.indexer, config)
        with torch.no_grad():
            plan = SentenceBatches(encoded, 64, shuffle=False).plan(0)
            self.batches = [(b, tagger.model(b)[: len(b.words)]) for b in plan]


def warmer(model: Tagger, temperature: float) -> Tagger:
    """The model with a CRF whose transitions are divided by the temperature."""
    other = copy.copy(model)
    other._modules = dict(model._modules)
    if model.crf is not None:
        other.crf = copy.deepcopy(model.crf)
        with torch.no_grad():
            for parameter in other.crf.parameters():
                parameter.div_(temperature)
    return other


@torch.no_grad()
def loss(tagger: TrainedTagger, split: Scored, temperature: float) -> float:
    """Minus the log-likelihood of the gold tags, per token."""
    model = warmer(tagger.model, temperature)
    parts = [float(model.loss(scores / temperature, b)) * len(b.labels) for b, scores in split.batches]
    return sum(parts) / sum(len(b.labels) for b, _ in split.batches)


@torch.no_grad()
def judged(tagger: TrainedTagger, split: Scored, temperature: float) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Of each predicted entity: confidence, 1 if it is right, the number of its sentence."""
    model = warmer(tagger.model, temperature)
    sure, right, numbers = [], [], []
    for batch, scores in split.batches:
        labels = tagger.model.decode(scores, batch)
        begins = (batch.lengths.cumsum(0) - batch.lengths).tolist()
        places = []
        for number, at, part in zip(
            batch.sentences.tolist(), begins, torch.split(labels, batch.lengths.tolist()), strict=True
        ):
            gold = set(to_spans(split.sentences[number].tags))
            for span in to_spans(tagger.indexer.decode(part.tolist())):
                places.append((at + span.start, at + span.end))
                right.append(float(span in gold))
                numbers.append(number)
        if places:
            starts, ends = torch.tensor(places).T
            plan = batch.plan
            sure += span_confidence(model, scores / temperature, plan, labels, starts, ends, tagger._continues).tolist()
    return np.array(sure), np.array(right), np.array(numbers)


def ece(sure: Floats, right: Floats) -> float:
    """Expected calibration error over BINS bins of equal width."""
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(place, sure - right, BINS))
    return float(gaps.sum() / len(sure))


def interval(sure: Floats, right: Floats, numbers: npt.NDArray[np.int64], draws: int = 500) -> tuple[float, float]:
    """The 95% interval of the ECE over resampled sentences."""
    rng = np.random.default_rng(0)
    order = np.argsort(numbers, kind="stable")
    kinds, first = np.unique(numbers[order], return_index=True)
    groups = np.split(order, first[1:])
    values = []
    for _ in range(draws):
        chosen = np.concatenate([groups[i] for i in rng.integers(len(kinds), size=len(kinds))])
        values.append(ece(sure[chosen], right[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def report(name: str, sure: Floats, right: Floats, numbers: npt.NDArray[np.int64], table: bool) -> None:
    low, high = interval(sure, right, numbers)
    print(
        f"{name}: {len(sure):,} entities, {100 * right.mean():.2f}% right, mean confidence {100 * sure.mean():.2f}%; "
        f"ECE {ece(sure, right):.4f} ({low:.4f} to {high:.4f}), Brier {np.square(sure - right).mean():.4f}"
    )
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    for i in range(BINS if table else 0):
        there = place == i
        if there.any():
            line = f"{sure[there].mean():.3f} | {right[there].mean():.3f} | {there.sum():,}"
            print(f"| {i / BINS:.1f} to {(i + 1) / BINS:.1f} | {line} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("valid")
    parser.add_argument("test")
    given = parser.parse_args()
    tagger = TrainedTagger.load(given.run)
    splits = {"valid": Scored(tagger, given.valid), "test": Scored(tagger, given.test)}
    losses = {temperature: loss(tagger, splits["valid"], temperature) for temperature in GRID}
    best = min(losses, key=lambda temperature: losses[temperature])
    print(f"{given.run} ({tagger.config.decoder}): temperature by valid's likelihood {best}")
    for temperature in (1.0, best):
        for name, split in splits.items():
            report(f"{name}, temperature {temperature}", *judged(tagger, split, temperature), table=temperature == 1.0)


if __name__ == "__main__":
    main()
