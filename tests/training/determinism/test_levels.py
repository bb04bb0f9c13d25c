"""Levels of determinism: the same bits for any number of threads, and with other code for the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ner.config import TaggerConfig
from ner.train import train_tagger
from tests import forked
from tests.conftest import SAMPLE, head
from tests.training.determinism.numbers import uniform
from training.config import TrainConfig
from training.determinism import portable
from training.determinism.any_threads import one_thread
from training.determinism.flags import determinism
from training.determinism.unkept import Unkept
from training.errors import ConfigError, ReproducibilityError
from training.run.experiment import RunOptions
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec

ROOT = Path(__file__).resolve().parents[3]
THREADS = (1, 2, 3, 4, 8)


def lstm_gradients() -> Tensor:
    """torch's own LSTM, by oneDNN: its gradients are known to change with the threads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lstm = nn.LSTM(64, 96)
    lstm(uniform(40, 16, 64))[0].square().sum().backward()
    return torch.cat([p.grad.flatten() for p in lstm.parameters() if p.grad is not None])


def convolution_gradients() -> Tensor:
    weight = uniform(50, 30, 3).requires_grad_()
    nn.functional.conv1d(uniform(200, 30, 12), weight).square().sum().backward()
    assert weight.grad is not None
    return weight.grad


def adam_steps() -> Tensor:
    weight = uniform(300, 301).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (uniform(200, 300) @ weight).sigmoid().mean().backward()
        optimizer.step()
    return weight.detach()


OPERATIONS: dict[str, Callable[[], Tensor]] = {
    "narrow products": lambda: uniform(512, 1800) @ uniform(1800, 17),
    "products of few rows": lambda: uniform(7, 1000) @ uniform(1000, 70),
    "batched products": lambda: torch.bmm(uniform(11, 33, 90), uniform(11, 90, 70)),
    "a full sum": lambda: uniform(3_000_001).sum(),
    "a norm": lambda: torch.linalg.vector_norm(uniform(1000, 1001)),
    "sigmoid": lambda: uniform(1_000_003).sigmoid(),
    "softmax": lambda: uniform(1000, 1003).log_softmax(1),
    "rows added up": lambda: torch.zeros(50, 64).index_add_(0, torch.arange(5000) % 50, uniform(5000, 64)),
    "an LSTM": lstm_gradients,
    "a convolution": convolution_gradients,
    "Adam": adam_steps,
}


def bits_by_threads(operation: Callable[[], Tensor], level: Callable[[], AbstractContextManager[Any]]) -> list[bool]:
    """For each number of threads, whether the result equals that of one thread."""
    found = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with level():
            found.append(operation())
        assert torch.get_num_threads() == threads
    return [torch.equal(found[0], each) for each in found]


@pytest.mark.parametrize("name", OPERATIONS)
def test_any_threads_gives_the_same_bits(name: str) -> None:
    assert all(bits_by_threads(OPERATIONS[name], lambda: one_thread(Unkept())))


def test_without_it_some_of_them_differ() -> None:
    """Else the test above could not fail."""
    if torch.backends.mkl.is_available():
        assert not all(all(bits_by_threads(operation, nullcontext)) for operation in OPERATIONS.values())


def manifest(run: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return described


def same_results(first: Path, second: Path) -> None:
    for name in ("metrics.jsonl", "ledger.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert manifest(first)["weights_sha256"] == manifest(second)["weights_sha256"]


@pytest.mark.parametrize("preset", [{}, {"characters": "none", "features_dim": 0, "mentions": False, "decoder": "softmax"}])
def test_a_tagger_trained_with_any_threads(small_data: Path, tmp_path: Path, preset: dict[str, Any]) -> None:
    config = TaggerConfig(data=str(small_data), vectors="none", word_dim=30, hidden_size=25, batch_size=7, max_epochs=1,
                          any_threads=True, progress=False, **preset)  # fmt: skip
    runs = [train_tagger(replace(config, threads=n), RunOptions(path=str(tmp_path / str(n)))) for n in (1, 2, 4)]
    for run in runs:
        assert manifest(run)["environment"]["threads"] == 1
        assert manifest(run)["environment"]["level"] == "threads"
        same_results(runs[0], run)


@pytest.mark.parametrize("loss", ["negative", "hierarchical", "softmax"])
def test_vectors_trained_with_any_threads(tmp_path: Path, loss: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(f"w{(i * j) % 97}" for j in range(3, 20)) for i in range(200)) + "\n")
    config = Word2VecConfig(corpus=(str(text),), dim=30, min_count=1, max_epochs=1, loss=loss, batch_words=512,
                            any_threads=True, progress=False)  # fmt: skip
    runs = [train_word2vec(replace(config, threads=n), RunOptions(path=str(tmp_path / str(n)))) for n in (1, 3, 4)]
    for run in runs[1:]:
        same_results(runs[0], run)


def test_each_level_has_its_name() -> None:
    levels: list[tuple[dict[str, Any], str]] = [
        ({}, "seeded"), ({"deterministic": True}, "run"), ({"any_threads": True}, "threads"),
    ]  # fmt: skip
    for settings, expected in levels:
        with determinism(TrainConfig(**settings)) as level:
            assert level == expected
    assert TrainConfig(any_threads=True).deterministic
    assert TrainConfig(portable=True).device == "cpu"


def test_portable_needs_its_settings_from_the_start() -> None:
    if portable.is_set():
        pytest.skip("these tests run with them")
    with (
        pytest.raises(ReproducibilityError, match=r"portable: expected the process to be started with"),
        determinism(TrainConfig(portable=True)),
    ):
        pass
    with pytest.raises(ConfigError, match="portable: expected the CPU and one thread, got 4 threads"):
        TrainConfig(portable=True, threads=4)
    with pytest.raises(ConfigError, match="got --device cuda"):
        TrainConfig(portable=True, device="cuda")


HIDDEN = {  # from the outside: AVX2 and FMA, for each library that asks for them
    "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "2",
}  # fmt: skip


@pytest.fixture(scope="module")
def few_sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for name, count in (("train", 50), ("valid", 10), ("test", 10)):
        (folder / f"{name}.conll").write_text(head(SAMPLE / f"{name}.conll", count), encoding="utf-8")
    return folder


def words(data: Path, run: Path, level: str) -> list[str]:
    """The command that trains."""
    small = "--vectors none --max-epochs 1 --characters cnn --decoder crf --hidden-size 20 --no-progress".split()
    return ["train-ner", "--data", str(data), level, *small, "--run", str(run)]


def train_outside(data: Path, run: Path, level: str, outside: dict[str, str]) -> str:
    """Train in a process of its own, with this in its environment; what it said."""
    command = [sys.executable, "-W", "error", str(ROOT / "cli.py"), *words(data, run, level)]
    done = subprocess.run(command, env={**os.environ, **outside}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="there is nothing to hide from this CPU")
def test_without_portable_other_code_gives_other_bits(few_sentences: Path, tmp_path: Path) -> None:
    """Or the next test could not fail. The first has this process's code: it is forked from it."""
    one_thread = ["--threads", "1"]
    done = forked.run(*words(few_sentences, tmp_path / "first", "--deterministic"), *one_thread, cwd=tmp_path)
    assert done.code == 0, done.err
    train_outside(few_sentences, tmp_path / "second", "--deterministic", {**HIDDEN, "OMP_NUM_THREADS": "1"})
    first, second = (manifest(tmp_path / name) for name in ("first", "second"))
    assert first["environment"]["threads"] == second["environment"]["threads"] == 1
    assert first["weights_sha256"] != second["weights_sha256"]


def test_a_portable_run_starts_itself_anew_and_gives_the_same_bits_with_other_code(
    few_sentences: Path, tmp_path: Path
) -> None:
    """The first run is begun with the settings; from the second its environment hides AVX2 and FMA: it begins anew."""
    for name, outside in (("first", portable.SETTINGS), ("second", HIDDEN)):
        assert "(determinism: machines)" in train_outside(few_sentences, tmp_path / name, "--portable", outside)
    environment = manifest(tmp_path / "second")["environment"]
    assert environment["cpu_capability"] == "DEFAULT"
    assert environment["threads"] == 1
    assert environment["environment_variables"]["MKL_CBWR"] == "COMPATIBLE"
    same_results(tmp_path / "first", tmp_path / "second")


def test_a_users_portable_program_starts_itself_anew_and_gives_the_same_bits_with_other_code(tmp_path: Path) -> None:
    for name, outside in (("first", portable.SETTINGS), ("second", HIDDEN)):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "programs" / "portable_program.py")], cwd=tmp_path / name,
            env={**os.environ, **outside, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "(determinism: machines)" in done.stderr
        unkept = "portable does not hold for of_a_program.twice: its code may choose instructions by the CPU"
        assert done.stderr.count(unkept) == 1
        described = manifest(tmp_path / name / "runs" / "many" / "version_0")
        assert described["unkept"] == [unkept]
    same_results(*(tmp_path / name / "runs" / "many" / "version_0" for name in ("first", "second")))
