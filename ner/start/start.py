"""What a tagger starts from: a finished run or a bundle, with the files that it is read from, and the old data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner.config import KEPT, TaggerConfig
from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence, to_scheme
from ner.corpus.labeled import files_of, read_labeled
from ner.corpus.scheme import detect
from ner.corpus.splits import find_splits
from ner.tagging.bundle import ALWAYS, MANIFEST, is_bundle, read_bundle
from ner.tagging.bundle_vectors import WITH_VECTORS
from ner.tagging.files import from_here
from ner.tagging.group import is_group_bundle, members_of
from ner.tagging.load import PARTS, WEIGHTS, Saved, read_run, vector_inputs
from training.digest import weights_sha256
from training.errors import ConfigError
from training.files import LARGEST_JSON, inside, sha256_file
from training.kept_settings import KeptSettings
from training.run import seal
from training.run.folder import read_manifest
from training.run.groups import is_group
from training.run.inputs import Inputs
from training.run.places import check_folder, looked_for, start_folder

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """A trained tagger to go on from.

    Args:
        saved: its settings, tables, weights and word vectors.
        described: the manifest of its run; empty for a bundle.
        vectors: the files that its word vectors are in, by their names as inputs.
    """

    saved: Saved
    described: Mapping[str, Any]
    vectors: Mapping[str, Path]

    @property
    def folder(self) -> Path:
        """The run's or the bundle's."""
        return Path(self.saved.where)

    @property
    def kept(self) -> KeptSettings:
        """The settings that its weights were made for."""
        return KeptSettings.of(self.saved.config, KEPT, self.saved.where)

    @property
    def dim(self) -> int:
        """Numbers of a word in its table."""
        return self.saved.weights["words.weight"].shape[1]

    def facts(self) -> dict[str, str]:
        """For the manifest of the run that goes on: the digest of the weights that it began with, as their run states it."""
        return {"weights_sha256": weights_sha256({f"{WEIGHTS}{name}": each for name, each in self.saved.weights.items()})}


def kept_settings(folder: str) -> KeptSettings:
    """The settings that stay as the start has them, read off its folder alone; DataError or ConfigError where it is none."""
    path = Path(folder)
    _check_kind(path)
    name = seal.CONFIG if not is_bundle(path) else "config.json"
    config = TaggerConfig.load(inside(path, name, largest=LARGEST_JSON))
    return KeptSettings.of(config, KEPT, folder)


def _check_kind(path: Path) -> None:
    """DataError or ConfigError for what is no folder of a tagger."""
    check_folder(path, "start_from", "the folder of a finished run or of a bundle")
    if is_group(path) or is_group_bundle(path):
        one = members_of(path)[0]
        raise ConfigError(f"start_from: expected a run or a bundle, got a group; give one of its runs, such as {one}")
    if not is_bundle(path) and (kind := read_manifest(path).get("kind")) != "ner":
        raise ConfigError(f"start_from: expected a tagger's run or a bundle, got a run of kind {kind}: {path}")


def read_start(config: TaggerConfig, inputs: Inputs, tell: Tell) -> Start | None:
    """The tagger that ``config.start_from`` names; None where it names none.

    Args:
        config: with paths that lead from here.
        inputs: gets the start's files, before they are read.
        tell: hears what it is.

    Raises:
        DataError, CheckpointError: it is no finished run and no bundle, is not what its seal says, or is of another version.
        ConfigError: it is a group, or a run of another kind.
    """
    if not config.start_from:
        return None
    folder = Path(config.start_from)
    _check_kind(folder)
    start = _of_bundle(folder, config, inputs) if is_bundle(folder) else _of_run(folder, config, inputs, tell)
    types = ", ".join(start.saved.indexer.types) or "none"
    tell(f"start: {folder}, {len(start.saved.indexer.words):,} words, types {types}")
    return start


def _of_bundle(folder: Path, config: TaggerConfig, inputs: Inputs) -> Start:
    for name in (MANIFEST, *ALWAYS):
        inputs.add(f"start {name}", folder / name)
    vectors = {f"start {name}": folder / name for name in WITH_VECTORS if (folder / name).is_file()}
    _add_vectors(vectors, config, inputs)
    return Start(read_bundle(folder), {}, vectors)


def _of_run(folder: Path, config: TaggerConfig, inputs: Inputs, tell: Tell) -> Start:
    for name in (seal.MANIFEST, *PARTS):
        inputs.add(f"start {name}", folder / name)
    described = read_manifest(folder)
    vectors: dict[str, Path] = {}
    if config.vectors == "auto" or described["config"].get("unseen_vectors", True):
        vectors = {name: from_here(path) for name, path in vector_inputs(folder, described).items()}
        _add_vectors(vectors, config, inputs)
    return Start(read_run(folder, tell, all_vectors=config.vectors == "auto"), described, vectors)


def _add_vectors(vectors: Mapping[str, Path], config: TaggerConfig, inputs: Inputs) -> None:
    """The files under their own names where the new tagger has these vectors, too; else what they are is said before."""
    for name, path in vectors.items():
        inputs.add(name if config.vectors == "auto" else f"old {name}", path)


# -- the data that the start was trained on ---------------------------------------------------------------------------


@dataclass(frozen=True)
class OldData:
    """What the start was trained on: sentences with tags in the model's scheme. ``train`` is empty without a share."""

    train: list[Sentence]
    test: list[Sentence]


def read_old(config: TaggerConfig, start: Start | None, inputs: Inputs) -> OldData | None:
    """The old sentences that are tested on, and rehearsed; None where there are none.

    Args:
        config: with paths that lead from here; ``rehearse`` and ``rehearse_share`` say what is wanted.
        start: whose columns and scheme they have.
        inputs: gets the files, before they are read.

    Raises:
        ConfigError: the run's own data are gone or have changed, or a bundle has none.
        DataError: with file:line, for what cannot be read.
    """
    if start is None or config.rehearse == "none":
        return None
    files = _own_files(config, start) if config.rehearse == "auto" else find_splits(config.rehearse)._asdict()
    if not files:
        return None
    names = ["train", "test"] if config.rehearse_share else ["test"]
    for name in names:
        for each, path in files_of(f"old {name}", files[name]).items():
            inputs.add(each, path)
    c = start.saved.config
    columns, rules = Columns.asked(c.word_column, c.tag_column), SpanRules(c.misaligned, c.overlapping)
    read = {name: read_labeled(files[name], columns=columns, docstart=c.docstart, rules=rules) for name in names}
    scheme = detect(sentence.tags for each in read.values() if not each.scheme for sentence in each.sentences).scheme
    found = {
        name: to_scheme(each.sentences, config.scheme, source=each.scheme or scheme, mend=c.repair)[0]
        for name, each in read.items()
    }
    return OldData(found.get("train", []), found["test"])


def _own_files(config: TaggerConfig, start: Start) -> dict[str, Path]:
    """The files that the start's run was trained and tested on; none for a bundle."""
    if not start.described:
        if config.rehearse_share:
            raise ConfigError(
                f"rehearse: expected a folder of data, got auto: the bundle {start.folder} does not name its data"
            )
        return {}
    files: dict[str, Path] = {}
    for name in ("train", "test"):
        given = {key: each for key, each in start.described["inputs"].items() if re.fullmatch(rf"{name}( \d+)?", key)}
        folder = start_folder(start.folder, start.described, name)
        parts = {from_here(folder / each["path"]): each["sha256"] for each in given.values()}
        path = next((each for each, digest in parts.items() if not each.is_file() or sha256_file(each) != digest), None)
        if path is not None:
            if name == "train" and not config.rehearse_share:
                continue
            state = "changed" if path.is_file() else "gone"
            raise ConfigError(
                f"rehearse: the data that {start.folder} was trained on are {state}: {path} "
                f"({looked_for(start.folder, start.described)}); put them back, or leave them out with --rehearse none 0"
            )
        first = next(iter(parts))
        files[name] = first if len(parts) <= 2 else first.parent  # of BRAT's files a pair, or a folder of them
    return files
