"""train_word2vec from text to a finished run folder."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from gensim.models import KeyedVectors

import cli
from training.errors import ConfigError, DataError, SamebitsError
from training.loop.callback import Callback
from training.run.experiment import RunOptions
from word2vec.config import Word2VecConfig
from word2vec.model import beside
from word2vec.train import train_word2vec
from word2vec.vectors.vectors import WordVectors

ANIMALS, TOOLS = "cat dog hen cow pig fox".split(), "saw axe awl file vice drill".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences about animals and sentences about tools, with words that both share."""
    generator = np.random.default_rng(5)
    lines = []
    for _ in range(1500):
        topic = (ANIMALS, TOOLS)[int(generator.integers(2))]
        words = [*generator.choice(topic, 4), *generator.choice("the a of and in on at by for".split(), 4)]
        lines.append(" ".join(generator.permutation(words)))
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def short(text: Path) -> Path:
    """The beginning of it: 19 batches, which teach nothing."""
    path = text.with_name("short.txt")
    path.write_text("".join(text.read_text().splitlines(keepends=True)[:600]))
    return path


def small(text: Path, **changes: Any) -> Word2VecConfig:
    settings = {"dim": 16, "max_epochs": 4, "batch_words": 256, "min_count": 1, "sample": 0.0, "lr": 0.05, "threads": 1}
    return Word2VecConfig(**{"corpus": (str(text),), "log_every_n_steps": 5, **settings, **changes})


def run(folder: Path, config: Word2VecConfig, **options: Any) -> Path:
    return train_word2vec(config, RunOptions(root=str(folder), **options))


def manifest(folder: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return described


def test_a_run_folder_holds_what_it_should_and_gensim_agrees(tmp_path: Path, text: Path) -> None:
    said: list[str] = []
    folder = run(tmp_path / "runs", small(text), tell=said.append)
    assert folder == tmp_path / "runs" / "w2v" / "version_0"
    names = {p.name for p in folder.iterdir()}
    assert names >= {
        "config.json", "metrics.jsonl", "timings.jsonl", "ledger.jsonl", "manifest.json",
        "vectors.txt", "vectors.bin", "vectors.rule.json", "vocab.tsv",
    }  # fmt: skip
    assert not any(name.startswith("corpus.ids") for name in names)
    described = manifest(folder)
    assert described["status"] == "finished"
    assert described["inputs"]["corpus 0"]["path"] == str(text)
    assert set(described["outputs"]) >= {"vectors.txt", "vectors.bin", "vocab.tsv", "metrics.jsonl"}
    assert any(described["weights_sha256"] in line for line in said)
    assert not list((tmp_path / "runs").glob(".reading*"))

    ours = WordVectors.load(folder / "vectors.txt")
    assert ours.rule is not None
    assert ours.rule.tokenize
    for path, binary in ((folder / "vectors.txt", False), (folder / "vectors.bin", True)):
        theirs = KeyedVectors.load_word2vec_format(str(path), binary=binary)
        assert theirs.index_to_key == list(ours.words)
        np.testing.assert_array_equal(theirs.vectors, ours.matrix.numpy())
        for word in ours.words:
            near, known = ours.nearest(word, 5), dict(theirs.most_similar(word, topn=len(ours) - 1))
            # the same words in the same order; gensim breaks ties (to 1e-6) as it likes
            assert [known[w] for w, _ in near] == pytest.approx([score for _, score in near], abs=1e-5)
            assert sorted(known.values())[-5] <= near[-1][1] + 1e-5


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative", "softmax", "hierarchical"])
def test_words_of_a_kind_become_neighbors(tmp_path: Path, text: Path, architecture: str, loss: str) -> None:
    config = small(text, architecture=architecture, loss=loss, max_epochs=12, window=8)
    vectors = WordVectors.load(run(tmp_path / "runs", config) / "vectors.bin")
    for kind in (ANIMALS, TOOLS):
        for word in kind:
            assert {near for near, _ in vectors.nearest(word, 3)} <= set(kind), word
    lines = [json.loads(line) for line in (tmp_path / "runs/w2v/version_0/metrics.jsonl").read_text().splitlines()]
    losses = [line["train_loss_epoch"] for line in lines if "train_loss_epoch" in line]
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_the_same_bits_twice_and_with_two_threads(tmp_path: Path, text: Path) -> None:
    config = small(text, batch_words=2048, dim=64, max_epochs=2)
    first = run(tmp_path / "runs", config)
    second = run(tmp_path / "runs", replace(config, deterministic=True))
    threads = run(tmp_path / "runs", replace(config, threads=2))
    for other in (second, threads):
        assert manifest(other)["weights_sha256"] == manifest(first)["weights_sha256"]
        for name in ("metrics.jsonl", "ledger.jsonl", "vectors.txt", "vectors.bin", "vocab.tsv"):
            assert (other / name).read_bytes() == (first / name).read_bytes(), name
    different = run(tmp_path / "runs", replace(config, seed=1))
    assert manifest(different)["weights_sha256"] != manifest(first)["weights_sha256"]


@pytest.mark.parametrize(
    "model", [{}, {"architecture": "cbow", "sample": 1e-2, "deterministic": True}, {"loss": "hierarchical"}]
)
def test_logging_ledger_and_checkpoints_do_not_change_the_weights(
    tmp_path: Path, short: Path, model: dict[str, Any]
) -> None:
    watched: list[dict[str, Any]] = [
        {"ledger_every": 0, "checkpoint_every": "3", "probes": ("cat",)},
        {"ledger_every": 1, "checkpoint_every": "0s", "keep_checkpoints": True, "progress": True},
        {"log_every_n_steps": 1, "checkpoint_every": "never"},
    ]
    runs = [run(tmp_path / "runs", small(short, max_epochs=1, **{**model, **change})) for change in [{}, *watched]]
    assert len({manifest(each)["weights_sha256"] for each in runs}) == 1


def test_deterministic_has_the_same_seeds(tmp_path: Path, text: Path) -> None:
    runs = [run(tmp_path / "runs", small(text, max_epochs=1, deterministic=flag)) for flag in (False, True)]
    assert len({manifest(each)["weights_sha256"] for each in runs}) == 1


class Kill(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


SIX = [(architecture, loss) for architecture in ("skipgram", "cbow") for loss in ("negative", "softmax", "hierarchical")]


@pytest.mark.parametrize(
    "model", [{"architecture": a, "loss": b} for a, b in SIX] + [{"architecture": "cbow", "cbow_gradient": "corrected"}]
)
def test_a_run_resumes_inside_an_epoch_and_ends_in_the_same_bits(tmp_path: Path, short: Path, model: dict[str, Any]) -> None:
    config = small(short, checkpoint_every="7", max_epochs=2, ledger_every=3, sample=0.01, **model)
    whole = run(tmp_path / "runs", config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs", config, callbacks=(Kill(step=17),))
    stopped = tmp_path / "runs/w2v/version_1"
    assert (stopped / "corpus.ids").is_file()
    assert train_word2vec(config, RunOptions(resume=str(stopped))) == stopped
    assert manifest(stopped)["weights_sha256"] == manifest(whole)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "vectors.txt"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(("architecture", "loss"), SIX)
def test_every_model_is_verified_and_a_changed_ledger_is_found(
    tmp_path: Path, short: Path, architecture: str, loss: str
) -> None:
    config = small(short, architecture=architecture, loss=loss, max_epochs=1, ledger_every=1, progress=False)
    folder = train_word2vec(config, RunOptions(path=str(tmp_path / "run"), root=str(tmp_path)))
    result = CliRunner().invoke(cli.main, ["verify", str(folder)])
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "verified: same bits")
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    line = json.loads(lines[10])
    line["gradients"]["output"] = "0" * 16
    (folder / "ledger.jsonl").write_text("\n".join([*lines[:10], json.dumps(line), *lines[11:]]) + "\n")
    result = CliRunner().invoke(cli.main, ["verify", str(folder)])
    assert result.exit_code == 1
    assert "ledger" in result.output


def test_stdin_is_read_and_kept_for_a_resume(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(text, checkpoint_every="7", max_epochs=1)
    whole = run(tmp_path / "runs", config)
    config = replace(config, corpus=("-",))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs", config, callbacks=(Kill(step=20),))
    stopped = train_word2vec(config, RunOptions(resume=str(tmp_path / "runs/w2v/version_1")))
    assert manifest(stopped)["weights_sha256"] == manifest(whole)["weights_sha256"]


def test_sets_are_scored_and_neighbors_logged(tmp_path: Path, text: Path) -> None:
    (tmp_path / "animals.txt").write_text("cat dog 9\ncat saw 1\nhen axe 1\npig cow 9\n")
    (tmp_path / "analogies.txt").write_text(": none\ncat dog saw axe\n")
    sets = (str(tmp_path / "animals.txt"), str(tmp_path / "analogies.txt"))
    folder = run(tmp_path / "runs", small(text, evaluate=sets, max_epochs=6, window=8))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [line["evaluate/animals"] for line in lines if "evaluate/animals" in line]
    assert len(scores) == 6
    assert scores[-1] >= 0.89
    assert all("evaluate/analogies" in line for line in lines if "evaluate/animals" in line)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"corpus": ("none.txt",)}, DataError, r"none\.txt: expected a text to read, got nothing"),
        ({"corpus": (".",)}, DataError, r"\.: expected a text to read, got a folder"),
        (
            {"corpus": ("/dev/null",)},
            DataError,
            "/dev/null: expected a text to read, got a pipe or a device; write it to a f",
        ),
        ({"min_count": 10**6}, ConfigError, "min_count"),
        ({"probes": ("unheard",)}, ConfigError, "probes: expected words of the vocabulary, got 'unheard'"),
        ({"evaluate": ("none.txt",)}, DataError, r"none\.txt"),
        ({"evaluate": ("a/set.txt", "b/set.txt")}, ConfigError, "sets: expected files of different names, got a/set"),
    ],
)
def test_bad_input_is_one_clear_error(
    tmp_path: Path, text: Path, changes: dict[str, Any], error: type[SamebitsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path / "runs", small(text, **changes))
    if "probes" not in changes:
        assert not (tmp_path / "runs" / "w2v").exists()
    assert not list((tmp_path / "runs").glob(".reading*"))


def test_bad_bytes_and_a_taken_folder_leave_nothing_behind(tmp_path: Path, text: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\n\xff\n")
    with pytest.raises(DataError, match=r"bad\.txt:2: expected UTF-8"):
        run(tmp_path / "runs", small(bad))
    assert not (tmp_path / "runs" / "w2v").exists()
    with pytest.raises(ConfigError, match="exists already"):
        train_word2vec(small(text), RunOptions(path=str(tmp_path)))


@pytest.mark.parametrize(
    "changes",
    [{"dim": 0}, {"window": 101}, {"lr": 0.0}, {"sample": -1.0}, {"corpus": ()}, {"corpus": ("-", "-")}, {"max_vocab": 1},
     {"precision": "64-true"}, {"accumulate_grad_batches": 2}, {"loss": "hinge"},
     {"noise_words": 1, "block": 1}, {"architecture": "cbow", "noise_words": 1, "block": 1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Word2VecConfig(**changes)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_batches_of_a_tree_that_are_prepared_ahead_change_no_bit(text: Path, tmp_path: Path, architecture: str) -> None:
    settings = {"architecture": architecture, "loss": "hierarchical", "dim": 8, "batch_words": 256, "max_steps": 12}
    digests = set()
    for threads in (1, 2):
        config = Word2VecConfig.from_dict(
            {**settings, "corpus": [str(text)], "min_count": 1, "threads": threads, "progress": False}
        )
        folder = train_word2vec(config, RunOptions(path=str(tmp_path / str(threads))))
        digests.add(json.loads((folder / "manifest.json").read_text())["weights_sha256"])
    assert len(digests) == 1


@pytest.mark.parametrize("any_threads", [False, True])
@pytest.mark.parametrize("loss", ["negative", "hierarchical", "softmax"])
@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("threads", [1, 2])
def test_two_threads_share_a_step_where_torch_shares_out_little(
    architecture: str, loss: str, any_threads: bool, threads: int, short: Path, tmp_path: Path
) -> None:
    """Nowhere else: a product that torch shares out may round otherwise if each of two threads computes it alone."""
    helped: list[bool] = []

    class Look(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            helped.append(beside._helper is not None)

    settings = {"any_threads": any_threads, "deterministic": any_threads, "max_epochs": 1, "max_steps": 2}
    config = small(short, architecture=architecture, loss=loss, threads=threads, **settings)
    run(tmp_path, config, callbacks=(Look(),))
    assert helped == 2 * [threads == 2 and (loss == "hierarchical" or any_threads)]
