"""K-fold cross-validation on whole documents: each sentence of a file is read by a tagger that did not see its document.

The folder of a cross-validation holds ``folds.json`` (what it was begun with), ``config.json`` (the settings), for each
fold K ``fold_K.train.conll`` and ``fold_K.held.conll``, and the run ``fold_K``. Which documents a fold has is a function of
(seed, document); a run is one of ``train-ner``, so that what was stopped goes on at the same batch. While the first of
these files are written, ``.folds-begun`` says whose folder it is: nobody else's files are replaced.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ner.config import TaggerConfig
from ner.corpus.alignment import SpanRules
from ner.corpus.conll import DOCSTART, Columns, Sentence, format_sentence, to_scheme
from ner.corpus.dataset import scheme_of
from ner.corpus.labeled import files_of, read_labeled
from ner.corpus.scheme import from_spans, to_spans
from ner.train import train_tagger
from training.errors import ConfigError, DataError, Preempted
from training.files import atomic_write, inside, read_json, sha256_file
from training.randomness import words32
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from training.run.inputs import check_no_stream
from training.run.manifest import as_text, digest
from training.visible import counted, listed, one_line

FOLDS, BEGUN, FORMAT = "folds.json", ".folds-begun", 1
DEFAULT = 5  # folds


@dataclass(frozen=True)
class LabeledFile:
    """A labeled file: its sentences with tags in the scheme of the model, in order, and how it was read."""

    path: Path
    sentences: list[Sentence]
    scheme: str
    """The file's own."""
    target: str
    """That of the tags here."""

    @classmethod
    def read(cls, path: Path, columns: Columns, config: TaggerConfig, tell: Callable[[str], None]) -> LabeledFile:
        """A file in any form that ``train-ner`` reads. DataError with file:line for what it would refuse, too."""
        check_no_stream(path)  # its digest and its lines are read again
        read = read_labeled(path, columns=columns, docstart="drop", rules=SpanRules(config.misaligned, config.overlapping))
        for line in read.lines():
            tell(f"{path}: {line}")
        source = scheme_of(read)
        return cls(
            path, to_scheme(read.sentences, config.scheme, source=source, mend=config.repair)[0], source, config.scheme
        )

    def sha256(self) -> str:
        """One digest of the file, or of the files that it is made of."""
        return digest({name: sha256_file(file) for name, file in files_of("data", self.path).items()})

    def documents(self) -> list[list[int]]:
        """The numbers of each document's sentences; where the file names no documents, each sentence is one."""
        found: dict[int, list[int]] = {}
        for i, sentence in enumerate(self.sentences):
            found.setdefault(sentence.document or -i - 1, []).append(i)
        return [*found.values()]


def assign(labeled: LabeledFile, folds: int, seed: int) -> list[list[int]]:
    """The numbers of the sentences that each fold holds out, whole documents. ConfigError for fewer documents than folds.

    Documents are taken in the order of their random numbers, each by the fold that has the fewest words.
    """
    documents = labeled.documents()
    if len(documents) < folds:
        held = counted(len(documents), "document")
        raise ConfigError(f"folds: expected at most as many as {labeled.path} has documents, {held}, got {folds}")
    found: list[list[int]] = [[] for _ in range(folds)]
    sizes = [0] * folds
    for d in np.argsort(words32(len(documents), seed, "suspects/documents"), kind="stable").tolist():
        fold = min(range(folds), key=lambda k: (bool(found[k]) and not all(found), sizes[k], k))
        found[fold] += documents[d]
        sizes[fold] += sum(len(labeled.sentences[i].words) for i in documents[d])
    return [sorted(each) for each in found]


def unknown_types(labeled: LabeledFile, folds: Sequence[Sequence[int]]) -> list[set[str]]:
    """The types that each fold holds out and no other fold has: a tagger that did not see them cannot judge them."""
    types = [{span.type for i in fold for span in to_spans(labeled.sentences[i].tags)} for fold in folds]
    others = [set[str]().union(*(types[j] for j in range(len(folds)) if j != k)) for k in range(len(folds))]
    return [own - rest for own, rest in zip(types, others, strict=True)]


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation in its folder."""

    folder: Path
    labeled: LabeledFile
    config: TaggerConfig
    held: list[list[int]]
    """The numbers of the sentences that each fold holds out."""
    unknown: list[set[str]]
    """Of each fold the types that cannot be judged."""

    def run(self, fold: int) -> Path:
        """The folder of a fold's run."""
        return inside(self.folder, f"fold_{fold}")

    def train(self, options: RunOptions, tell: Callable[[str], None]) -> None:
        """Train what is left; ``tell`` hears which fold it is at. Preempted where it is stopped: the same call goes on."""
        for fold in range(len(self.held)):
            run = self.run(fold)
            begun = (run / "manifest.json").is_file()
            if begun and read_manifest(run)["status"] == "finished":
                continue
            tell(one_line(f"fold {fold + 1} of {len(self.held)}: {run}"))
            path, resume = ("", str(run)) if begun else (str(run), "")
            try:
                train_tagger(self._settings(fold), replace(options, path=path, resume=resume))
            except Preempted as stopped:
                raise Preempted(f"{stopped}; the same command resumes it") from None

    def _settings(self, fold: int) -> TaggerConfig:
        train, held = (os.path.abspath(self.folder / f"fold_{fold}.{part}.conll") for part in ("train", "held"))
        return replace(self.config, train=train, valid=held, test=held)


def settings_for(config: TaggerConfig) -> TaggerConfig:
    """The settings of a fold's run: nothing is chosen by what is held out, since its labels are what is in doubt.

    ConfigError for another tagger to go on from or to learn from, which may have seen them.
    """
    for name in ("start_from", "teacher"):
        if value := config.to_dict()[name]:
            raise ConfigError(f"{name}: expected none, since that tagger may have seen the labels in doubt, got {value}")
    return replace(
        config, train="", valid="", test="", word_column=0, tag_column=-1, docstart="drop", repair=False,
        devices=1, shards=1, test_weights="last", patience=0, deterministic=True,
    )  # fmt: skip


def begin(
    labeled: LabeledFile, config: TaggerConfig, folds: int, folder: str, root: str, tell: Callable[[str], None]
) -> CrossValidation:
    """Open the folder of a cross-validation, or the one that was begun with the same data and settings.

    Args:
        labeled: the file.
        config: settings of the taggers, with ``vectors`` named.
        folds: how many.
        folder: "" for one below ``root`` whose name says what it was begun with.
        root: where such folders are.
        tell: hears what cannot be judged.

    Raises:
        ConfigError: fewer documents than folds, or a folder that was begun with something else.
    """
    config = settings_for(config)
    held = assign(labeled, folds, config.seed)
    unknown = unknown_types(labeled, held)
    if found := sorted(set[str]().union(*unknown)):
        tell(f"types that occur in a single fold, so that no tagger can judge them: {listed(found, 10)}")
    settings = {name: value for name, value in config.settings().items() if name != "data"}
    described: dict[str, Any] = {
        "format": FORMAT, "data": labeled.path.name, "sha256": labeled.sha256(), "scheme": labeled.scheme,
        "folds": folds, "settings": digest(settings),
    }  # fmt: skip
    name = digest(described)
    path = Path(folder) if folder else Path(root) / f"{labeled.path.stem}-{name[:12]}"
    found_there = _begun(path)
    if found_there is None:
        _write(path, labeled, config, held, unknown, described)
    elif found_there != described:
        raise ConfigError(f"run: {path} was started with other data or settings; give --run another folder")
    return CrossValidation(path, labeled, config, held, unknown)


def _begun(path: Path) -> dict[str, Any] | None:
    if not os.path.lexists(path / FOLDS):
        if path.is_dir() and any(path.iterdir()) and not (path / BEGUN).is_file():
            raise ConfigError(f"run: {path} holds other files; give --run another folder")
        return None
    try:
        found = read_json(path, FOLDS)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path / FOLDS}: expected the description of a cross-validation, got something else")
    return found


def _write(
    path: Path, labeled: LabeledFile, config: TaggerConfig, held: Sequence[Sequence[int]], unknown: Sequence[set[str]],
    described: dict[str, Any],
) -> None:  # fmt: skip
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / BEGUN).touch()  # first: where this is killed, the next one knows the files for its own
    except OSError as error:
        raise ConfigError(f"run: the folder {path} cannot be made ({error.strerror}); give --run another") from None
    for fold, numbers in enumerate(held):
        inside_it = set(numbers)
        train = [i for i in range(len(labeled.sentences)) if i not in inside_it]
        atomic_write(path / f"fold_{fold}.train.conll", "".join(_rows(labeled, train, set())))
        atomic_write(path / f"fold_{fold}.held.conll", "".join(_rows(labeled, numbers, unknown[fold])))
    atomic_write(path / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
    atomic_write(path / FOLDS, as_text(described))  # last: what it describes is there
    (path / BEGUN).unlink(missing_ok=True)


def _rows(labeled: LabeledFile, numbers: Sequence[int], without: set[str]) -> Iterator[str]:
    """The sentences as words and tags, with the borders of their documents; entities of the types ``without`` are O."""
    document = 0
    for i in numbers:
        sentence = labeled.sentences[i]
        if sentence.document != document:
            document = sentence.document
            yield f"{DOCSTART}\tO\n\n"
        tags = sentence.tags
        if without:
            kept = [span for span in to_spans(tags) if span.type not in without]
            tags = tuple(from_spans(kept, len(tags), labeled.target))
        yield format_sentence(Sentence(sentence.words, tags, separator="\t"))
