"""Commands that compute nothing start without torch: it takes seconds to import, they take tenths of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ner.config import TaggerConfig
from training import checkpoint
from training.digest import weights_sha256
from training.run.folder import Run

ROOT = Path(__file__).resolve().parents[2]

# Runs each line of standard input as a command in this one process, and says what it has imported of what is slow.
WALK = """
import sys
from click.testing import CliRunner
import cli

def help_of(group, name=""):
    for each, command in group.commands.items():
        full = f"{name} {each}".strip()
        yield f"{full} --help"
        if hasattr(command, "commands"):
            yield from help_of(command, full)

slow = sys.argv[1].split()
for line in [*help_of(cli.main), "--help", "--version", *sys.stdin.read().splitlines()]:
    result = CliRunner().invoke(cli.main, line.split())
    found = [name for name in slow if name in sys.modules]
    if result.exit_code or found:
        sys.exit(f"{line}: exit code {result.exit_code}, imported {found}: {result.output}")
"""


def walk(slow: str, *lines: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WALK, slow], input="\n".join(lines), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all that commands look at, made by hand."""
    root = tmp_path_factory.mktemp("start")
    run = Run.create("ner", TaggerConfig(), path=str(root / "ner" / "version_0"))
    weights = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    checkpoint.save(run.path / "checkpoints" / "model.ckpt", {"weights": weights})
    (run.path / "predictions.conll").write_text("Ada\tB-PER\tB-PER\nflew\tO\tO\n\n")
    run.finish(weights_sha256(weights), {"test_f1": 0.5})
    return run.path


def test_helps_lists_and_comparisons_import_neither_torch_nor_numpy(run: Path) -> None:
    walk("torch tensorboard numpy seqeval", f"runs list --root {run.parent.parent}", f"diff {run} {run}")


def test_commands_on_data_and_groups_import_no_torch(run: Path, small_data: Path, tmp_path: Path) -> None:
    train = small_data / "train.conll"
    lines = (f"data check {train}", f"data repair {train} {tmp_path / 'mended.conll'}", f"compare {run} {run}")
    walk("torch tensorboard sklearn pandas scipy", *lines)
