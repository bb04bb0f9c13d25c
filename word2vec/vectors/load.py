"""Reading vectors for a command: a run's own files are checked, and what was left out is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.job_progress import JobProgress
from training.run.folder import check_beside
from training.visible import counted
from word2vec.vectors.vectors import WordVectors, rule_path


def load(file: str, progress: JobProgress, tell: Callable[[str], None], skip_undecodable: bool = False) -> WordVectors:
    """The vectors in ``file``. DataError where they belong to a finished run and are not as it left them."""
    check_beside([Path(file), rule_path(file)], tell)
    loaded = WordVectors.load(
        file, progress=lambda done, total: progress(f"reading {file}", done, total), skip_undecodable=skip_undecodable
    )
    if loaded.undecodable:
        tell(f"{file}: {counted(loaded.undecodable, 'word')} in another encoding than UTF-8 left out")
    if loaded.repeated:
        tell(f"{file}: {counted(loaded.repeated, 'repeated word')} left out; each keeps its first vector")
    return loaded
