"""--quiet: nothing is printed but errors, whichever command trains, and whatever state its run is in."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli
from training.commands import side_by_side
from training.determinism import portable
from training.run.preemption import Keeper

NER = "--vectors none --hidden-size 4 --word-dim 4 --characters none --features-dim 0 --batch-size 4 --threads 1"
NER += " --max-epochs 2 --checkpoint-every 1 --num-sanity-val-steps 0"
ROWS = "Ada B-PER\nflew O\nto O\nOslo B-LOC\n\nBo B-PER\nwon O\nin O\nRome B-LOC\n\n"
COMMANDS = {
    "train-ner": f"train-ner --data . {NER}",
    "train-ner --portable": f"train-ner --data . {NER} --portable",
    "train-ner --seeds": f"train-ner --data . {NER} --seeds 2",
    "train-ner --seeds --jobs": f"train-ner --data . {NER} --seeds 2 --jobs 2",
    "train-w2v": "train-w2v --corpus text.txt --dim 4 --epochs 2 --batch-words 64 --threads 1 --checkpoint-every 1",
    "train-lm": "train-lm --corpus text.txt --dim 4 --hidden-size 4 --epochs 2 --batch-words 64 --threads 1",
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and finished runs of two seeds, which stand in for those that other processes train."""
    folder = tmp_path_factory.mktemp("quiet")
    for name in ("train", "valid", "test"):
        (folder / f"{name}.conll").write_text(4 * ROWS)
    (folder / "text.txt").write_text("Ada flew to Oslo and Bo won in Rome .\n" * 60)
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(portable, "begin", lambda asked, **how: None)  # or pytest would start itself anew
    monkeypatch.setattr(portable, "check", lambda: None)
    monkeypatch.setattr(side_by_side, "_command", stand_in)


def stand_in(command: str, folder: Path, seed: int, allow_changes: bool) -> list[str]:
    """In place of a training in a process of its own: it is stopped at once, and ends when it is begun again."""
    run, first = folder / f"seed_{seed}", folder / f".begun-{seed}"
    if not first.exists() and "stopped" in folder.name:
        first.touch()
        return [sys.executable, "-S", "-c", "raise SystemExit(75)"]
    return ["cp", "-r", str(Path("group") / f"seed_{seed}"), str(run)]


def run(words: str, capfd: pytest.CaptureFixture[str]) -> Result:
    """A command with --quiet; nothing is printed beside click's streams either."""
    done = CliRunner().invoke(cli.main, [*words.split(), "--quiet"])
    assert capfd.readouterr() == ("", ""), words
    return done


def stop_after(steps: int) -> Callable[..., Any]:
    whole = Keeper.__call__

    def call(self: Keeper, trainer: Any) -> None:
        if trainer.global_step >= steps:
            self.stop("asked to")
        whole(self, trainer)

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_printed_but_what_ends_a_command_early(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """New and stopped, resumed, finished; and a new one that nothing stops."""
    words, folder = COMMANDS[name], name.replace(" ", "")
    if "--jobs" in name and not Path("group").exists():
        assert run(f"{COMMANDS['train-ner --seeds']} --run group", capfd).exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "__call__", stop_after(1))
        done = run(f"{words} --run {folder}-stopped", capfd)
    assert done.exit_code == 75
    assert [line.split(":")[0].split(" at ")[0] for line in done.output.splitlines()] == (
        ["2 of 2 seeds were stopped", "resume with"] if "--jobs" in name else ["stopped", "resume with"]
    )
    resume = f"{words.split()[0]} --resume {folder}-stopped" + " --jobs 2" * ("--jobs" in name)
    for _ in ("stopped", "finished"):
        done = run(resume, capfd)
        assert (done.exit_code, done.output) == (0, "")
    if name in ("train-ner", "train-w2v"):
        done = run(f"{words} --run {folder}-new", capfd)
        assert (done.exit_code, done.output) == (0, "")


CHANGES: dict[str, Callable[[Path], str]] = {}


def change(make: Callable[[Path], str]) -> Callable[[Path], str]:
    CHANGES[make.__name__.replace("_", " ")] = make
    return make


@change
def no_checkpoint(folder: Path) -> str:
    shutil.rmtree(folder / "checkpoints")
    return ""


@change
def a_damaged_checkpoint(folder: Path) -> str:
    newest = max((folder / "checkpoints").glob("resume-*.ckpt"), key=lambda path: int(path.stem.split("-")[1]))
    newest.write_bytes(newest.read_bytes()[:-10])
    return ""


@change
def other_settings(folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_epochs": 3}))
    return "--allow-changes"


@change
def another_machine(folder: Path) -> str:
    path = folder / "manifest.json"
    described = json.loads(path.read_text())
    described["environment"]["threads"] = 7
    path.write_text(json.dumps(described))
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train-ner", "train-w2v"])
def test_what_a_resume_tells_is_not_told(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "__call__", stop_after(2))
        assert run(f"{COMMANDS[name]} --run {name}-left --keep-checkpoints", capfd).exit_code == 75
    for what, make in CHANGES.items():
        folder = Path(f"{name}-{what.replace(' ', '-')}")
        shutil.copytree(f"{name}-left", folder)
        more = make(folder)
        told = CliRunner().invoke(cli.main, [*f"{name} --resume {folder} --no-progress {more}".split()])
        assert told.exit_code == 0, told.output
        assert "no checkpoint" in told.output or "trying the one before" in told.output or "changed" in told.output
        shutil.rmtree(folder)
        shutil.copytree(f"{name}-left", folder)
        done = run(f"{name} --resume {folder} {make(folder)}", capfd)
        assert (done.exit_code, done.output) == (0, ""), what
        capfd.readouterr()
