"""What a training of word vectors shows in TensorBoard, read back from its event file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.run.experiment import RunOptions
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec
from word2vec.vectors.vectors import WordVectors

EPOCHS, EVERY = 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with probes and two sets."""
    place = tmp_path_factory.mktemp("shown")
    generator = np.random.default_rng(2)
    lines = [" ".join(generator.choice("cat dog hen cow pig fox saw axe awl file".split(), 9)) for _ in range(400)]
    (place / "text.txt").write_text("\n".join(lines) + "\n")
    (place / "animals.txt").write_text("cat dog 9\ncat saw 1\nhen axe 2\npig cow 9\n")
    (place / "analogies.txt").write_text(": tools\ncat dog saw axe\n")
    config = Word2VecConfig(
        corpus=(str(place / "text.txt"),), dim=8, max_epochs=EPOCHS, batch_words=256, min_count=1, sample=0.0, threads=1,
        log_every_n_steps=EVERY, probes=("cat", "saw"), progress=False,
        evaluate=(str(place / "animals.txt"), str(place / "analogies.txt")),
    )  # fmt: skip
    return train_word2vec(config, RunOptions(path=str(place / "run")))


@pytest.fixture(scope="module")
def events(folder: Path) -> Any:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def test_loss_learning_rate_and_words_a_second(events: Any) -> None:
    loss, rate, speed = (events.Scalars(tag) for tag in ("train_loss_step", "lr", "time/words_per_second"))
    assert len(loss) >= 8
    assert [each.step for each in loss] == [each.step for each in rate] == [each.step for each in speed]
    assert np.isfinite([each.value for each in loss]).all()
    falling = [each.value for each in rate]
    assert 0.05 >= falling[0] > falling[-1] > 0.0
    assert np.diff(falling, 2) == pytest.approx(0.0, abs=1e-8)  # a straight line
    assert min(each.value for each in speed) > 0.0
    assert len(events.Scalars("train_loss_epoch")) == EPOCHS


def test_neighbors_of_the_probe_words_over_time(events: Any, folder: Path) -> None:
    shown = events.Tensors("neighbours/text_summary")
    assert len(shown) == EPOCHS
    assert len({each.step for each in shown}) == EPOCHS
    text = shown[-1].tensor_proto.string_val[0].decode()
    vectors = WordVectors.load(folder / "vectors.bin")
    assert text == "\n".join(f"- **{w}**: {', '.join(near for near, _ in vectors.nearest(w, 8))}" for w in ("cat", "saw"))


def test_scores_on_the_sets_over_time(events: Any) -> None:
    for tag in ("evaluate/animals", "evaluate/analogies"):
        assert len(events.Scalars(tag)) == EPOCHS


def test_the_projector_has_every_word_and_its_vector(folder: Path) -> None:
    (labels,) = folder.rglob("metadata.tsv")
    (values,) = folder.rglob("tensors.tsv")
    vectors = WordVectors.load(folder / "vectors.bin")
    assert labels.read_text().splitlines() == list(vectors.words)
    np.testing.assert_allclose(np.loadtxt(values, delimiter="\t"), vectors.matrix.numpy(), rtol=1e-5)
    assert (folder / "projector_config.pbtxt").read_text().count("embeddings {") == 1
