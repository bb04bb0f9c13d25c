"""Thousands of files made wrong: every command ends in an orderly way, with one line where it refuses something.

python -m pytest -m soak tests/fuzz          # FUZZ_CASES of each kind, 1,500 by default; FUZZ_SEED draws others
"""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from ner.corpus.conll import read_conll
from tests.conftest import head
from tests.fuzz.places import PLACES, QUICK, Good, left_behind
from word2vec.text.tokenize import TextRule, tokenize
from word2vec.vectors.vectors import WordVectors

SECONDS = 60  # of processor time: a case that takes longer hangs


def run(arguments: list[str], stdin: bytes = b"") -> Any:
    return CliRunner().invoke(cli.main, arguments, input=stdin)


@pytest.fixture(scope="module")
def good(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Good:
    """Runs, a stopped run, a bundle, a group and vectors, all small."""
    import torch

    root = tmp_path_factory.mktemp("good")
    data = root / "data"
    data.mkdir()
    for name, count in (("train", 24), ("valid", 8), ("test", 8)):
        (data / f"{name}.conll").write_text(head(small_data / f"{name}.conll", count), encoding="utf-8")
    words = sorted({word for s in read_conll(data / "test.conll") for word in s.words})[:25]
    table = WordVectors(words, torch.randn(len(words), 4, generator=torch.Generator().manual_seed(0)), TextRule(False))
    files = {"text": root / "v.txt", "binary": root / "b.bin", "glove": root / "g.txt"}
    for form, path in files.items():
        table.save(path, form)
    settings = [
        "--data",
        str(data),
        "--vectors",
        str(files["binary"]),
        "--decoder",
        "crf",
        "--characters",
        "cnn",
        "--char-dim",
        "4",
        "--batch-size",
        "4",
        "--ledger-every",
        "1",
        *QUICK,
    ]
    results = {
        "run": run(["train-ner", *settings, "--run", str(root / "run")]),
        "other": run(["train-ner", *settings, "--run", str(root / "other"), "--seed", "1"]),
        "stopped": run(["train-ner", *settings, "--run", str(root / "stopped"), "--max-time", "0s"]),
        "group": run(["train-ner", *settings, "--run", str(root / "group"), "--seeds", "2"]),
        "export": run(["export", str(root / "run"), str(root / "bundle")]),
    }
    codes = {name: result.exit_code for name, result in results.items()}
    assert codes == {"run": 0, "other": 0, "stopped": 75, "group": 0, "export": 0}, results
    return Good(root / "run", root / "other", root / "stopped", root / "bundle", root / "group", data, root / "t", files)


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise TimeoutError(f"a case took more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, hangs)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def fault(result: Any, target: Path | None, folder: Path) -> str:
    """What is wrong with how a command ended; "" where nothing is."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return "".join(traceback.format_exception(result.exception))[-1500:]
    errors = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
    if "Traceback" in result.output:
        return f"a traceback: {result.output[-1500:]}"
    if result.exit_code not in (0, 1, 2, 75):
        return f"exit code {result.exit_code}: {result.output[-500:]}"
    if result.exit_code == 2 and len(errors) != 1:
        return f"exit code 2 with {len(errors)} lines of error: {result.output[-500:]}"
    if result.exit_code == 2 and target is not None and target.exists():
        return f"{target} was written all the same"
    if left := left_behind(folder):
        return f"left behind: {left}"
    return ""


def attempt(kind: str, seeds: range, good: Good, folder: Path) -> Counter[str]:
    """Try the cases of these seeds; AssertionError lists those that ended badly. Returns how many were refused."""
    ended: Counter[str] = Counter()
    bad: list[str] = []
    for seed in seeds:
        rng = Random(f"{kind}/{seed}")
        at = folder / str(seed)
        at.mkdir()
        case = PLACES[kind](rng, good, at)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        result = run(case.arguments, case.stdin)
        signal.setitimer(signal.ITIMER_PROF, 0)
        ended[f"exit code {result.exit_code}"] += 1
        if what := fault(result, case.target, at):
            bad.append(f"{kind}/{seed}: {' '.join(case.arguments)[:300]}\n{what}")
        shutil.rmtree(at)
    if bad:
        report = os.environ.get("FUZZ_REPORT")
        if report:
            with open(report, "a", encoding="utf-8", errors="replace") as stream:
                stream.write("\n\n".join(bad) + "\n\n")
        raise AssertionError(f"{len(bad)} of {len(seeds)} cases ended badly:\n\n" + "\n\n".join(bad[:5]))
    return ended


@pytest.mark.parametrize("kind", PLACES)
def test_some_of_each_kind(kind: str, good: Good, tmp_path: Path) -> None:
    cases = 40 if kind in ("conll", "vectors", "jsonl", "text", "bundles") else 20
    ended = attempt(kind, range(cases), good, tmp_path)
    assert ended["exit code 2"] + ended["exit code 1"] > 0, "something was refused"


@pytest.mark.soak
@pytest.mark.parametrize("kind", PLACES)
def test_thousands_of_each_kind(kind: str, good: Good, tmp_path: Path) -> None:
    cases, seed = int(os.environ.get("FUZZ_CASES", "1500")), int(os.environ.get("FUZZ_SEED", "1"))
    ended = attempt(kind, range(seed * 10**6, seed * 10**6 + cases), good, tmp_path)
    print(f"{kind}: {cases:,} cases, {dict(sorted(ended.items()))}")


def test_every_character_is_in_one_token_or_a_separator() -> None:
    """The tokenizer on odd text: tokens are where they say, in order, and what stands between them is white space or so."""
    from tests.fuzz.mutate import odd_text
    from word2vec.text.tokenize import is_separator

    for seed in range(400):
        words = odd_text(Random(seed))
        at = 0
        for token in tokenize(words):
            assert words[token.start : token.end] == token.text
            assert token.text
            assert not any(is_separator(c) for c in token.text)
            assert all(is_separator(c) for c in words[at : token.start])
            at = token.end
        assert all(is_separator(c) for c in words[at:])
