"""A group of runs as one tagger: its members' probabilities are averaged (ner/model/ensemble.py).

A group (``train-ner --seeds N``) has in ``ensemble.json`` the temperature of the confidences of all its members together,
fitted on the validation data when its last run finished. ``export`` of a group writes a folder with a bundle for each
member, ``ensemble.json`` with their digests, and the group's card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner.config import TaggerConfig
from ner.corpus.scheme import allowed_transitions
from ner.inputs.indexer import Indexer
from ner.model.conformal import Conformal
from ner.model.ensemble import Ensemble
from ner.scoring.card import add
from ner.tagging.bundle import MANIFEST, is_bundle, new_folder, read_bundle, read_saved, write_bundle
from ner.tagging.bundle_vectors import load_json
from ner.tagging.load import CONFORMAL, Saved, is_temperature, read_conformal, read_run
from ner.vectors.views import Views
from training.errors import DataError
from training.files import atomic_write, inside
from training.run import card
from training.run.folder import read_manifest
from training.run.groups import ENSEMBLE, check_group, is_group, read_group, seeds_of
from training.visible import encodable

FORMAT, VERSION = "samebits-group-bundle", 1


@dataclass(frozen=True)
class SavedGroup:
    """The parts of the taggers of a group; what ``Saved`` is for one."""

    members: Sequence[Saved]
    where: str
    """The folder, for messages."""
    temperature: float = 1.0
    conformal: Conformal | None = None

    @property
    def config(self) -> TaggerConfig:
        """The members' settings, which differ in the seed alone."""
        return self.members[0].config

    @property
    def indexer(self) -> Indexer:
        """The members' tables."""
        return self.members[0].indexer

    @property
    def vectors(self) -> Views | None:
        """Vectors of words that training did not see."""
        return self.members[0].vectors

    def model(self) -> Ensemble:
        """The networks as one. DataError where settings, tables and weights do not belong together."""
        return Ensemble(
            [each.model() for each in self.members], allowed_transitions(self.indexer.labels, self.indexer.scheme)
        )


def read_tagger(folder: Path, tell: Callable[[str], None] = lambda line: None) -> Saved | SavedGroup:
    """The tagger of a finished run or group, or of a bundle of one. DataError for what is none of them."""
    if is_group(folder):
        return read_group_tagger(folder, tell)
    return read_group_bundle(folder) if is_group_bundle(folder) else read_saved(folder, tell)


def grouped(members: Sequence[Saved], where: str, temperature: float, conformal: Conformal | None = None) -> SavedGroup:
    """Taggers as a group's. DataError where they were trained with other settings, or on other data."""
    first = members[0]
    for each in members[1:]:
        own, others = ({k: v for k, v in one.config.to_dict().items() if k != "seed"} for one in (first, each))
        if different := sorted(name for name in own if own[name] != others.get(name)):
            raise DataError(
                f"{where}: expected runs that differ only in their seed, got {each.where} with another {different[0]}"
            )
        if first.indexer.to_dict() != each.indexer.to_dict():
            raise DataError(f"{where}: expected runs on the same data, got {each.where} with other words or labels")
    return SavedGroup(members, where, temperature, conformal)


def read_group_tagger(folder: Path, tell: Callable[[str], None] = lambda line: None) -> SavedGroup:
    """A finished group's tagger. DataError where a run of it has not finished, or it is not what its seal says."""
    read_group(folder, "ner")
    check_group(folder, tell)
    members = [read_run(inside(folder, f"seed_{seed}"), tell) for seed in seeds_of(folder)]
    if not (folder / ENSEMBLE).exists():
        tell(f"{folder}: its confidences are not calibrated: it was trained by an earlier version")
        return grouped(members, str(folder), 1.0)
    described = _described(folder)
    conformal = read_conformal(described, folder / ENSEMBLE)
    return grouped(members, str(folder), _temperature(described, folder), conformal)


def _temperature(described: dict[str, Any], folder: Path) -> float:
    """The temperature of a group's confidences."""
    value = described.get("temperature")
    if value is None or not is_temperature(value):
        raise DataError(f"{folder / ENSEMBLE}: expected a positive temperature, got {value!r}")
    return float(value)


def _described(folder: Path) -> dict[str, Any]:
    described = load_json(folder / ENSEMBLE)
    if not isinstance(described, dict):
        raise DataError(f"{folder / ENSEMBLE}: expected an object, got other JSON")
    return described


def members_of(folder: Path) -> list[Path]:
    """The folders of the runs of a group, or of the bundles in a group's bundle; DataError where it does not name them."""
    if is_group(folder):
        return [folder / f"seed_{seed}" for seed in seeds_of(folder)]
    members = _described(folder).get("members")
    if not isinstance(members, dict) or not members:
        raise DataError(f"{folder / ENSEMBLE}: expected members, got something else; export the group again")
    return [inside(folder, name) for name in members]


# -- a bundle -----------------------------------------------------------------------------------------------------------


def is_group_bundle(folder: Path) -> bool:
    """Whether the folder says that it is a group's bundle."""
    return (folder / ENSEMBLE).exists() and not (folder / "group.json").exists()


def export_group(group: str | Path, folder: str | Path, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Write a finished group's tagger as a bundle, whole or not at all: a folder with a bundle of each run.

    Args:
        group: the group's folder.
        folder: a new one for the bundle.
        tell: hears a line where the group has no seal.

    Returns:
        The bundle's folder, which ``TrainedTagger.load`` takes.

    Raises:
        ConfigError: the folder exists or cannot be made.
        DataError, CheckpointError: a group that has not finished, or is not what it says.
    """
    group = Path(group)
    saved = read_group_tagger(group, tell)
    saved.model()  # says now if the parts do not fit
    about = card.read_card(group, lambda kind: add, lambda line: None)
    names = [f"seed_{seed}" for seed in seeds_of(group)]

    def write(part: Path) -> None:
        for name, member in zip(names, saved.members, strict=True):
            (part / name).mkdir()
            own = card.read_card(group / name, lambda kind: add, lambda line: None)
            write_bundle(part / name, member, read_manifest(group / name), own)
        atomic_write(part / card.MARKDOWN, encodable(about.to_markdown()))
        atomic_write(part / card.JSON, about.to_json())
        described = {
            "format": FORMAT,
            "version": VERSION,
            "temperature": saved.temperature,
            CONFORMAL: saved.conformal and saved.conformal.to_dict(),
            "members": {name: _digest_of(part / name) for name in names},
        }
        atomic_write(part / ENSEMBLE, json.dumps(described, indent=1) + "\n")

    return new_folder(Path(folder), write)


def read_group_bundle(folder: Path) -> SavedGroup:
    """The tagger of a group's bundle. DataError for a foreign, newer, incomplete or damaged one."""
    path = folder / ENSEMBLE
    described = _described(folder)
    if described.get("format") != FORMAT:
        raise DataError(f"{path}: expected a group's bundle (format {FORMAT}), got other JSON")
    if described.get("version") != VERSION:
        raise DataError(
            f"{path}: expected a group's bundle of version {VERSION}, got {described.get('version')!r}; export again"
        )
    members = described.get("members")
    if not isinstance(members, dict) or not members or not is_temperature(described.get("temperature")):
        raise DataError(f"{path}: expected members and a positive temperature, got something else; export the group again")
    more = sorted({each.name for each in folder.iterdir()} - {ENSEMBLE, card.MARKDOWN, card.JSON, *members})
    if more:
        raise DataError(f"{folder / more[0]}: expected only the bundle's files, got one more; move it away")
    found = []
    for name, digest in members.items():
        one = inside(folder, name)
        if not is_bundle(one):
            raise DataError(f"{one}: damaged: expected a bundle, got none; copy or export the group again")
        found.append(read_bundle(one))
        if _digest_of(one) != digest:
            raise DataError(f"{one}: damaged: it is another bundle than {ENSEMBLE} names; copy or export the group again")
    return grouped(found, str(folder), float(described["temperature"]), read_conformal(described, path))


def _digest_of(bundle: Path) -> str:
    return str(load_json(bundle / MANIFEST)["digest"])
