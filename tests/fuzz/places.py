"""What is made wrong, and the commands that then read it: each case is a function of a seed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from ner.tagging.bundle import MANIFEST, _digest, _json
from tests.conftest import reseal
from tests.fuzz.mutate import change_value, mutate, mutate_json, mutate_json_lines, odd_text
from training.errors import SamebitsError

QUICK = [
    "--max-epochs",
    "1",
    "--hidden-size",
    "4",
    "--word-dim",
    "4",
    "--no-progress",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--limit-train-batches",
    "1",
    "--limit-val-batches",
    "1",
    "--limit-test-batches",
    "1",
    "--char-hidden",
    "4",
    "--features-dim",
    "0",
    "--topic-dim",
    "0",
    "--max-steps",
    "2",
    "--precision",
    "32-true",
]


@dataclass(frozen=True)
class Good:
    """Files and folders that are right; cases work on copies."""

    run: Path
    other_run: Path
    stopped: Path
    bundle: Path
    group: Path
    data: Path
    text: Path
    vectors: dict[str, Path]


@dataclass(frozen=True)
class Case:
    """A command, its standard input, and what it may leave behind."""

    arguments: list[str]
    stdin: bytes = b""
    target: Path | None = None


Maker = Callable[[Random, Good, Path], Case]


def _written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def conll(rng: Random, good: Good, at: Path) -> Case:
    source = rng.choice(("train", "valid", "test"))
    data = (good.data / f"{source}.conll").read_bytes()
    bad = _written(at / rng.choice(("a.conll", "train.conll", "a.txt")), mutate(rng, data[: rng.choice((300, 3000))]))
    run = str(rng.choice((good.run, good.bundle)))
    how = rng.randrange(8)
    if how < 3:
        return Case(["data", "check", bad, *rng.choice(([], ["--json"]))])
    if how < 5:
        return Case(["evaluate", run, bad, *rng.choice(([], ["--json"]))])
    if how < 7:
        return Case(["predict", run, bad, "--input", "conll", *_format(rng)])
    files = [bad, *[str(good.data / f"{name}.conll") for name in ("valid", "test")]]
    rng.shuffle(files)
    named = [word for name, file in zip(("--train", "--valid", "--test"), files, strict=True) for word in (name, file)]
    return Case(
        ["train-ner", *named, "--vectors", "none", "--run", str(at / "run"), *rng.choice(([], ["--repair"])), *QUICK]
    )


def _format(rng: Random) -> list[str]:
    return rng.choice(([], *(["--format", form] for form in ("text", "conll", "jsonl", "html")), ["--color", "always"]))


def vectors(rng: Random, good: Good, at: Path) -> Case:
    form = rng.choice(sorted(good.vectors))
    path = at / f"v{good.vectors[form].suffix}"
    bad = _written(path, mutate(rng, good.vectors[form].read_bytes()))
    if rng.random() < 0.2:
        rule = good.vectors[form].with_suffix(".rule.json").read_bytes()
        path.with_suffix(".rule.json").write_bytes(mutate_json(rng, rule))
    how = rng.randrange(7)
    if how < 3:
        return Case(["vectors", "nearest", bad, rng.choice(("won", "Oslo", "zyx", odd_text(rng)[:20].replace("\x00", "")))])
    if how < 5:
        target = at / rng.choice(("out.txt", "out.bin", "out.txt.gz"))
        written: list[str] = rng.choice(([], ["--format", "glove"], ["--format", "binary"]))
        return Case(["vectors", "convert", bad, str(target), *written], target=target)
    if how < 6:
        return Case(["data", "check", str(good.data / "test.conll"), "--vectors", bad])
    return Case(["train-ner", "--data", str(good.data), "--vectors", bad, "--run", str(at / "run"), *QUICK])


def jsonl(rng: Random, good: Good, at: Path) -> Case:
    lines = [
        {"text": odd_text(rng), "id": 1},
        {"tokens": ["Ada", "won", "."], "tags": ["O"]},
        {"text": "Ada won.\n\nBo lost."},
        {"tokens": [odd_text(rng)[:9] for _ in range(4)], "meta": {"a": [1, {"b": None}]}},
    ]
    data = b"".join(json.dumps(line, ensure_ascii=rng.random() < 0.5).encode() + b"\n" for line in lines)
    options = [*_format(rng), *rng.choice(([], ["--threshold", "0.5"], ["--key", "text"], ["--key", odd_text(rng)[:9]]))]
    options = [word.replace("\x00", "") for word in options]
    bad = mutate_json_lines(rng, data)
    run = str(rng.choice((good.run, good.bundle)))
    if rng.random() < 0.5:
        return Case(["predict", run, "-", "--input", "jsonl", *options], bad)
    target = at / "out" if rng.random() < 0.3 else None
    to = ["--to", str(target)] if target else []
    return Case(["predict", run, _written(at / "a.jsonl", bad), *options, *to], target=target)


def text(rng: Random, good: Good, at: Path) -> Case:
    data = odd_text(rng).encode()
    if rng.random() < 0.2:
        data = mutate(rng, data)
    if rng.random() < 0.1:
        path = _written(at / "corpus.txt", data * 20)
        quick = ["--epochs", "1", "--dim", "4", "--threads", "1", "--no-progress", "--min-count", "1"]
        return Case(["train-w2v", "--corpus", path, "--run", str(at / "w2v"), *quick])
    form = rng.choice((["--input", "sentences"], ["--input", "text"], ["--pretokenized"]))
    return Case(["predict", str(rng.choice((good.run, good.bundle))), "-", *form, *_format(rng)], data)


def config(rng: Random, good: Good, at: Path) -> Case:
    bad = _written(at / "config.json", mutate_json(rng, (good.run / "config.json").read_bytes()))
    if rng.random() < 0.6:
        return Case(
            ["train-ner", "--config", bad, "--data", str(at / "nowhere"), "--run", str(at / "run"), "--vectors", "none"]
        )
    typed = [
        "--data",
        str(good.data),
        "--train",
        "",
        "--valid",
        "",
        "--test",
        "",
        "--vectors",
        "none",
        "--run",
        str(at / "run"),
    ]
    return Case(["train-ner", "--config", bad, *typed, *QUICK])


def _copy(good: Path, at: Path, name: str = "copy") -> Path:
    return Path(shutil.copytree(good, at / name))


def _use(rng: Random, good: Good, run: Path, at: Path) -> Case:
    """A command that reads a run's folder, whose seal mostly says what was made wrong: it is found out by what it is."""
    if rng.random() < 0.7:
        with suppress(SamebitsError, OSError, ValueError, TypeError, AttributeError):
            reseal(run)
    test = str(good.data / "test.conll")
    choices = [
        ["predict", str(run), test],
        ["evaluate", str(run), test],
        ["runs", "list", "--root", str(run.parent.parent)],
        ["runs", "card", str(run)],
        ["diff", str(good.run), str(run)],
        ["diff", str(run), str(good.other_run)],
        ["compare", str(run), str(good.other_run)],
        ["compare", str(good.other_run), str(run), "--json"],
        ["export", str(run), str(at / "bundle")],
        ["train-ner", "--resume", str(run), "--no-progress", "--max-time", "1h"],
        *([["verify", str(run), "--to-step", "1"]] if rng.random() < 0.2 else []),
    ]
    chosen = rng.choice(choices)
    return Case(chosen, target=at / "bundle" if chosen[0] == "export" else None)


def manifest(rng: Random, good: Good, at: Path) -> Case:
    (at / "runs").mkdir()
    (at / "runs" / "ner").mkdir()
    run = _copy(good.run, at / "runs" / "ner", "version_0")
    name = rng.choice(("manifest.json", "manifest.json", "config.json", "indexer.json"))
    (run / name).write_bytes(mutate_json(rng, (run / name).read_bytes()))
    return _use(rng, good, run, at)


def records(rng: Random, good: Good, at: Path) -> Case:
    run = _copy(good.run, at)
    name = rng.choice(("metrics.jsonl", "ledger.jsonl", "predictions.conll"))
    changed = mutate if name.endswith("conll") else mutate_json_lines
    (run / name).write_bytes(changed(rng, (run / name).read_bytes()))
    return _use(rng, good, run, at)


def _sealed(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(digest + "\n")


def _odd_checkpoint(rng: Random, value: Any) -> Any:
    """A checkpoint's nested values with one of them made strange; tensors get other shapes and types."""
    if isinstance(value, dict) and value:
        name = rng.choice(list(value))
        if rng.random() < 0.1:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: _odd_checkpoint(rng, value[name])}
    if isinstance(value, torch.Tensor) and rng.random() < 0.9:
        return rng.choice(
            (
                value[:-1] if value.dim() else value[None],
                value.double(),
                value.to(torch.int64),
                value * float("nan"),
                value[None],
                torch.zeros(0),
                value.to(torch.bfloat16),
            )
        )
    return change_value(rng, value)


def checkpoints(rng: Random, good: Good, at: Path) -> Case:
    stopped = rng.random() < 0.6
    run = _copy(good.stopped if stopped else good.run, at)
    path = sorted((run / "checkpoints").glob("resume-*.ckpt" if stopped else "model.ckpt"))[-1]
    if rng.random() < 0.5:
        kept = torch.load(path, weights_only=True)
        torch.save(_odd_checkpoint(rng, kept), path)
    else:
        path.write_bytes(mutate(rng, path.read_bytes()))
    if rng.random() < 0.8:
        _sealed(path)
    if stopped:
        return Case(["train-ner", "--resume", str(run), "--no-progress", "--max-time", "1h"])
    return _use(rng, good, run, at)


def bundles(rng: Random, good: Good, at: Path) -> Case:
    bundle = _copy(good.bundle, at)
    path = rng.choice(sorted(bundle.iterdir()))
    how = rng.random()
    if how < 0.06:
        path.unlink()
    elif how < 0.1:
        (bundle / rng.choice(("more", ".hidden", "model.pkl"))).write_bytes(b"")
    elif path.suffix == ".json" and how < 0.8:
        path.write_bytes(mutate_json(rng, path.read_bytes()))
    else:
        path.write_bytes(mutate(rng, path.read_bytes()))
    if rng.random() < 0.7:
        _reseal(bundle)
    test = str(good.data / "test.conll")
    return Case(
        rng.choice((["predict", str(bundle), test], ["evaluate", str(bundle), test], ["export", str(bundle), str(at / "b")]))
    )


def _reseal(bundle: Path) -> None:
    """Give the manifest the digests of the files as they are, where it still is one."""
    try:
        described = json.loads((bundle / MANIFEST).read_bytes())
        for name in described["files"]:
            data = (bundle / name).read_bytes()
            described["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        described["digest"] = _digest(described)
        (bundle / MANIFEST).write_bytes(_json(described))
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return


def groups(rng: Random, good: Good, at: Path) -> Case:
    group = _copy(good.group, at)
    path = rng.choice(sorted(group.glob("*.json")) + sorted(group.glob("seed_*/manifest.json")))
    path.write_bytes(mutate_json(rng, path.read_bytes()))
    return Case(["compare", str(group), str(rng.choice((good.group, good.run))), *rng.choice(([], ["--json"]))])


PLACES: dict[str, Maker] = {
    "conll": conll,
    "vectors": vectors,
    "jsonl": jsonl,
    "text": text,
    "config": config,
    "manifest": manifest,
    "records": records,
    "checkpoints": checkpoints,
    "bundles": bundles,
    "groups": groups,
}


def left_behind(folder: Path) -> list[str]:
    """Temporary files and folders below ``folder``."""
    return [
        os.path.join(at, name) for at, folders, names in os.walk(folder) for name in (*folders, *names) if ".part" in name
    ]
