"""How sure a group's runs are together: the temperature of their mean, fitted on the validation data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from ner.corpus.alignment import SpanRules
from ner.corpus.scheme import to_spans
from ner.inputs.document import Numbering
from ner.model.calibration import Fitted, Judged, fit_to_judged
from ner.tagging.gold import read_gold
from ner.tagging.group import grouped
from ner.tagging.load import read_run
from ner.tagging.tagger import LONGEST_SENTENCE, TrainedTagger
from training.errors import DataError
from training.files import atomic_write
from training.run.folder import read_manifest
from training.run.groups import ENSEMBLE, seeds_of
from training.run.places import looked_for, start_folder


def calibrate(folder: Path, tell: Callable[[str], None]) -> None:
    """Fit the temperature of a group whose runs have finished, and write it into its ``ensemble.json``; once."""
    if (folder / ENSEMBLE).exists():
        return
    runs = [folder / f"seed_{seed}" for seed in seeds_of(folder)]
    tagger = TrainedTagger(grouped([read_run(run) for run in runs], str(folder), 1.0))
    fitted = _fit(tagger, _valid(runs[0]))
    tell(f"confidence of the group: {fitted}")
    atomic_write(folder / ENSEMBLE, json.dumps(fitted._asdict()) + "\n")


def _valid(run: Path) -> Path:
    described = read_manifest(run)
    path = start_folder(run, described, "valid") / str(described["inputs"]["valid"]["path"])
    if not path.exists():
        raise DataError(f"{path}: expected the validation data of the group, got nothing ({looked_for(run, described)})")
    return path


def _fit(tagger: TrainedTagger, valid: Path) -> Fitted:
    number = Numbering()
    rules = SpanRules(tagger.config.misaligned, tagger.config.overlapping)
    read = read_gold(tagger, str(valid), None, None, rules)
    numbered = [(sentence, number(sentence) + 1) for sentence in read]
    numbered = [each for each in numbered if len(each[0].words) <= LONGEST_SENTENCE]
    judged = []
    for batch, found in tagger.found([s.words for s, _ in numbered], [number for _, number in numbered]):
        gold = [set(to_spans(numbered[i][0].tags)) for i in batch.sentences.tolist()]
        right = [span in spans for spans, row in zip(gold, found.spans, strict=True) for span in row]
        judged.append(Judged(found, torch.tensor(right, dtype=torch.bool)))
    return fit_to_judged(tagger.model, tagger.indexer.labels, judged)
