"""A run that was begun with the same settings, inputs and code before: it has, or will have, the same bits."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from training.config import TrainConfig
from training.files import versions
from training.run import environment
from training.run.folder import read_manifest


def earlier_run(folder: Path, config: TrainConfig, digests: Collection[str]) -> Path | None:
    """The newest ``version_N`` in ``folder`` that is the same experiment, finished or not.

    Args:
        folder: where the runs of the kind are.
        config: the settings.
        digests: SHA-256 of all inputs.

    Returns:
        The run's folder; None where there is none.

    Raises:
        DataError: a manifest that cannot be read.
    """
    source, packages = environment.code()["source_sha256"], environment.packages()
    for path in versions(folder).values():
        if not os.path.lexists(path / "manifest.json"):
            continue
        described = read_manifest(path)
        was = {name: described["config"].get(name) for name in config.settings()}
        same_code = described.get("code", {}).get("source_sha256") == source
        same_packages = described.get("environment", {}).get("packages") == packages
        inputs = {each["sha256"] for each in described["inputs"].values()}
        if was == config.settings() and inputs == set(digests) and same_code and same_packages:
            return path
    return None
