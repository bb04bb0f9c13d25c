"""The named-entity tagger: data, model, scoring, prediction.

The public names are imported when they are first used: ``from ner import TrainedTagger``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.lazy import lazily

if TYPE_CHECKING:
    from ner.config import TaggerConfig
    from ner.corpus.alignment import SpanRules
    from ner.corpus.conll import Columns, Sentence, read_conll, write_conll
    from ner.corpus.convert import convert_file
    from ner.corpus.labeled import read_labeled
    from ner.inputs.indexer import Indexer
    from ner.model.bilstm import BiLSTM
    from ner.model.crf import CRF
    from ner.model.tagger import Tagger
    from ner.predict import evaluate_file, predict_stream
    from ner.scoring.report import Evaluation, evaluation
    from ner.tagging.bundle import export
    from ner.tagging.tagger import Entity, Tagged, TrainedTagger
    from ner.train import train_tagger

__all__ = [
    "CRF",
    "BiLSTM",
    "Columns",
    "Entity",
    "Evaluation",
    "Indexer",
    "Sentence",
    "SpanRules",
    "Tagged",
    "Tagger",
    "TaggerConfig",
    "TrainedTagger",
    "convert_file",
    "evaluate_file",
    "evaluation",
    "export",
    "predict_stream",
    "read_conll",
    "read_labeled",
    "train_tagger",
    "write_conll",
]

_HOMES = {
    "BiLSTM": "ner.model.bilstm",
    "Columns": "ner.corpus.conll",
    "convert_file": "ner.corpus.convert",
    "SpanRules": "ner.corpus.alignment",
    "CRF": "ner.model.crf",
    "Entity": "ner.tagging.tagger",
    "evaluate_file": "ner.predict",
    "Evaluation": "ner.scoring.report",
    "evaluation": "ner.scoring.report",
    "export": "ner.tagging.bundle",
    "Indexer": "ner.inputs.indexer",
    "predict_stream": "ner.predict",
    "read_conll": "ner.corpus.conll",
    "read_labeled": "ner.corpus.labeled",
    "Sentence": "ner.corpus.conll",
    "Tagged": "ner.tagging.tagger",
    "Tagger": "ner.model.tagger",
    "TaggerConfig": "ner.config",
    "train_tagger": "ner.train",
    "TrainedTagger": "ner.tagging.tagger",
    "write_conll": "ner.corpus.conll",
}

if not TYPE_CHECKING:  # else a name that is not there would be one of any type
    __getattr__, __dir__ = lazily(__name__, _HOMES)
