"""The named-entity tagger: data, model, scoring, prediction.

What a program needs stands here, and is imported when it is first used: ``from ner import TrainedTagger``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ner.config import PRESETS, TaggerConfig
    from ner.corpus.conll import Columns, Sentence, read_conll, write_conll
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
    "PRESETS",
    "BiLSTM",
    "Columns",
    "Entity",
    "Evaluation",
    "Indexer",
    "Sentence",
    "Tagged",
    "Tagger",
    "TaggerConfig",
    "TrainedTagger",
    "evaluate_file",
    "evaluation",
    "export",
    "predict_stream",
    "read_conll",
    "train_tagger",
    "write_conll",
]

_MODULES = {
    "ner.config": ("PRESETS", "TaggerConfig"),
    "ner.corpus.conll": ("Columns", "Sentence", "read_conll", "write_conll"),
    "ner.inputs.indexer": ("Indexer",),
    "ner.model.bilstm": ("BiLSTM",),
    "ner.model.crf": ("CRF",),
    "ner.model.tagger": ("Tagger",),
    "ner.predict": ("evaluate_file", "predict_stream"),
    "ner.scoring.report": ("Evaluation", "evaluation"),
    "ner.tagging.bundle": ("export",),
    "ner.tagging.tagger": ("Entity", "Tagged", "TrainedTagger"),
    "ner.train": ("train_tagger",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name, from the module that has it (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
