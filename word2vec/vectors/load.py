"""Reading vectors for a command: a run's own files are checked, and what was left out is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.errors import DataError
from training.job_progress import JobProgress
from training.run.folder import check_beside, read_manifest, status_of
from training.run.groups import is_group, seeds_of
from training.values import shown
from training.visible import counted
from word2vec.config import KIND
from word2vec.vectors.vectors import WordVectors, rule_path

BINARY = "vectors.bin"


def file_of(path: str | Path) -> Path:
    """The file of vectors that ``path`` stands for: of a train-w2v run's folder its vectors.bin, else itself.

    DataError for a group of runs, a run of another kind, and a run that has no vectors yet.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    if is_group(folder):
        one = folder / f"seed_{seeds_of(folder)[0]}"
        raise DataError(f"{folder}: expected word vectors, got a group of runs; name one of them, as {one}")
    if (folder / "manifest.json").is_file():
        described = read_manifest(folder)
        if described["kind"] != KIND:
            raise DataError(f"{folder}: expected word vectors, got a run of kind {shown(described['kind'])}")
        if not (folder / BINARY).is_file():
            status = status_of(folder, described)
            raise DataError(f"{folder}: expected a finished run with {BINARY}, got one that is {status} and has none")
    return folder / BINARY if (folder / BINARY).is_file() else folder


def load(path: str, progress: JobProgress, tell: Callable[[str], None], skip_undecodable: bool = False) -> WordVectors:
    """The vectors in a file or a run. DataError where they belong to a finished run and are not as it left them."""
    file = file_of(path)
    check_beside([file, rule_path(file)], tell)
    loaded = WordVectors.load(
        file, progress=lambda done, total: progress(f"reading {file}", done, total), skip_undecodable=skip_undecodable
    )
    if loaded.undecodable:
        tell(f"{file}: {counted(loaded.undecodable, 'word')} in another encoding than UTF-8 left out")
    if loaded.repeated:
        tell(f"{file}: {counted(loaded.repeated, 'repeated word')} left out; each keeps its first vector")
    return loaded
