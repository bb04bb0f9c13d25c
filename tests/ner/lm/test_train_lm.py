"""train-lm from text to a finished run's folder, and a tagger that reads what it made."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import cli
from ner.config import TaggerConfig
from ner.lm.config import LanguageModelConfig
from ner.lm.train import train_language_model
from ner.tagging.load import read_run
from ner.tagging.tagger import TrainedTagger
from ner.train import train_tagger
from tests import processes, running
from training import checkpoint
from training.errors import ConfigError, DataError, Preempted
from training.run.experiment import RunOptions
from training.run.folder import read_jsonl, read_manifest
from training.run.preemption import StopAt

SMALL: dict[str, Any] = {
    "dim": 6, "hidden_size": 7, "projection_dim": 16, "max_epochs": 2, "batch_words": 300, "valid_every": 20, "threads": 1,
    "progress": False,
}  # fmt: skip
TAGGER: dict[str, Any] = {
    "vectors": "none", "hidden_size": 6, "char_hidden": 4, "char_dim": 3, "word_dim": 5, "lm_dim": 5, "max_epochs": 2,
    "batch_size": 16, "threads": 1, "progress": False,
}  # fmt: skip
FORMS = ["the cat saw the dog", "the dog ran", "a cow saw a pig and the pig ran"]


@pytest.fixture(scope="module")
def text(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "text.txt"
    path.write_text("".join(small_text.read_text(encoding="utf-8").splitlines(keepends=True)[:60]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def lm(text: Path) -> Path:
    return train(text, text.parent / "run")


def train(text: Path, run: Path, *, stop: int = 0, **changes: Any) -> Path:
    config = LanguageModelConfig(**{**SMALL, "corpus": (str(text),), **changes})
    return train_language_model(config, RunOptions(path=str(run), callbacks=(StopAt(stop),) if stop else ()))


def tagger_settings(data: Path, lm: Path, **changes: Any) -> TaggerConfig:
    return TaggerConfig(**{**TAGGER, "data": str(data), "lm": str(lm), **changes})


@pytest.fixture(scope="module")
def tagger(small_data: Path, lm: Path) -> Path:
    return train_tagger(tagger_settings(small_data, lm), RunOptions(path=str(lm.parent / "tagger")))


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.output)
    return result


# -- train-lm ---------------------------------------------------------------------------------------------------------


def test_a_run_folder_holds_what_it_should(lm: Path, text: Path) -> None:
    described = read_manifest(lm)
    assert (described["kind"], described["status"]) == ("lm", "finished")
    assert described["inputs"]["corpus 0"]["path"] == str(text)
    assert {"vocab.tsv", "metrics.jsonl", "ledger.jsonl"} <= {*described["outputs"]}
    assert not list(lm.parent.glob(".reading*"))
    metrics = described["metrics"]
    assert metrics["val_perplexity"] == pytest.approx(math.exp(metrics["val_loss"]), rel=1e-5)
    perplexities = [line["val_perplexity"] for line in read_jsonl(lm / "metrics.jsonl") if "val_perplexity" in line]
    assert len(perplexities) == SMALL["max_epochs"]


def test_it_learns_what_follows_what(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    (tmp_path / "text").write_text("".join(f"{FORMS[i]}\n" for i in generator.integers(0, 3, 600)))
    path = train(tmp_path / "text", tmp_path / "run", max_epochs=12, lr=0.02, hidden_size=16, tokenize=False)
    assert read_manifest(path)["metrics"]["val_perplexity"] < 2.0


def test_a_resumed_run_has_the_bits_of_one_that_was_not_stopped(lm: Path, text: Path, tmp_path: Path) -> None:
    for step in (1, 3):
        path = tmp_path / str(step)
        with pytest.raises(Preempted):
            train(text, path, stop=step)
        result = run("train-lm", "--resume", path)
        assert result.exit_code == 0, result.output
        assert running.results(path) == running.results(lm)
        assert read_manifest(path)["outputs"] == read_manifest(lm)["outputs"]


def test_verify_runs_list_and_seeds_know_the_kind(lm: Path, text: Path, tmp_path: Path) -> None:
    assert "same bits" in run("verify", lm).output
    small = "--dim 4 --hidden-size 4 --projection-dim 16 --batch-words 300 --valid-every 20 --threads 1 --no-progress"
    words = f"{small} --epochs 1 --corpus".split()
    result = run("train-lm", *words, text, "--seeds", 2, "--run", tmp_path / "runs" / "lm" / "group_0")
    assert result.exit_code == 0, result.output
    assert {*json.loads((tmp_path / "runs" / "lm" / "group_0" / "summary.json").read_text())} >= {"seeds"}
    card = run("runs", "card", lm).output
    assert re.search(r"^[\d,]+ words of text; the model knows [\d,]+ different words\.$", card, re.MULTILINE), card
    listed = run("runs", "list", "--root", tmp_path / "runs").output
    assert "perplexity" in listed


def test_several_processes_make_the_run_of_one(text: Path, tmp_path: Path) -> None:
    shutil.copy(text, tmp_path / "text.txt")
    for world in (1, 2):
        config = LanguageModelConfig(**{**SMALL, "corpus": ("text.txt",), "shards": 2, "max_steps": 4})

        def act(config: LanguageModelConfig = config, world: int = world) -> None:
            train_language_model(config, RunOptions(path=f"by-{world}"))

        ended = processes.run(tmp_path, world, act)
        assert [done.code for done in ended] == [0] * world, ended
    assert running.results(tmp_path / "by-1") == running.results(tmp_path / "by-2")


def test_words_begin_with_the_vectors_that_are_given(small_text: Path, text: Path, tmp_path: Path) -> None:
    words = ["--dim", 9, "--epochs", 1, "--threads", 1, "--no-progress", "--run", tmp_path / "words"]
    assert run("train-w2v", "--corpus", text, *words).exit_code == 0
    path = train(text, tmp_path / "run", vectors=str(tmp_path / "words"), max_steps=1, lr=1e-9)
    table = checkpoint.load_weights(path / "checkpoints" / "model.ckpt")["model.words.weight"]
    given = (tmp_path / "words" / "vectors.txt").read_text(encoding="utf-8").splitlines()[1].split(" ")
    place = [line.split("\t")[0] for line in (path / "vocab.tsv").read_text(encoding="utf-8").splitlines()].index(given[0])
    assert torch.allclose(table[2 + place], torch.tensor([float(each) for each in given[1:10]]), atol=1e-5)
    assert read_manifest(path)["inputs"]["vectors"]["path"].endswith("vectors.bin")


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"corpus": ("gone",)}, DataError, "gone: expected a text to read, got nothing"),
    ({"corpus": ("-",)}, DataError, "-: expected a text to read, got standard input, which is not taken here; write it to"),
    ({"corpus": ("/dev/null",)}, DataError, "/dev/null: expected a text to read, got a pipe or a device; write it"),
    ({"vectors": "gone"}, ConfigError, "vectors: expected a file of word vectors, a train-w2v run or none, got 'gone'"),
    ({"max_length": 301}, ConfigError, "batch_words: expected at least max_length, 301, got 300"),
    ({"limit_train_batches": 0}, ConfigError, "limit_train_batches: nothing to train on"),
    ({"max_steps": 0}, ConfigError, "max_steps: nothing to train on"),
    ({"corpus": ()}, ConfigError, "corpus: expected at least one text to read, got none"),
])  # fmt: skip
def test_what_cannot_be_trained_on_leaves_no_run(
    text: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match="^" + said.replace("(", r"\(")):
        train(text, tmp_path / "run", **changes)
    assert not list(tmp_path.iterdir())


# -- train-ner --lm ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_tagger_keeps_the_language_model_as_it_is(small_data: Path, lm: Path, tmp_path: Path, place: str) -> None:
    path = train_tagger(tagger_settings(small_data, lm, lm_place=place), RunOptions(path=str(tmp_path / "run")))
    trained = checkpoint.load_weights(lm / "checkpoints" / "model.ckpt")
    own = read_run(path)
    assert torch.equal(own.weights["lm.words"], trained["model.words.weight"])
    for name, value in own.weights.items():
        if name.startswith("lm.lstm."):
            assert torch.equal(value, trained[f"model.{name.removeprefix('lm.')}"])
    described = read_manifest(path)
    assert described["lm"] == {"weights_sha256": read_manifest(lm)["weights_sha256"]}
    assert described["inputs"]["lm checkpoints/model.ckpt"]["path"] == str(lm / "checkpoints" / "model.ckpt")
    ledger = (path / "ledger.jsonl").read_text()
    assert "lm_projection" in ledger
    assert "lm.lstm" not in ledger


def test_a_tagger_works_without_the_run_of_its_language_model(
    small_data: Path, lm: Path, tagger: Path, tmp_path: Path
) -> None:
    moved = shutil.move(lm, lm.with_name("moved"))
    try:
        run("export", tagger, tmp_path / "bundle")
        said = [
            run("predict", each, small_data / "test.conll", "--format", "jsonl") for each in (tagger, tmp_path / "bundle")
        ]
        assert said[0].exit_code == 0, said[0].output
        assert said[0].stdout == said[1].stdout
        report = json.loads(run("evaluate", tmp_path / "bundle", small_data / "test.conll", "--json").stdout)
        assert report["strict"]["micro avg"]["f1-score"] == pytest.approx(
            read_manifest(tagger)["metrics"]["test_f1"], abs=1e-6
        )
        on = {**TAGGER, "data": str(small_data), "vectors": "auto", "start_from": str(tmp_path / "bundle"), "max_epochs": 1}
        del on["lm_dim"]
        config = TaggerConfig(**on)
        again = read_run(train_tagger(config, RunOptions(path=str(tmp_path / "on"))))
        assert torch.equal(again.weights["lm.words"], read_run(tagger).weights["lm.words"])
        learned = {**TAGGER, "data": str(small_data), "teacher": str(tagger), "max_epochs": 1}
        assert read_run(train_tagger(TaggerConfig(**learned), RunOptions(path=str(tmp_path / "student")))).indexer.lm is None
    finally:
        shutil.move(moved, lm)


def test_a_sentence_is_tagged_alike_alone_and_in_any_batch(tagger: Path, small_data: Path) -> None:
    loaded = TrainedTagger.load(tagger)
    sentences = [["Ada", "met", "Bo", "in", "Oslo"], ["Oslo"], ["the"] * 9, ["It", "rained", "in", "May"]]
    for alone in sentences:
        (batch,) = loaded.batches([alone], [0])
        scores = loaded.model(batch)[: len(alone)]
        for others in (sentences, sentences[::-1]):
            for together in loaded.batches(others, [0] * len(others)):
                found, at = loaded.model(together), 0
                for number, length in zip(together.sentences.tolist(), together.plain_lengths, strict=True):
                    if others[number] == alone:
                        assert torch.equal(found[at : at + length], scores)
                    at += length


def test_each_token_has_the_state_of_its_own_word(tagger: Path) -> None:
    loaded = TrainedTagger.load(tagger)
    words, sentences = loaded.indexer.lm, [["It", "rained", "in", "Oslo"], ["the"], ["May", "the", "rain", "fall", "the"]]
    assert words is not None
    (batch,) = loaded.batches(sentences, [0] * len(sentences))
    for part in (batch, *batch.cut(2)):
        assert part is not None
        assert part.lm_words is not None
        expected = [i for number in part.sentences.tolist() for i in words.encode(sentences[number]).tolist()]
        assert part.lm_words.tolist() == expected


def test_a_stopped_tagger_goes_on_to_the_same_bits(small_data: Path, lm: Path, tagger: Path, tmp_path: Path) -> None:
    options = RunOptions(path=str(tmp_path / "run"), callbacks=(StopAt(3),))
    with pytest.raises(Preempted):
        train_tagger(tagger_settings(small_data, lm), options)
    result = run("train-ner", "--resume", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert running.results(tmp_path / "run") == running.results(tagger)
    assert "same bits" in run("verify", tagger).output


def test_shards_make_the_run_of_one_process(small_data: Path, lm: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    shutil.copytree(lm, tmp_path / "lm")
    for world in (1, 2):
        config = tagger_settings(Path("data"), Path("lm"), shards=2, max_epochs=1)

        def act(config: TaggerConfig = config, world: int = world) -> None:
            train_tagger(config, RunOptions(path=f"by-{world}"))

        ended = processes.run(tmp_path, world, act)
        assert [done.code for done in ended] == [0] * world, ended
    assert running.results(tmp_path / "by-1") == running.results(tmp_path / "by-2")


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_a_tagger_of_another_precision(small_data: Path, lm: Path, tmp_path: Path, precision: str) -> None:
    config = tagger_settings(small_data, lm, precision=precision, max_epochs=1)
    path = train_tagger(config, RunOptions(path=str(tmp_path / "run")))
    tags = TrainedTagger.load(path).tag([["Ada", "ran"]])
    assert len(tags[0]) == 2


def test_a_group_of_taggers_is_one(small_data: Path, lm: Path, tmp_path: Path) -> None:
    given = "--vectors none --hidden-size 6 --char-hidden 4 --char-dim 3 --word-dim 5 --lm-dim 5 --max-epochs 1 --threads 1"
    where = ["--data", small_data, "--lm", lm, "--seeds", 2, "--no-progress", "--run", tmp_path / "group"]
    result = run("train-ner", *given.split(), *where)
    assert result.exit_code == 0, result.output
    assert run("export", tmp_path / "group", tmp_path / "bundle").exit_code == 0
    said = [run("predict", tmp_path / name, small_data / "test.conll").stdout for name in ("group", "bundle")]
    assert said[0] == said[1] != ""


def test_what_is_no_language_model_is_told(small_data: Path, text: Path, lm: Path, tagger: Path, tmp_path: Path) -> None:
    with pytest.raises(Preempted):
        train(text, tmp_path / "stopped", stop=1)
    changed = Path(shutil.copytree(lm, tmp_path / "changed"))
    (changed / "vocab.tsv").write_text("a\t2\nb\t1\n")
    (tmp_path / "empty").mkdir()
    for given, error, said in (
        (tmp_path / "gone", ConfigError, "lm: expected the folder of a finished run of train-lm, got nothing: "),
        (text, ConfigError, "lm: expected the folder of a finished run of train-lm, got a file: "),
        (tmp_path / "empty", DataError, "empty: "),
        (tagger, ConfigError, "lm: expected a run of train-lm, got a run of kind ner: "),
        (tmp_path / "stopped", DataError, "expected a finished run, got one that is stopped; resume it first"),
        (changed, DataError, "vocab.tsv: it was changed after the run had finished"),
    ):
        with pytest.raises(error) as told:
            train_tagger(tagger_settings(small_data, given), RunOptions(path=str(tmp_path / "run")))
        assert said in str(told.value)
        assert "\n" not in str(told.value)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"^lm: expected no --start-from with it"):
        TaggerConfig(lm=str(lm), start_from=str(tagger))


def test_tables_and_weights_that_do_not_belong_together_are_told(tagger: Path) -> None:
    saved = read_run(tagger)
    assert saved.indexer.lm is not None
    for name in ("lm.words", "lm.lstm.weight_hh_l0", "lm.lstm.weight_ih_l0", "lm.lstm.bias_hh_l0_reverse"):
        for tensor in (None, torch.zeros(0, 3), torch.zeros(3)):
            weights = {key: value for key, value in saved.weights.items() if key != name}
            weights |= {} if tensor is None else {name: tensor}
            broken = type(saved)(saved.config, saved.indexer, weights, saved.vectors, saved.where)
            with pytest.raises(DataError, match="expected the weights of a language model of"):
                broken.model()
