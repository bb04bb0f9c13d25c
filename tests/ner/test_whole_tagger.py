"""The tagger with all its parts: several sets of vectors, characters, features, documents, averaged weights, CRF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ner.config import PRESETS, TaggerConfig
from ner.corpus.conll import Sentence, read_conll
from ner.corpus.dataset import read_dataset
from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode, encode_labeled
from ner.inputs.indexer import FIRST, Indexer
from ner.predict import evaluate_file, predict_stream
from ner.tagging.tagger import TrainedTagger
from ner.train import build_task, train_tagger, without_rare_words
from ner.vectors.views import RAW, Views
from training.errors import ConfigError, DataError, Preempted
from training.loop.callback import Callback
from training.loop.task import Task
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

SMALL = {
    **PRESETS["conll2003"], "hidden_size": 8, "char_hidden": 6, "char_dim": 5, "features_dim": 4, "topic_dim": 3,
    "subwords": 30, "subword_dim": 4,
    "batch_size": 8, "max_epochs": 2, "average": 0.9, "deterministic": True, "progress": False,
}  # fmt: skip
LOWER = TextRule(tokenize=False, lowercase=True, digits="zero")
CASED = TextRule(tokenize=False, lowercase=False, digits="keep")


def saved(folder: Path, name: str, words: list[str], dim: int, rule: TextRule) -> str:
    forms = list(dict.fromkeys(rule.word(word) for word in words))
    values = torch.randn(len(forms), dim, generator=torch.Generator().manual_seed(dim)).round(decimals=3)
    WordVectors(forms, values, rule).save(folder / f"{name}.txt")
    return str(folder / f"{name}.txt")


@pytest.fixture(scope="module")
def settings(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TaggerConfig:
    """All parts, with two sets of vectors: one lower-cased, one cased that has every other word."""
    folder = tmp_path_factory.mktemp("vectors")
    sentences = [s for name in ("train", "test") for s in read_conll(small_data / f"{name}.conll", docstart="drop")]
    words = sorted({w for s in sentences for w in s.words})
    first, second = saved(folder, "lower", words, 6, LOWER), saved(folder, "cased", words[::2], 4, CASED)
    return TaggerConfig(data=str(small_data), vectors=first, more_vectors=(second,), **SMALL)


@pytest.fixture(scope="module")
def finished(settings: TaggerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tagger(settings, RunOptions(root=str(tmp_path_factory.mktemp("runs"))))


def test_the_same_bits_twice(settings: TaggerConfig, finished: Path, tmp_path: Path) -> None:
    again = train_tagger(TaggerConfig.load(finished / "config.json"), RunOptions(path=str(tmp_path / "run")))
    assert read_manifest(again)["weights_sha256"] == read_manifest(finished)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name
    assert {"vectors", "vectors 2"} <= set(read_manifest(finished)["inputs"])


RESUMED: dict[str, Any] = {"val_check_interval": 0.4, "checkpoint_every": "never"}


@pytest.fixture(scope="module")
def whole(settings: TaggerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return train_tagger(replace(settings, **RESUMED), RunOptions(path=str(path)))


@pytest.mark.parametrize("in_validation", [False, True])
@pytest.mark.parametrize("at", [6, 17])
def test_resumed_anywhere_the_same_bits(
    settings: TaggerConfig, whole: Path, tmp_path: Path, at: int, in_validation: bool
) -> None:
    settings = replace(settings, **RESUMED)

    class StopAt(Callback):
        def stop(self, trainer: object) -> None:
            if trainer.global_step == at and trainer.fitting:  # type: ignore[attr-defined]
                trainer.keep_going.stop("the test says so")  # type: ignore[attr-defined]

        def on_train_batch_end(self, trainer: object, task: Task, outputs: object, batch: object, batch_idx: int) -> None:
            if not in_validation:
                self.stop(trainer)

        def on_validation_batch_end(
            self, trainer: object, task: Task, outputs: object, batch: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if in_validation and not trainer.sanity_checking and trainer.global_step >= at:  # type: ignore[attr-defined]
                trainer.keep_going.stop("the test says so")  # type: ignore[attr-defined]

    with pytest.raises(Preempted, match="the test says so"):
        train_tagger(settings, RunOptions(path=str(tmp_path / "cut"), callbacks=(StopAt(),)))
    resumed = train_tagger(settings, RunOptions(resume=str(tmp_path / "cut")))
    assert read_manifest(resumed)["weights_sha256"] == read_manifest(whole)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_prediction_from_the_file_equals_the_test(finished: Path, small_data: Path) -> None:
    tagger = TrainedTagger.load(finished)
    wanted = [line.split("\t")[2] for line in (finished / "predictions.conll").read_text().splitlines() if line]
    rows = "".join(predict_stream(tagger, str(small_data / "test.conll"))).splitlines()
    assert [row.split()[-1] for row in rows if row and "-DOCSTART-" not in row] == wanted
    f1 = evaluate_file(tagger, str(small_data / "test.conll")).scores.strict["micro avg"]["f1-score"]
    assert f1 == pytest.approx(read_manifest(finished)["metrics"]["test_f1"], abs=1e-12)


def test_the_document_is_read_and_sentences_alone_stay_alone(finished: Path) -> None:
    tagger = TrainedTagger.load(finished)
    rows = [["Oslo", "won", "."], ["OSLO"], ["rain", "in", "Oslo"]]
    assert tagger.tag(rows) == [tagger.tag([row])[0] for row in rows]
    scores = []
    for document in (0, 1):
        given = [Sentence(tuple(row), document=document) for row in rows]
        encoded = encode(given, tagger.indexer, tagger.config)
        plan = SentenceBatches(encoded, 8, shuffle=False).plan(0)
        assert len(plan) == 1
        scores.append(tagger.model(plan[0]).detach())
    changed = (scores[0] != scores[1]).any(dim=1)
    assert bool(changed[[0, 3, 6]].all())  # Oslo is met elsewhere in the document
    assert len(encode([], tagger.indexer, tagger.config)) == 0


def test_each_part_can_be_switched_off(settings: TaggerConfig) -> None:
    dataset = read_dataset(settings)
    views = Views([WordVectors.load(path) for path in (settings.vectors, *settings.more_vectors)])
    off: dict[str, dict[str, Any]] = {
        "characters": {"characters": "none"}, "features": {"features_dim": 0}, "topic": {"topic_dim": 0},
        "mentions": {"mentions": False}, "crf": {"decoder": "softmax"}, "words.fixed": {"tune_min_count": 1},
    }  # fmt: skip
    for part, change in off.items():
        for changed, there in ((settings, True), (replace(settings, **change), False)):
            indexer = Indexer.build(dataset.train, RAW)
            task, _ = build_task(changed, dataset, indexer, views)
            names = list(task.model.state_dict())
            found = any(name.startswith(part) for name in names)
            if part == "mentions":
                found = task.model.linear.weight.shape[1] == 4 * settings.hidden_size
            assert found == there, part
            encoded = encode_labeled(dataset.train, indexer, changed)
            batch = SentenceBatches(encoded, 8).plan(0)[0]
            assert task.model(batch).shape == (len(batch.words), len(indexer.labels))


def test_rare_words_keep_their_vectors_and_those_without_one_are_unknown(settings: TaggerConfig) -> None:
    dataset = read_dataset(settings)
    views = Views([WordVectors.load(settings.more_vectors[0])])
    indexer = Indexer.build(dataset.train, RAW)
    every = list(indexer.words)
    counts = {w: sum(s.words.count(w) for s in dataset.train) for w in every}
    changed = replace(settings, tune_min_count=3)
    indexer = without_rare_words(changed, dataset, indexer, views)
    task, _ = build_task(changed, dataset, indexer, views)
    table = task.model.words
    assert set(every) - set(indexer.words) == {w for w in every if counts[w] < 3 and not views.has(w)}
    assert len(table.weight) == FIRST + sum(count >= 3 for count in counts.values())
    fixed = list(indexer.words)[len(table.weight) - FIRST :]
    assert fixed
    assert torch.equal(table.fixed, views.rows(fixed))
    ids = torch.from_numpy(indexer.encode([fixed[0], "no such word"]))
    assert torch.equal(table(ids), torch.stack([table.fixed[0], table.weight[1]]).detach())


def test_views_stand_side_by_side() -> None:
    first = WordVectors(["oslo", "won"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]), LOWER)
    second = WordVectors(["Oslo"], torch.tensor([[5.0]]), CASED)
    views = Views([first, second])
    assert views.rows(["Oslo", "won", "gone"]).tolist() == [[1, 2, 5], [3, 4, 5], [2, 3, 5]]
    assert views.rule == TextRule(tokenize=False, lowercase=False, digits="keep")
    assert Views([first, first]).rule == LOWER
    assert Views([first, WordVectors(["a"], torch.ones(1, 1), None)]).rule is None
    assert [views.has(word) for word in ("OSLO", "Won", "gone")] == [True, True, False]
    with pytest.raises(DataError, match="at least one word vector"):
        Views([])


def test_further_vectors_want_first_ones(settings: TaggerConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more_vectors: expected --vectors"):
        train_tagger(replace(settings, vectors="none"), RunOptions(path=str(tmp_path / "run")))


def test_sentences_of_1200_tokens_train_and_predict(small_data: Path, tmp_path: Path) -> None:
    words = ["Ada", "flew", "to", "Oslo", "on", "Monday"] * 200
    tags = ["B-PER", "O", "O", "B-LOC", "O", "O"] * 200
    text = "".join(f"{w} {t}\n" for w, t in zip(words, tags, strict=True)) + "\nRain O\n\n"
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(text * 2)
    settings = TaggerConfig(data=str(tmp_path), vectors="none", **{**SMALL, "max_epochs": 1})
    run = train_tagger(settings, RunOptions(path=str(tmp_path / "run")))
    predicted = read_conll(run / "predictions.conll")
    assert [len(s.words) for s in predicted] == [1200, 1, 1200, 1]
    assert [len(row) for row in TrainedTagger.load(run).tag([words, ["Rain"]])] == [1200, 1]
