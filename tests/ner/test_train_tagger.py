"""Training a tagger end to end on small data: the folder, the same bits twice, resume, prediction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ner.config import PRESETS, TaggerConfig
from ner.corpus.conll import read_conll
from ner.corpus.scheme import allowed_transitions
from ner.model.tagger import Tagger
from ner.predict import evaluate_file, predict_stream
from ner.tagging.tagger import TrainedTagger
from ner.train import train_tagger
from training.errors import ConfigError, DataError, Preempted
from training.files import sha256_file
from training.loop.model_summary import human_count
from training.run.experiment import RunOptions
from training.run.folder import read_jsonl, read_manifest
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

QUICK = {"max_epochs": 2, "hidden_size": 16, "word_dim": 12, "batch_size": 8, "deterministic": True, "progress": False}


def config(data: Path, **changes: object) -> TaggerConfig:
    return TaggerConfig(data=str(data), vectors="none", **{**QUICK, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    root = tmp_path_factory.mktemp("runs")
    return train_tagger(config(small_data), RunOptions(root=str(root)))


def test_the_folder_holds_what_scripts_rely_on(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    wanted = (
        "config.json metrics.jsonl timings.jsonl manifest.json ledger.jsonl test_report.txt predictions.conll checkpoints"
    )
    assert set(wanted.split()) <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert finished.parts[-2:] == ("ner", "version_0")
    manifest = read_manifest(finished)
    assert manifest["status"] == "finished"
    assert len(manifest["weights_sha256"]) == 64
    assert set(manifest["inputs"]) == {"train", "valid", "test"}
    assert manifest["outputs"]["metrics.jsonl"] == sha256_file(finished / "metrics.jsonl")
    assert not any("second" in name or "time" in name for line in read_jsonl(finished / "metrics.jsonl") for name in line)
    assert "micro avg" in (finished / "test_report.txt").read_text()
    logged = {name for line in read_jsonl(finished / "metrics.jsonl") for name in line}
    assert {"train_loss_epoch", "train_f1", "val_loss", "val_f1", "val_f1/PER", "test_f1"} <= logged


def test_predictions_are_the_test_split_with_a_column_more(finished: Path, small_data: Path) -> None:
    predicted = read_conll(finished / "predictions.conll")
    test = read_conll(small_data / "test.conll", docstart="drop")
    assert [s.words for s in predicted] == [s.words for s in test]


def test_twice_the_same_bits_and_config_json_starts_it_again(finished: Path, small_data: Path, tmp_path: Path) -> None:
    again = train_tagger(TaggerConfig.load(finished / "config.json"), RunOptions(root=str(tmp_path)))
    assert read_manifest(again)["weights_sha256"] == read_manifest(finished)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name
    other = train_tagger(config(small_data, seed=1), RunOptions(root=str(tmp_path)))
    assert read_manifest(other)["weights_sha256"] != read_manifest(finished)["weights_sha256"]


def test_prediction_from_the_folder_equals_the_test(finished: Path, small_data: Path) -> None:
    tagger = TrainedTagger.load(finished)
    test = read_conll(small_data / "test.conll", docstart="drop")
    lines = [line.split("\t") for line in (finished / "predictions.conll").read_text().splitlines() if line]
    tags = tagger.tag([s.words for s in test], [s.document for s in test])
    assert [tag for row in tags for tag in row] == [line[2] for line in lines]
    f1 = evaluate_file(tagger, str(small_data / "test.conll")).scores.strict["micro avg"]["f1-score"]
    assert f1 == pytest.approx(read_manifest(finished)["metrics"]["test_f1"], abs=1e-12)


def test_padding_or_company_never_changes_a_sentence(finished: Path) -> None:
    tagger = TrainedTagger.load(finished)
    rows = [["Ada", "met", "Bo", "in", "Oslo", "."], ["Rain", "."], ["The", "club", "won"] * 40, []]
    together = tagger.tag(rows)
    assert together == [tagger.tag([row])[0] for row in rows]
    assert [len(tags) for tags in together] == [len(row) for row in rows]


def test_text_conll_and_json_lines_come_out(finished: Path, tmp_path: Path) -> None:
    tagger = TrainedTagger.load(finished)
    text = tmp_path / "a.txt"
    text.write_text("Ada Marlow flew to Oslo. She won.\n\nRain fell.\r\n", encoding="utf-8")
    lines = [json.loads(piece) for piece in predict_stream(tagger, str(text), output="jsonl")]
    assert [line["text"] for line in lines] == ["Ada Marlow flew to Oslo. She won.", "", "Rain fell."]
    for line in lines:
        assert all(line["text"][e["start"] : e["end"]] == e["text"] for e in line["entities"])
    marked = "".join(predict_stream(tagger, str(text)))
    assert marked.count("\n") == 3
    conll = tmp_path / "a.conll"
    conll.write_text("Ada\tx\nflew\ty\n\nOslo\tz\n", encoding="utf-8")
    rows = "".join(predict_stream(tagger, str(conll))).splitlines()
    assert [row.split("\t")[:2] for row in rows if row] == [["Ada", "x"], ["flew", "y"], ["Oslo", "z"]]
    assert all(len(row.split("\t")) == 3 for row in rows if row)


def test_vectors_are_used_checked_and_found_again(small_data: Path, tmp_path: Path) -> None:
    sentences = [s for name in ("train", "test") for s in read_conll(small_data / f"{name}.conll", docstart="drop")]
    words = sorted({w for s in sentences for w in s.words})
    vectors = WordVectors(
        words, torch.randn(len(words), 12, generator=torch.Generator().manual_seed(0)), TextRule(False, False, "keep")
    )
    path = tmp_path / "vectors.txt"
    vectors.save(path)
    told: list[str] = []
    settings = replace(config(small_data), vectors=str(path), max_epochs=1)
    run = train_tagger(settings, RunOptions(path=str(tmp_path / "run"), tell=told.append))
    assert any(sha256_file(path) in line for line in told)
    assert read_manifest(run)["inputs"]["vectors"]["sha256"] == sha256_file(path)
    tagger = TrainedTagger.load(run)
    unseen = next(w for w in words if w not in tagger.indexer.words)
    tagger.tag([[unseen]])
    assert len(tagger.model.words.extra) == 1
    vectors.save(tmp_path / "other.txt")
    path.write_text(path.read_text() + "zzz " + "0.5 " * 12 + "\n")
    with pytest.raises(DataError, match="trained with other word vectors"):
        TrainedTagger.load(run)
    path.unlink()
    with pytest.raises(DataError, match="put them back"):
        TrainedTagger.load(run)


RESUMED = {
    "val_check_interval": 0.3, "accumulate_grad_batches": 2, "patience": 5, "checkpoint_every": "never", "lr": 2e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped."""
    return train_tagger(config(small_data, **RESUMED), RunOptions(path=str(tmp_path_factory.mktemp("whole") / "run")))


@pytest.mark.parametrize("at", [1, 7, 15, 16, 20])
def test_resume_at_a_batch_ends_in_the_same_bits(small_data: Path, whole: Path, tmp_path: Path, at: int) -> None:
    settings = config(small_data, **RESUMED)
    from training.loop.callback import Callback

    class StopAt(Callback):
        def on_train_batch_end(self, trainer: object, task: object, outputs: object, batch: object, batch_idx: int) -> None:
            if trainer.total_batches == at:  # type: ignore[attr-defined]
                trainer.keep_going.stop("the test says so")  # type: ignore[attr-defined]

    with pytest.raises(Preempted, match="the test says so"):
        train_tagger(settings, RunOptions(path=str(tmp_path / "cut"), callbacks=(StopAt(),)))
    assert read_manifest(tmp_path / "cut")["status"] == "stopped"
    told: list[str] = []
    resumed = train_tagger(settings, RunOptions(resume=str(tmp_path / "cut"), tell=told.append))
    assert any(line.startswith("resuming from") for line in told)
    assert read_manifest(resumed)["weights_sha256"] == read_manifest(whole)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    names = [sorted(p.name for p in (run / "checkpoints").glob("best*.ckpt")) for run in (resumed, whole)]
    assert names[0] == names[1]


def test_a_resume_with_other_settings_is_refused(small_data: Path, finished: Path, tmp_path: Path) -> None:
    told: list[str] = []
    assert train_tagger(config(small_data), RunOptions(resume=str(finished), tell=told.append)) == finished
    assert any("is finished" in line for line in told)


def test_the_lecture_preset_is_the_experiment_that_docs_describe() -> None:
    lecture = TaggerConfig.from_dict(PRESETS["lecture"])
    described = (lecture.batch_size, lecture.batching, lecture.max_epochs, lecture.val_check_interval, lecture.lr)
    assert described == (128, "random", 10, 0.25, 1e-3)
    assert (lecture.hidden_size, lecture.dropout, lecture.characters, lecture.decoder) == (500, 0.0, "none", "softmax")
    # CoNLL-2003's train split has 23,624 cased words, and four types make 17 IOBES labels.
    model = Tagger(lecture, torch.zeros(23_626, 100), 2, 17, allowed_transitions(["O"] * 17, "IOBES"))
    assert human_count(sum(p.numel() for p in model.parameters())).strip() == "4.8 M"


def test_no_run_is_left_behind_by_bad_data(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a file of word vectors"):
        train_tagger(replace(config(small_data), vectors=str(tmp_path / "none.txt")), RunOptions(path=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "valid", "test", "unlabeled"])
def test_no_run_is_made_of_standard_input(small_data: Path, finished: Path, tmp_path: Path, name: str) -> None:
    files = {split: str(small_data / f"{split}.conll") for split in ("train", "valid", "test")}
    more: dict[str, Any] = {"unlabeled": ("-",), "teacher": str(finished)} if name == "unlabeled" else {name: "-"}
    with pytest.raises(DataError, match="-: expected a file, which can be read again, got standard input"):
        train_tagger(replace(config(small_data), **{"data": "", **files, **more}), RunOptions(path=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("limits", [{"limit_test_batches": 2}, {"limit_test_batches": 0}, {"fast_dev_run": 1}])
def test_a_limited_test_reports_the_sentences_that_were_tested(
    small_data: Path, tmp_path: Path, limits: dict[str, int]
) -> None:
    alone = config(small_data, max_epochs=1, mentions=False, **limits)  # so that each batch has eight sentences
    run = train_tagger(alone, RunOptions(path=str(tmp_path / "run")))
    tested = 8 * next(iter(limits.values()))
    predictions = run / "predictions.conll"
    assert predictions.exists() == (tested > 0)
    if tested:
        assert len([block for block in predictions.read_text().split("\n\n") if block.strip()]) == tested
    assert ("test_f1" in read_manifest(run)["metrics"]) == (tested > 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"limit_val_batches": 0, "test_weights": "last"},
        {"limit_val_batches": 0},
        {"limit_val_batches": 0.0, "average": 0.0},
        {"check_val_every_n_epoch": 2},  # never in one epoch
        {"fast_dev_run": 1},  # no checkpoints, so none is the best
    ],
)
def test_without_validation_no_score_of_it_is_told(small_data: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    alone = config(small_data, max_epochs=1, **settings)
    described = read_manifest(train_tagger(alone, RunOptions(path=str(tmp_path / "run"))))
    assert "best_val_f1" not in described["metrics"]
    assert ("confidence_temperature" in described) == (alone.limit_val_batches != 0)
    assert "test_f1" in described["metrics"]
