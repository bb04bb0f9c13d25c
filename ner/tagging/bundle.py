"""A tagger in a folder of its own: all that predicting needs, without its data, its run or the word vectors' file.

The files of a bundle, version 3. All JSON is UTF-8; numbers are little-endian; there is nothing that could be run.

- ``bundle.json``   {"format", "version", "digest", "files": {name: {"bytes", "sha256"}}, "source": {…}, "temperature",
  "conformal"}; ``digest`` is the SHA-256 of the same object without it, as JSON with sorted keys and no spaces;
  ``temperature`` is that of confidences (ner/model/calibration.py), which version 1 did not have; ``conformal`` has the
  bounds of sets of readings (ner/model/conformal.py), null where the run has none; version 2 did not have it
- ``config.json``   the run's settings (ner/config.py)
- ``indexer.json``  words, characters and labels in order of their ids, the scheme and the text rule, and the words of the
  language model, if the tagger reads one (ner/inputs/indexer.py)
- ``MODEL_CARD.md``, ``card.json``   what the run's manifest says, for people and for machines (training/run/card.py)
- ``weights.json``  [{"name", "dtype", "shape"}, …] in the order in which ``weights.bin`` has them, one after the other
- ``weights.bin``   their elements, row by row
- ``vectors.json``  [{"dim", "rule", "words"}, …], a view each, and ``vectors.bin``, float32, view after view a row for each
  word: only where the tagger uses vectors of words that training did not see

The same run gives the same bytes each time.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ner.config import TaggerConfig
from ner.inputs.indexer import Indexer
from ner.scoring.card import add
from ner.tagging.bundle_vectors import WITH_VECTORS, load_json, read_vectors, size_of
from ner.tagging.load import CONFORMAL, Saved, is_temperature, read_conformal, read_run
from training.digest import weights_sha256
from training.errors import ConfigError, DataError
from training.files import check_new, exists_already, folder_to_be, sha256_file, sync
from training.run import card
from training.run.folder import read_manifest
from training.visible import encodable

FORMAT, VERSION = "samebits-bundle", 3
MANIFEST = "bundle.json"
ENTRIES = {"format", "version", "digest", "files", "source", "temperature", CONFORMAL}
WITHOUT_SETS = 2  # the last version that had no CONFORMAL
ALWAYS = ("config.json", "indexer.json", "weights.json", "weights.bin", card.MARKDOWN, card.JSON)
DTYPES = ("float32", "float64")


def is_bundle(folder: Path) -> bool:
    """Whether the folder says that it is a bundle."""
    return (folder / MANIFEST).exists()


def read_saved(folder: Path, tell: Callable[[str], None] = lambda line: None) -> Saved:
    """The tagger of a finished run or a bundle. DataError for what is neither; see ``read_run`` and ``read_bundle``."""
    if folder.is_dir() and not any((folder / name).exists() for name in ("manifest.json", MANIFEST)):
        expected = f"expected a run's folder (with manifest.json) or a bundle (with {MANIFEST})"
        raise DataError(f"{folder}: {expected}, got neither")
    return read_bundle(folder) if is_bundle(folder) else read_run(folder, tell)


# -- writing ----------------------------------------------------------------------------------------------------------


def export(run: str | Path, folder: str | Path, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Write a finished run's tagger as a bundle, whole or not at all; what the command ``export`` does with a single run.

    Args:
        run: the run's folder; a group's is for the command alone.
        folder: a new one for the bundle.
        tell: called with a line if the run has no seal.

    Returns:
        The bundle's folder, which ``TrainedTagger.load`` takes.

    Raises:
        ConfigError: the folder exists or cannot be made.
        DataError, CheckpointError: a run that is not finished, or does not match its manifest.

    Example:
        >>> import tempfile
        >>> from ner import TaggerConfig, TrainedTagger, export, train_tagger
        >>> from training.run.experiment import RunOptions
        >>> limits = {f"limit_{split}_batches": 1 for split in ("train", "val", "test")}
        >>> small = TaggerConfig(vectors="none", hidden_size=8, max_epochs=1, progress=False, **limits)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     train_tagger(small, RunOptions(path=f"{place}/run")).name
        ...     export(f"{place}/run", f"{place}/bundle").name
        ...     len(TrainedTagger.load(f"{place}/bundle").tag([["Ada", "ran"]])[0])
        'run'
        'bundle'
        2
    """
    saved, target = read_run(Path(run), tell), Path(folder)
    saved.model()  # says now if the parts do not fit
    about = card.read_card(Path(run), lambda kind: add, lambda line: None)
    return new_folder(target, lambda part: write_bundle(part, saved, read_manifest(Path(run)), about))


def new_folder(target: Path, write: Callable[[Path], None]) -> Path:
    """A new folder with what ``write`` puts into it, whole or not at all.

    Raises:
        ConfigError: it exists or cannot be made.
    """
    check_new("FOLDER", target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_to_be(target) as part:
            write(part)
    except OSError as error:
        if target.exists():  # somebody else made it meanwhile
            raise exists_already("FOLDER", target) from None
        raise ConfigError(f"FOLDER: {target} cannot be written ({error.strerror}); give another") from None
    return target


def write_bundle(folder: Path, saved: Saved, described: Mapping[str, Any], about: card.Card) -> None:
    _save(folder / card.MARKDOWN, encodable(about.to_markdown()).encode())
    _save(folder / card.JSON, about.to_json().encode())
    _save(folder / "config.json", _json(saved.config.to_dict()))
    saved.indexer.save(folder / "indexer.json")
    names = sorted(saved.weights)
    index = [
        {"name": n, "dtype": str(saved.weights[n].dtype).removeprefix("torch."), "shape": list(saved.weights[n].shape)}
        for n in names
    ]
    for each in index:
        if each["dtype"] not in DTYPES:
            raise DataError(f"{saved.where}: expected {' or '.join(DTYPES)}, got {each['dtype']} for {each['name']}")
    _save(folder / "weights.json", _json(index))
    _save(folder / "weights.bin", b"".join(_raw(saved.weights[n]) for n in names))
    if saved.vectors is not None:
        views = saved.vectors.views
        rules = [None if view.rule is None else view.rule.to_dict() for view in views]
        described_views = [{"dim": v.dim, "rule": rule, "words": v.words} for v, rule in zip(views, rules, strict=True)]
        _save(folder / "vectors.json", _json(described_views))
        _save(folder / "vectors.bin", b"".join(_raw(view.matrix) for view in views))
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(folder.iterdir())}
    source = {
        "weights_sha256": weights_sha256(saved.weights),
        "code_sha256": str(described.get("code", {}).get("source_sha256", "")),
    }
    manifest: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "files": files, "source": source, "temperature": saved.temperature,
        CONFORMAL: saved.conformal and saved.conformal.to_dict(),
    }  # fmt: skip
    _save(folder / MANIFEST, _json({**manifest, "digest": _digest(manifest)}))


def _save(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sync(path)


def _json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _raw(tensor: Tensor) -> bytes:
    array = tensor.detach().cpu().contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


# -- reading ----------------------------------------------------------------------------------------------------------


def read_bundle(folder: Path) -> Saved:
    """A bundle's tagger. DataError for a foreign, newer, incomplete or damaged one, and for one whose parts do not fit."""
    manifest = _verified(folder)
    config = TaggerConfig.load(folder / "config.json")
    indexer = Indexer.load(folder / "indexer.json")
    weights = _weights(folder)
    vectors = read_vectors(folder, config.affix_vectors) if "vectors.bin" in manifest["files"] else None
    if weights_sha256(weights) != manifest["source"].get("weights_sha256"):
        said = "its weights are not those of the run that it names as its source"
        raise DataError(f"{folder / MANIFEST}: forged: {said}; export it again")
    conformal = read_conformal(manifest, folder / MANIFEST)
    return Saved(config, indexer, weights, vectors, str(folder), float(manifest["temperature"]), conformal)


def _verified(folder: Path) -> dict[str, Any]:
    """The bundle's manifest, each of whose files is there and is what it says."""
    path = folder / MANIFEST
    manifest = load_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path}: expected a bundle (format {FORMAT}), got other JSON")
    version = manifest.get("version")
    if type(version) is int and version not in (WITHOUT_SETS, VERSION):
        remedy = "it needs a newer samebits" if version > VERSION else "export it again from its run"
        raise DataError(f"{path}: expected a bundle of version {VERSION}, got version {version}: {remedy}")
    if not _is_manifest(manifest) or manifest["digest"] != _digest(manifest) or path.read_bytes() != _json(manifest):
        raise DataError(f"{path}: damaged: it does not have the digest that it names; copy or export the bundle again")
    files: dict[str, Any] = manifest["files"]
    there = {each.name for each in folder.iterdir()} - {MANIFEST}
    for name in sorted({*files, *there}):
        if name not in files:
            raise DataError(f"{folder / name}: expected only the bundle's files, got one more; move it away")
        _check(folder / name, files[name])
    return manifest


def _is_manifest(values: dict[str, Any]) -> bool:
    """Whether a manifest of a version that is read has the entries that it must have, and no others."""
    if set(values) != ENTRIES - ({CONFORMAL} if values.get("version") == WITHOUT_SETS else set()):
        return False
    if values["version"] not in (WITHOUT_SETS, VERSION):
        return False
    if not is_temperature(values["temperature"]):
        return False
    files, source = values["files"], values["source"]
    allowed = [sorted(ALWAYS), sorted(ALWAYS + WITH_VECTORS)]
    if not isinstance(files, dict) or sorted(files) not in allowed or not isinstance(source, dict):
        return False
    entries = [each for each in files.values() if isinstance(each, dict) and set(each) == {"bytes", "sha256"}]
    plain = [type(each["bytes"]) is int and isinstance(each["sha256"], str) for each in entries]
    return len(plain) == len(files) and all(plain) and all(isinstance(value, str) for value in source.values())


def _check(path: Path, described: Mapping[str, Any]) -> None:
    size, found = described["bytes"], size_of(path)
    if found is None or size != found:
        got = "no regular file" if found is None else f"{found} bytes"
        raise DataError(f"{path}: damaged: expected {size} bytes, got {got}; copy or export the bundle again")
    if described["sha256"] != sha256_file(path):
        raise DataError(f"{path}: damaged: its SHA-256 is not the one in {MANIFEST}; copy or export the bundle again")


def _weights(folder: Path) -> dict[str, Tensor]:
    path = folder / "weights.json"
    index = load_json(path)
    data = (folder / "weights.bin").read_bytes()
    found: dict[str, Tensor] = {}
    at = 0
    if not isinstance(index, list) or not all(map(_is_tensor, index)):
        raise DataError(f"{path}: expected a list of names, dtypes ({', '.join(DTYPES)}) and shapes, got something else")
    for entry in index:
        dtype, count = np.dtype(entry["dtype"]).newbyteorder("<"), math.prod(entry["shape"])
        end = at + count * dtype.itemsize
        if end > len(data) or entry["name"] in found:
            raise DataError(f"{path}: expected each tensor once and whole, got {entry['name']!r} twice or cut short")
        array = np.frombuffer(data, dtype, count, at).astype(entry["dtype"]).reshape(entry["shape"])
        found[entry["name"]], at = torch.from_numpy(array), end
    if at != len(data):
        raise DataError(f"{folder / 'weights.bin'}: expected {at} bytes, as weights.json says, got {len(data)}")
    return found


def _is_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
        return False
    sizes = entry["shape"]
    plain = isinstance(sizes, list) and len(sizes) <= 8 and all(type(size) is int and size >= 0 for size in sizes)
    # A size of 0 makes the others no smaller: they are multiplied nevertheless wherever the tensor is looked at.
    plain = plain and math.prod(size or 1 for size in sizes) < 1 << 40
    return plain and isinstance(entry["name"], str) and entry["dtype"] in DTYPES
