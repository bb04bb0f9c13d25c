"""Batch size, epochs and learning rate where the settings leave them to the size of the data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.config import PRESETS, TaggerConfig
from ner.corpus.conll import Sentence
from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.inputs.indexer import Indexer
from ner.schedule import (
    BATCH,
    FEWEST_EPOCHS,
    FEWEST_STEPS,
    HIGH_RATE,
    MANY_SENTENCES,
    MOST_EPOCHS,
    RATE,
    SMALL_BATCH,
    batches_per_epoch,
    resolved,
)
from ner.train import train_tagger
from training.run.experiment import RunOptions
from word2vec.text.tokenize import TextRule

FILES = ("metrics.jsonl", "predictions.conll", "config.json")


def sentences(count: int, document_size: int = 0) -> list[Sentence]:
    """Sentences of two words, in documents of this size; of 0 for none."""
    numbers = [1 + i // document_size if document_size else 0 for i in range(count)]
    return [Sentence(("Ada", "ran"), ("S-PER", "O"), document=number) for number in numbers]


@given(st.integers(1, 400), st.integers(0, 30), st.integers(1, 40), st.booleans())
def test_batches_are_counted_as_they_are_planned(count: int, size: int, batch_size: int, documents: bool) -> None:
    train, config = sentences(count, size), TaggerConfig(mentions=documents)
    encoded = encode_labeled(train, Indexer.build(train, TextRule(tokenize=False)), config)
    planned = len(SentenceBatches(encoded, batch_size).plan(0))
    assert batches_per_epoch(train, batch_size, documents=config.reads_documents) == planned


@given(st.integers(1, 3000), st.integers(0, 30))
def test_there_are_enough_steps_or_the_most_epochs(count: int, size: int) -> None:
    found = resolved(TaggerConfig(), sentences(count, size))
    steps = found.max_epochs * batches_per_epoch(sentences(count, size), found.batch_size, documents=True)
    assert found.batch_size in (SMALL_BATCH, BATCH)
    assert FEWEST_EPOCHS <= found.max_epochs <= MOST_EPOCHS
    assert steps >= FEWEST_STEPS or found.max_epochs == MOST_EPOCHS
    assert found == resolved(found, sentences(1))


def test_much_data_has_twelve_epochs_of_batches_of_16() -> None:
    for count in (2000, 15_000):
        found = resolved(TaggerConfig(), sentences(count, 8))
        assert (found.batch_size, found.max_epochs) == (16, 12)


def test_what_is_given_stays() -> None:
    for name, preset in PRESETS.items():
        config = TaggerConfig(**preset)
        assert name == "default" or resolved(config, sentences(20)) == config
    assert resolved(TaggerConfig(batch_size=3), sentences(2000)).batch_size == 3
    assert resolved(TaggerConfig(max_epochs=-1), sentences(20)).max_epochs == -1
    assert resolved(TaggerConfig(start_from="run"), sentences(20)).max_epochs == FEWEST_EPOCHS
    assert resolved(TaggerConfig(vectors="none", lr=0.1), sentences(20)).lr == 0.1


def test_the_rate_is_high_for_little_data_without_vectors_alone() -> None:
    few, many = sentences(MANY_SENTENCES - 1), sentences(MANY_SENTENCES)
    assert resolved(TaggerConfig(vectors="none"), few).lr == HIGH_RATE
    assert resolved(TaggerConfig(vectors="none"), many).lr == RATE
    assert resolved(TaggerConfig(vectors="file.bin"), few).lr == RATE
    assert resolved(TaggerConfig(vectors="none", start_from="run"), few).lr == RATE


def test_the_settings_of_a_run_have_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ner.schedule.FEWEST_EPOCHS", 2)
    monkeypatch.setattr("ner.schedule.MOST_EPOCHS", 2)
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.conll").write_text("Ada B-PER\nran O\n\nBo B-PER\n", encoding="utf-8")
    config = TaggerConfig(data=str(tmp_path), vectors="none", hidden_size=4, progress=False, device="cpu", threads=1)
    run = train_tagger(config, RunOptions(path=str(tmp_path / "run")))
    kept = TaggerConfig.load(run / "config.json")
    assert kept == dataclasses.replace(config, batch_size=SMALL_BATCH, max_epochs=2, lr=HIGH_RATE)
    assert json.loads((run / "manifest.json").read_text())["config"] == kept.to_dict()
    monkeypatch.setattr("ner.schedule.MOST_EPOCHS", 1)  # what is in the file holds
    again = train_tagger(kept, RunOptions(path=str(tmp_path / "again")))
    for name in FILES:
        assert (again / name).read_bytes() == (run / name).read_bytes()
