"""The files that a trained tagger is read from, for the manifest of a run that goes on from it or learns from it."""

from __future__ import annotations

from pathlib import Path

from ner.tagging.bundle import ALWAYS, MANIFEST, is_bundle
from ner.tagging.bundle_vectors import WITH_VECTORS
from ner.tagging.group import is_group_bundle, members_of
from ner.tagging.load import PARTS, vector_inputs
from training.run import seal
from training.run.folder import read_manifest
from training.run.groups import ENSEMBLE, is_group


def tagger_files(folder: Path) -> dict[str, Path]:
    """The files of a tagger by name: of a run, a group, or a bundle of either. DataError where word vectors are gone.

    The word vectors of a run stand elsewhere, and have the names that they have among the run's inputs; a group's runs have
    the same.
    """
    if not is_group(folder) and not is_group_bundle(folder):
        return _of_one(folder)
    names = [name for name in ("config.json", "group.json", ENSEMBLE) if (folder / name).is_file()]
    found = {name: folder / name for name in names}
    for member in members_of(folder):
        for name, path in _of_one(member).items():
            found |= {f"{member.name} {name}" if path.is_relative_to(member) else name: path}
    return found


def _of_one(folder: Path) -> dict[str, Path]:
    if is_bundle(folder):
        with_vectors = [name for name in WITH_VECTORS if (folder / name).is_file()]
        return {name: folder / name for name in (MANIFEST, *ALWAYS, *with_vectors)}
    described = read_manifest(folder)
    vectors: dict[str, Path] = {}
    if described["config"].get("unseen_vectors", True):
        vectors = {name: from_here(path) for name, path in vector_inputs(folder, described).items()}
    return {name: folder / name for name in (seal.MANIFEST, *PARTS)} | vectors


def from_here(path: Path) -> Path:
    """The path as it leads from the working folder, if it stands in there: a run that is moved with its data finds it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
