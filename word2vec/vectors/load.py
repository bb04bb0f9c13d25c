"""Reading vectors for a command: a run's own files are checked, and what was left out is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.job_progress import JobProgress
from training.run.folder import check_beside
from word2vec.vectors.vectors import WordVectors, rule_path


def load(file: str, progress: JobProgress, tell: Callable[[str], None], skip_undecodable: bool = False) -> WordVectors:
    """The vectors in ``file``. DataError where they belong to a finished run and are not as it left them."""
    check_beside([Path(file), rule_path(file)], tell)
    loaded = WordVectors.load(
        file, progress=lambda done, total: progress(f"reading {file}", done, total), skip_undecodable=skip_undecodable
    )
    if loaded.undecodable:
        tell(f"{file}: {loaded.undecodable:,} words are not UTF-8 and were left out")
    if loaded.repeated:
        tell(f"{file}: {loaded.repeated:,} words stood there twice; the first vector of each was taken")
    return loaded
