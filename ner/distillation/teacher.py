"""The teacher: a trained tagger, or a group of them, whose readings another tagger learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner.config import TaggerConfig
from ner.inputs.indexer import Indexer
from ner.tagging.files import tagger_files
from ner.tagging.group import SavedGroup, read_tagger
from ner.tagging.load import WEIGHTS
from ner.tagging.tagger import TrainedTagger
from training.digest import weights_sha256
from training.errors import ConfigError
from training.run.inputs import Inputs
from training.run.places import check_folder
from training.visible import counted, listed


@dataclass(frozen=True)
class Teacher:
    """A trained tagger to learn from.

    Args:
        folder: the run's, the group's or the bundle's.
        tagger: what it is read with.
        weights: a digest for the weights of each of its members, as their runs state them.
    """

    folder: Path
    tagger: TrainedTagger
    weights: Sequence[str]

    def check_labels(self, indexer: Indexer) -> None:
        """ConfigError where it does not read in just these labels, in any order."""
        own, wanted = set(self.tagger.indexer.types), set(indexer.types)
        if own != wanted:
            sides = (("it lacks", wanted - own), ("it alone has", own - wanted))
            differ = "; ".join(f"{what} {listed(sorted(types), 20)}" for what, types in sides if types)
            raise ConfigError(f"teacher: expected the types of the training data, got others from {self.folder}: {differ}")
        if set(self.tagger.indexer.labels) != set(indexer.labels):
            raise ConfigError(
                f"teacher: expected one that was trained in scheme {indexer.scheme}, got {self.tagger.indexer.scheme} from "
                f"{self.folder}; give --scheme {self.tagger.indexer.scheme}"
            )

    def facts(self) -> dict[str, Any]:
        """For the manifest of the run that learns from it."""
        return {"weights_sha256": list(self.weights)}


def read_teacher(config: TaggerConfig, inputs: Inputs, tell: Callable[[str], None]) -> Teacher | None:
    """The tagger that ``config.teacher`` names; None where it names none.

    Args:
        config: with paths that lead from here.
        inputs: gets the tagger's files, before they are read.
        tell: hears what it is.

    Raises:
        ConfigError: it is no folder.
        DataError, CheckpointError: it is no finished run or group and no bundle, or not what its seal says.
    """
    if not config.teacher:
        return None
    folder = Path(config.teacher)
    check_folder(folder, "teacher", "the folder of a finished run, a group or a bundle")
    for name, path in tagger_files(folder).items():
        inputs.add(f"teacher {name}", path)
    saved = read_tagger(folder, tell)
    members = saved.members if isinstance(saved, SavedGroup) else [saved]
    weights = [weights_sha256({f"{WEIGHTS}{name}": each for name, each in one.weights.items()}) for one in members]
    tell(f"teacher: {folder}, {counted(len(members), 'tagger')}")
    return Teacher(folder, TrainedTagger(saved, config.device), weights)
