"""Which file of a folder is the training, the validation and the test split, told by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ner.corpus import brat
from training.errors import ConfigError
from training.visible import listed
from word2vec.text.file_columns import COLUMN_SUFFIXES

# A file is a split if one of these stands in its name between characters that are no letters: eng.testa, train.conll,
# en_dev.conll, wnut17train.conll, NER-de-train.tsv. CoNLL-2003 calls its validation split testa.
NAMES = {
    "train": ("train", "trainset", "training"),
    "valid": ("valid", "validation", "validset", "dev", "devel", "development", "devset", "testa"),
    "test": ("test", "testset", "testing", "testb"),
}
SUFFIXES = ("txt", *COLUMN_SUFFIXES)
SPAN_SUFFIXES = ("jsonl", "ndjson", "json", "ann")  # looked at where no other file has the split's name


class Splits(NamedTuple):
    """The files of the three splits; of BRAT's annotations each may be a folder."""

    train: Path
    valid: Path
    test: Path


def split_of(name: str, suffixes: Collection[str] = SUFFIXES) -> str | None:
    """ "train", "valid" or "test" for a file's name, None if it says neither or more than one.

    The name must end with one of ``suffixes``, with the split itself (eng.train), or have no suffix.
    """
    suffix = Path(name).suffix.lower().removeprefix(".")
    words = set(re.findall(r"[^\W\d_]+", name.lower()))
    found = [split for split, names in NAMES.items() if words.intersection(names)]
    is_split = any(suffix in names for names in NAMES.values())
    if len(found) != 1 or not (suffix == "" or suffix in suffixes or is_split) or name.startswith("."):
        return None
    return found[0]


def find_splits(folder: str | Path) -> Splits:
    """The three files of a folder; ConfigError if one is missing or two claim to be the same, saying what is there."""
    folder = Path(folder)
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except NotADirectoryError:
        raise ConfigError(f"{folder}: expected a folder, got a file; name files with --train, --valid, --test") from None
    except OSError as error:
        raise ConfigError(f"{folder}: expected a folder with the data, cannot read it: {error.strerror}") from None
    files = [path for path in entries if path.is_file()]
    found = _named(files, SUFFIXES)
    for others in (_named(files, SPAN_SUFFIXES), _named(filter(brat.is_folder, entries), ("",))):
        found = {split: paths or others[split] for split, paths in found.items()}
    for split, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise ConfigError(
                f"{folder}: expected one {split} file, got {names}; name the right one with --{split} (data: as FILE)"
            )
    missing = [split for split, paths in found.items() if not paths]
    if missing:
        shown = listed([path.name for path in files], 12) or "no file"
        wanted = "; ".join(f"no {split} file (a name with {', '.join(NAMES[split])})" for split in missing)
        options = ", ".join(f"--{split}" for split in NAMES)
        raise ConfigError(f"{folder}: {wanted}; the folder holds {shown}; name the files with {options} (data: as FILE)")
    return Splits(*(paths[0] for paths in found.values()))


def _named(files: Iterable[Path], suffixes: Collection[str]) -> dict[str, list[Path]]:
    """The files that each split's name is on."""
    found: dict[str, list[Path]] = {split: [] for split in NAMES}
    for path in files:
        if (split := split_of(path.name, suffixes)) is not None:
            found[split].append(path)
    return found
