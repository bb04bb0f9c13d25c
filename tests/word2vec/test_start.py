"""train-w2v --start-from: the vocabulary grows, old words begin with their vectors, and it is a run like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from tests import processes
from training import checkpoint
from training.errors import ConfigError, Preempted
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from training.run.inputs import Inputs
from training.run.preemption import StopAt
from training.run.seal import MODEL
from word2vec.config import KEPT, Word2VecConfig
from word2vec.model.word2vec import noise_weights
from word2vec.start import carry_over, read_start
from word2vec.task import Word2VecTask
from word2vec.text.vocab import Vocab, select
from word2vec.train import train_word2vec

SAME = ("vectors.bin", "vectors.txt", "vocab.tsv", "metrics.jsonl", "ledger.jsonl")
MODELS = [
    {"architecture": architecture, "loss": loss}
    for architecture in ("skipgram", "cbow")
    for loss in ("negative", "softmax", "hierarchical")
]
WORDS = st.lists(st.sampled_from("abcdefgh"), unique=True)


def sentences(seed: int, words: str, count: int = 120) -> str:
    generator = np.random.default_rng(seed)
    return "\n".join(" ".join(generator.choice(words.split(), 7)) for _ in range(count)) + "\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an old and a new text, which share some words."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "old.txt").write_text(sentences(1, "cat dog hen the a of in rare"))
    (folder / "new.txt").write_text(sentences(2, "cat saw axe awl the a of in"))
    return folder


def small(place: Path, name: str, **changes: Any) -> Word2VecConfig:
    settings = {
        "dim": 8,
        "max_epochs": 2,
        "batch_words": 128,
        "min_count": 1,
        "sample": 0.0,
        "threads": 1,
        "ledger_every": 1,
    }
    return Word2VecConfig(**{"corpus": (str(place / f"{name}.txt"),), "progress": False, **settings, **changes})


@pytest.fixture(scope="module")
def start(place: Path) -> Path:
    return train_word2vec(small(place, "old"), RunOptions(path=str(place / "start")))


@pytest.fixture(scope="module")
def whole(place: Path, start: Path) -> Path:
    """The run that goes on from it."""
    return train_word2vec(small(place, "new", start_from=str(start)), RunOptions(path=str(place / "whole")))


def same_run(first: Path, second: Path) -> None:
    assert read_manifest(second)["weights_sha256"] == read_manifest(first)["weights_sha256"]
    for name in SAME:
        assert (second / name).read_bytes() == (first / name).read_bytes(), name


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@settings(max_examples=100, deadline=None)
@given(words=WORDS, known=WORDS, data=st.data(), least=st.integers(1, 3), room=st.none() | st.integers(2, 9))
def test_a_grown_vocabulary_has_all_old_words_and_new_ones_that_are_seen_often(
    words: list[str], known: list[str], data: st.DataObject, least: int, room: int | None
) -> None:
    counts = np.array([data.draw(st.integers(1, 5)) for _ in words], np.int64)
    fresh = sorted((w for w, n in zip(words, counts, strict=True) if n >= least and w not in known),
                   key=lambda w: (-counts[words.index(w)], w))  # fmt: skip
    if room is not None and known:
        fresh = fresh[: max(0, room - len(known))]
    elif room is not None:
        fresh = fresh[:room]
    if (room is not None and room < len(known)) or len(known) + len(fresh) < 2:
        with pytest.raises(ConfigError):
            select(words, counts, least, room, known)
        return
    vocab, place = select(words, counts, least, room, known)
    assert set(vocab.words) == {*known, *fresh}
    seen = dict(zip(words, counts.tolist(), strict=True))
    assert vocab.counts.tolist() == [seen.get(word, 0) for word in vocab]
    assert list(vocab) == sorted(vocab, key=lambda word: (-seen.get(word, 0), word))
    assert [vocab.words[at] if at >= 0 else None for at in place.tolist()] == [
        w if w in vocab.words else None for w in words
    ]
    if vocab.total:
        for exponent in (0.75, 0.0, -1.0):
            weights = noise_weights(vocab, Word2VecConfig(noise_exponent=exponent))
            assert bool(weights.isfinite().all())
            assert bool((weights[torch.from_numpy(vocab.counts == 0)] == 0).all())


@pytest.mark.parametrize("model", MODELS, ids=lambda each: "-".join(each.values()))
def test_old_words_begin_with_their_rows_and_new_ones_as_ever(place: Path, tmp_path: Path, model: dict[str, Any]) -> None:
    old = train_word2vec(small(place, "old", max_epochs=1, **model), RunOptions(path=str(tmp_path / "old")))
    config = small(place, "new", start_from=str(old), seed=3, **model)
    begun = read_start(config, Inputs(), lambda line: None)
    assert begun is not None
    counts = np.array([9, 8, 7, 0, 0, 0, 0, 0, 0][: len(begun.vocab) + 1])
    vocab = Vocab(("axe", *begun.vocab.words[::-1]), counts)
    task, fresh = Word2VecTask(vocab, config, 1), Word2VecTask(vocab, config, 1)
    carry_over(task, vocab, begun)
    tables = checkpoint.load_weights(old / MODEL)
    at = [vocab.words.index(word) for word in begun.vocab]
    new = vocab.words.index("axe")
    assert task.model.input[at].equal(tables["model.input"])
    assert task.model.input[new].equal(fresh.model.input[new])
    if model["loss"] == "hierarchical":
        assert task.model.output.equal(fresh.model.output)
    else:
        assert task.model.output[at].equal(tables["model.output"])
        assert not task.model.output[new].any()
    run = train_word2vec(config, RunOptions(path=str(tmp_path / "new")))
    assert {"rare", "hen", "axe", "cat"} <= set(Vocab.load(run / "vocab.tsv"))


def test_words_that_the_new_text_lacks_keep_their_vectors(start: Path, whole: Path) -> None:
    vocabs = [Vocab.load(each / "vocab.tsv").ids() for each in (start, whole)]
    inputs = [checkpoint.load_weights(each / MODEL)["model.input"] for each in (start, whole)]
    for word in ("dog", "hen", "rare"):
        assert inputs[0][vocabs[0][word]].equal(inputs[1][vocabs[1][word]])
    assert not inputs[0][vocabs[0]["cat"]].equal(inputs[1][vocabs[1]["cat"]])


def test_what_the_run_says_of_where_it_began(place: Path, start: Path, whole: Path) -> None:
    described, began = read_manifest(whole), read_manifest(start)
    assert described["start"] == {"weights_sha256": began["weights_sha256"]}
    assert {"start manifest.json", "start vocab.tsv", f"start {MODEL}"} <= set(described["inputs"])
    assert run("verify", whole)[0] == 0
    start.rename(place / "away")
    code, output = run("verify", whole)
    (place / "away").rename(start)
    assert code not in (0, 1)
    assert "inputs are gone: start manifest.json" in output
    code, output = run("diff", start, whole)
    assert code == 1
    assert "differs: start" in output
    assert "differs: config.start_from" in output


@pytest.mark.parametrize("step", [1, 7, 13])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(place: Path, whole: Path, tmp_path: Path, step: int) -> None:
    config = Word2VecConfig.load(whole / "config.json")
    with pytest.raises(Preempted):
        train_word2vec(config, RunOptions(path=str(tmp_path / "run"), callbacks=(StopAt(step),)))
    assert run("train-w2v", "--resume", tmp_path / "run")[0] == 0
    same_run(whole, tmp_path / "run")


def test_several_processes_give_the_same_bits(whole: Path, start: Path, tmp_path: Path) -> None:
    """Each has some of the columns; the start's tables were never cut."""
    values: dict[str, Any] = {**json.loads((whole / "config.json").read_text()), "shards": 2}
    config = Word2VecConfig.from_dict(values)
    alone = train_word2vec(config, RunOptions(path=str(tmp_path / "alone")))
    ended = processes.run(tmp_path, 2, lambda: train_word2vec(config, RunOptions(path=str(tmp_path / "both"))))
    assert {each.code for each in ended} == {0}, ended
    same_run(alone, tmp_path / "both")
    assert checkpoint.load_weights(alone / MODEL)["model.input"].shape[1] == config.dim


def test_what_does_not_go_together_is_one_line(place: Path, start: Path, tmp_path: Path) -> None:
    def line(where: object, *more: object) -> str:
        code, output = run("train-w2v", "--corpus", place / "new.txt", "--start-from", where, "--run", tmp_path / "x", *more)
        assert code not in (0, 1), output
        assert not (tmp_path / "x").exists()
        found = output.strip().splitlines()[-1]
        assert found.startswith("error: "), output
        return found

    others: dict[str, list[object]] = {
        "tokenize": ["--pretokenized"], "lowercase": ["--lowercase"], "digits": ["--digits", "zero"], "dim": ["--dim", 9],
        "architecture": ["--architecture", "cbow"], "loss": ["--loss", "softmax"],
    }  # fmt: skip
    assert set(others) == set(KEPT)
    for name, words in others.items():
        assert f"error: {name}: expected " in line(start, *words)
    assert "got nothing" in line("nowhere")
    assert "max_vocab: expected at least 8, the words of the start, got 3" in line(start, "--max-vocab", 3)
    shutil.copytree(start, tmp_path / "broken")
    manifest = tmp_path / "broken" / "manifest.json"
    text = manifest.read_text()
    for was, now, said in (
        ('"status": "finished"', '"status": "failed"', "expected a finished run, got one that is failed"),
        ('"kind": "w2v"', '"kind": "ner"', "got a run of kind ner"),
        (f'"{MODEL}":', '"checkpoints/other.ckpt":', "got one of an earlier version"),
    ):
        manifest.write_text(text.replace(was, now))
        assert said in line(tmp_path / "broken")
    manifest.write_text(text)
    (tmp_path / "broken" / "vocab.tsv").write_text("cat\t1\n")
    assert "vocab.tsv: it was changed" in line(tmp_path / "broken")
