"""Bundles: everything in one folder, the same bytes twice, and refused when anything about them is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ner.config import TaggerConfig
from ner.corpus.conll import read_conll
from ner.predict import evaluate_file
from ner.scoring.card import add
from ner.tagging.bundle import MANIFEST, VERSION, _digest, _json, export, read_bundle
from ner.tagging.tagger import TrainedTagger
from ner.train import train_tagger
from tests.conftest import reseal
from training import checkpoint, files
from training.errors import ConfigError, DataError
from training.run.card import read_card
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

NAMES = {
    "MODEL_CARD.md", "card.json",
    "bundle.json", "config.json", "indexer.json", "weights.json", "weights.bin", "vectors.json", "vectors.bin",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose vectors know the test split's words, a word with a space among them."""
    folder = tmp_path_factory.mktemp("run")
    sentences = [s for name in ("train", "test") for s in read_conll(small_data / f"{name}.conll", docstart="drop")]
    words = [*sorted({w for s in sentences for w in s.words}), "zyxwv"]
    matrix = torch.randn(len(words), 12, generator=torch.Generator().manual_seed(0))
    WordVectors(words, matrix, TextRule(False, False, "zero")).save(folder / "vectors.bin", "binary")
    config = TaggerConfig(
        data=str(small_data),
        vectors=str(folder / "vectors.bin"),
        max_epochs=1,
        hidden_size=12,
        batch_size=8,
        decoder="crf",
        characters="cnn",
        char_hidden=10,
        subwords=30,
        subword_dim=4,
        progress=False,
    )
    return train_tagger(config, RunOptions(path=str(folder / "run")))


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's bundle."""
    return export(run, tmp_path_factory.mktemp("bundles") / "bundle")


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    shutil.copytree(bundle, tmp_path / "b")
    return tmp_path / "b"


def resealed(folder: Path) -> None:
    """Make the manifest's sizes and digests those of the files as they are: what a hostile hand would do."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["digest"] = _digest(manifest)
    (folder / MANIFEST).write_bytes(_json(manifest))


def test_a_bundle_predicts_and_evaluates_as_its_run_without_data_and_vectors(
    run: Path, small_data: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    test = tmp_path / "test.conll"
    shutil.copy(small_data / "test.conll", test)
    original = TrainedTagger.load(run)
    sentences = [s.words for s in read_conll(test, docstart="drop")] + [("zyxwv", "7", "unknowable")]
    shutil.move(export(run, tmp_path / "bundle"), moved)
    assert {path.name for path in moved.iterdir()} == NAMES
    vectors = run.parent / "vectors.bin"
    hidden = vectors.with_suffix(".away")
    vectors.rename(hidden)
    try:
        with pytest.raises(DataError, match="put them back"):
            TrainedTagger.load(run)
        with pytest.raises(DataError, match="put them back"):
            export(run, tmp_path / "late")
        assert not (tmp_path / "late").exists()
        elsewhere = TrainedTagger.load(moved)
    finally:
        hidden.rename(vectors)
    assert elsewhere.predict(sentences) == original.predict(sentences)
    assert len(elsewhere.model.words.extra) == len(original.model.words.extra) > 0
    assert evaluate_file(elsewhere, str(test)) == evaluate_file(original, str(test))


def test_twice_the_same_bytes_and_nothing_is_overwritten(run: Path, bundle: Path, tmp_path: Path) -> None:
    again = export(run, tmp_path / "deep" / "again")
    assert all((again / name).read_bytes() == (bundle / name).read_bytes() for name in NAMES)
    with pytest.raises(ConfigError, match="exists already"):
        export(run, again)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        export(run, tmp_path / "file" / "bundle")


def test_half_a_bundle_is_never_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "fault_hook", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        export(run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("how", ["cut", "empty", "longer", "missing", "link", "pipe", "folder", "flipped"])
def test_a_damaged_file_is_named(copy: Path, name: str, how: str) -> None:
    path = copy / name
    data = path.read_bytes()
    path.unlink()
    if how == "link":
        (copy.parent / "other").write_bytes(data)
        path.symlink_to(copy.parent / "other")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how != "missing":
        changed = {"cut": data[:-1], "empty": b"", "longer": data + b"\n", "flipped": bytes([data[0] ^ 1]) + data[1:]}
        path.write_bytes(changed[how])
    with pytest.raises(DataError) as error:
        TrainedTagger.load(copy)
    assert "\n" not in str(error.value)
    if name == MANIFEST and how == "missing":  # then it is no bundle at all
        assert f"{copy}: expected a run's folder (with manifest.json) or a bundle (with bundle.json)" in str(error.value)
    else:
        assert str(copy / name) in str(error.value)


def test_every_flipped_bit_of_the_manifest_is_noticed(copy: Path) -> None:
    data = (copy / MANIFEST).read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        (copy / MANIFEST).write_bytes(changed)
        with pytest.raises(DataError):
            read_bundle(copy)


def test_flipped_bits_of_the_files_are_noticed(copy: Path) -> None:
    for name in sorted(NAMES - {MANIFEST}):
        data = (copy / name).read_bytes()
        for place in range(0, len(data), max(1, len(data) // 20)):
            changed = bytearray(data)
            changed[place] ^= 1 << (place % 8)
            (copy / name).write_bytes(changed)
            with pytest.raises(DataError, match="damaged"):
                read_bundle(copy)
        (copy / name).write_bytes(data)
    read_bundle(copy)


def test_one_file_more_a_newer_version_and_foreign_folders(copy: Path, tmp_path: Path) -> None:
    (copy / "model.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"model.pkl: expected only the bundle's files"):
        TrainedTagger.load(copy)
    (copy / "model.pkl").unlink()
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_bytes(_json({**manifest, "version": VERSION + 1, "more": {}}))
    with pytest.raises(DataError, match=f"got version {VERSION + 1}: it needs a newer samebits"):
        TrainedTagger.load(copy)
    (copy / MANIFEST).write_bytes(_json({**manifest, "version": 1}))
    with pytest.raises(DataError, match="got version 1: export it again from its run"):
        TrainedTagger.load(copy)
    (copy / MANIFEST).write_text('{"format": "other"}')
    with pytest.raises(DataError, match="expected a bundle"):
        TrainedTagger.load(copy)
    with pytest.raises(DataError, match="expected a run folder"):
        TrainedTagger.load(tmp_path / "nowhere")


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change a JSON file of the bundle."""

    def apply(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))

    return apply


def spoil(name: str) -> Callable[[Path], object]:
    """All bits of a file set: floats that are no numbers."""
    return lambda folder: (folder / name).write_bytes(b"\xff" * (folder / name).stat().st_size)


def first_shape(shape: list[float]) -> Callable[[Path], None]:
    return edit("weights.json", lambda index: [{**index[0], "shape": shape}, *index[1:]])


class Pickled:
    """Its pickle makes a file when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (OWNED,)


OWNED = "owned-by-a-pickle"
HOSTILE: dict[str, Callable[[Path], object]] = {
    "pickled weights": lambda folder: (folder / "weights.bin").write_bytes(pickle.dumps(Pickled())),
    "pickled vectors": lambda folder: (folder / "vectors.bin").write_bytes(pickle.dumps(Pickled())),
    "pickled settings": lambda folder: (folder / "config.json").write_bytes(pickle.dumps(Pickled())),
    "a larger network": edit("config.json", lambda c: {**c, "hidden_size": 10**6}),
    "another network": edit("config.json", lambda c: {**c, "decoder": "softmax"}),
    "an unknown setting": edit("config.json", lambda c: {**c, "run": "rm -rf /"}),
    "a table that is too short": edit("indexer.json", lambda t: {**t, "words": t["words"][:-1]}),
    "characters that are too many": edit("indexer.json", lambda t: {**t, "characters": [*t["characters"], "\u4e00"]}),
    "a tensor larger than the file": first_shape([2**39, 2**39]),
    "a negative shape": first_shape([-1]),
    "a shape of numbers with points": first_shape([1.5]),
    "a dtype of objects": edit("weights.json", lambda index: [{**index[0], "dtype": "object"}, *index[1:]]),
    "a tensor twice": edit("weights.json", lambda index: [index[0], *index]),
    "a tensor less": edit("weights.json", lambda index: index[:-1]),
    "no words": edit("vectors.json", lambda v: [{**v[0], "words": []}]),
    "a word less": edit("vectors.json", lambda v: [{**v[0], "words": v[0]["words"][:-1]}]),
    "a word twice": edit("vectors.json", lambda v: [{**v[0], "words": [v[0]["words"][0], *v[0]["words"][:-1]]}]),
    "a rule that is none": edit("vectors.json", lambda v: [{**v[0], "rule": {"tokenize": 3}}]),
    "no JSON": lambda folder: (folder / "weights.json").write_text("[" * 100_000),
    "not a number": spoil("weights.bin"),
    "vectors that are no numbers": spoil("vectors.bin"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_parts_that_do_not_fit_are_refused_though_their_digests_are_right(
    copy: Path, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    HOSTILE[case](copy)
    resealed(copy)
    with pytest.raises((DataError, ConfigError)) as error:
        TrainedTagger.load(copy)
    assert "\n" not in str(error.value)
    assert not Path(OWNED).exists()


def test_the_temperature_of_a_run_goes_with_its_bundle(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    described = json.loads((again / "manifest.json").read_text())
    assert TrainedTagger.load(run).confidence.temperature == described["confidence_temperature"]
    reseal(again, confidence_temperature=2.5)
    assert TrainedTagger.load(again).confidence.temperature == 2.5
    assert TrainedTagger.load(export(again, tmp_path / "bundle")).confidence.temperature == 2.5
    for wrong in (0, -1.0, "hot", None, True):
        reseal(again, confidence_temperature=wrong)
        with pytest.raises(DataError, match="expected a positive confidence_temperature"):
            TrainedTagger.load(again)


def test_weights_that_a_bundle_cannot_hold_are_refused(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again)
    kept = dict(checkpoint.load(again / "checkpoints" / "model.ckpt"))
    kept["weights"] = {name: value.bfloat16() for name, value in kept["weights"].items()}
    checkpoint.save(again / "checkpoints" / "model.ckpt", kept)
    reseal(again)
    with pytest.raises(DataError, match="got bfloat16"):
        export(again, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("wrong", [0, -1.0, "hot", None, True, 1e9])
def test_a_temperature_that_is_none_is_refused(copy: Path, wrong: object) -> None:
    manifest = {**json.loads((copy / MANIFEST).read_text()), "temperature": wrong}
    (copy / MANIFEST).write_bytes(_json({**manifest, "digest": _digest(manifest)}))
    with pytest.raises(DataError, match="damaged"):
        read_bundle(copy)


def test_a_file_that_is_named_outside_is_not_read(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"]["../../etc/passwd"] = manifest["files"].pop("weights.bin")
    manifest["digest"] = _digest(manifest)
    (copy / MANIFEST).write_bytes(_json(manifest))
    with pytest.raises(DataError, match="damaged"):
        read_bundle(copy)


def test_a_resealed_bundle_as_it_was_is_read(copy: Path, bundle: Path) -> None:
    """The tests above fail for their reason, not for the sealing."""
    resealed(copy)
    assert (copy / MANIFEST).read_bytes() == (bundle / MANIFEST).read_bytes()
    read_bundle(copy)


def test_the_card_beside_it_is_the_runs_own(run: Path, bundle: Path) -> None:
    described = read_manifest(run)
    card = json.loads((bundle / "card.json").read_text())
    assert (bundle / "MODEL_CARD.md").read_text() == read_card(run, lambda kind: add, print).to_markdown()
    assert card["scores"]["run"] == described["metrics"]
    assert card["errors"] == described["errors"]
    report = (run / "test_report.txt").read_text()
    total = sum(sum(row.values()) for row in card["errors"].values())
    assert f"\n{total:,} errors: " in report
    assert sum(card["splits"]["test"]["entities"].values()) > 0
    assert card["verify"]["seal"] == [described["seal"]]
    assert "vectors" in card["data"]
