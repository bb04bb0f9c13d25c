"""How sure a group's runs are together: the temperature and the bounds of sets of their mean, by the validation data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ner.corpus.alignment import SpanRules
from ner.model.calibration import fit_to_judged
from ner.model.confidence import Confidence
from ner.model.conformal import fit_sets
from ner.tagging.gold import judge_gold, read_gold
from ner.tagging.group import grouped
from ner.tagging.load import CONFORMAL, TEMPERATURE, read_run
from ner.tagging.tagger import TrainedTagger
from training.errors import DataError
from training.files import atomic_write
from training.run.folder import read_manifest
from training.run.groups import ENSEMBLE, seeds_of
from training.run.places import looked_for, start_folder


def calibrate(folder: Path, tell: Callable[[str], None]) -> None:
    """Calibrate a group whose runs have finished, and write what was found into its ``ensemble.json``; once.

    Runs that validated nothing have no temperature (they may have trained on those data), and so their group has none.
    """
    if (folder / ENSEMBLE).exists():
        return
    runs = [folder / f"seed_{seed}" for seed in seeds_of(folder)]
    if TEMPERATURE not in read_manifest(runs[0]):
        atomic_write(folder / ENSEMBLE, json.dumps({"temperature": 1.0}) + "\n")
        return
    tagger = TrainedTagger(grouped([read_run(run) for run in runs], str(folder), 1.0))
    rules = SpanRules(tagger.config.misaligned, tagger.config.overlapping)
    judged = judge_gold(tagger, read_gold(tagger, str(_valid(runs[0])), None, None, rules))
    fitted = fit_to_judged(tagger.model, tagger.indexer.labels, judged)
    tell(f"confidence of the group: {fitted}")
    confidence = Confidence(tagger.model, tagger.indexer.labels, fitted.temperature)
    conformal = fit_sets(confidence, judged, tagger.indexer.scheme)
    atomic_write(folder / ENSEMBLE, json.dumps({**fitted._asdict(), CONFORMAL: conformal.to_dict()}) + "\n")


def _valid(run: Path) -> Path:
    described = read_manifest(run)
    path = start_folder(run, described, "valid") / str(described["inputs"]["valid"]["path"])
    if not path.exists():
        raise DataError(f"{path}: expected the validation data of the group, got nothing ({looked_for(run, described)})")
    return path
