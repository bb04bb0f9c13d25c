"""No command replaces what it was not told to replace: whatever has the name of what is to be written, of any command."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from tests.commands.test_standard_streams import ARGUMENTS, place
from training.errors import ConfigError
from training.files import check_new, check_new_file
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors, rule_path

__all__ = ["place"]
OPTIONS = {"predict": "--to RUN", "evaluate": "--html RUN", "verify": "--to RUN", "data convert": "--to jsonl"}
GOES_ON = ("data suspects",)  # in a folder of its own; what else is there is refused
WRITING = {
    name: f"{words} {OPTIONS.get(name, '')}".replace("RUN.jsonl", "RUN")
    for name, words in ARGUMENTS.items()
    if "RUN" in words + OPTIONS.get(name, "") and name not in GOES_ON
}
WRITING |= {f"{name} ": f"{WRITING[name]} --seeds 2" for name in ("train-ner", "train-w2v")}


def a_file(target: Path) -> None:
    target.write_text("mine")


def a_link(target: Path) -> None:
    target.with_name("other").write_text("mine")
    target.symlink_to("other")


def a_dangling_link(target: Path) -> None:
    target.symlink_to("gone")


def a_folder(target: Path) -> None:
    target.mkdir()


def a_pipe(target: Path) -> None:
    os.mkfifo(target)


THERE: list[Callable[[Path], None]] = [a_file, a_link, a_dangling_link, a_folder, a_pipe]


@pytest.mark.parametrize("name", WRITING)
def test_what_is_there_already_stays(place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for make in THERE:
        target = tmp_path / f"{make.__name__}.new"
        make(target)
        before = os.lstat(target), sorted(tmp_path.iterdir())
        words = f"{name} {WRITING[name]}".replace("RUN", str(target)).split()
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 2, (words, done.output)
        assert len([line for line in done.output.splitlines() if f"{target} exists already; give another" in line]) == 1
        assert (os.lstat(target), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize("name", WRITING)
def test_nothing_is_put_into_a_run(place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose seal it would break: the run's own folder, one in it, and that of a group."""
    monkeypatch.chdir(place)
    for mark, inner in (("manifest.json", "new"), ("manifest.json", "checkpoints/new"), ("group.json", "new")):
        folder = tmp_path / f"{mark}-{inner.replace('/', '-')}"
        (folder / inner).parent.mkdir(parents=True)
        (folder / mark).write_text("{}")
        before = sorted(folder.rglob("*"))
        done = CliRunner().invoke(cli.main, f"{name} {WRITING[name]}".replace("RUN", str(folder / inner)).split())
        assert done.exit_code == 2, (name, done.output)
        said = done.output.splitlines()[-1]
        assert re.search(rf"expected a (folder|place) outside of .*, got {folder / inner}, which is within {folder}$", said)
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", [each for each in WRITING if not each.startswith(("train", "verify"))])
def test_a_full_disk_is_no_fault_of_the_option(place: Path, name: str) -> None:
    """By a limit on the size of files: one line, exit code 1, and nothing is left."""
    target = place / f"full-{name.replace(' ', '-')}"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

    words = [sys.executable, cli.__file__, *f"{name} {WRITING[name]}".replace("RUN", str(target)).split()]
    done = subprocess.run(words, cwd=place, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "File too large" in errors[0]
    assert "give another" not in errors[0]
    assert not target.exists()


def test_a_folder_for_a_new_file_has_to_be_there(tmp_path: Path) -> None:
    check_new_file("--to", tmp_path / "new")
    check_new("--to", tmp_path / "gone" / "new")
    with pytest.raises(
        ConfigError, match=r"^--to: .*gone/new cannot be written: expected a name in a folder that is there$"
    ):
        check_new_file("--to", tmp_path / "gone" / "new")


def test_the_rule_of_other_vectors_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("2 2\nAda 0 1\nBo 1 0\n")
    some = WordVectors.load(tmp_path / "a.txt")
    own = WordVectors(some.words, some.matrix, TextRule(lowercase=True))
    own.save(tmp_path / "v.bin", "binary")
    result = CliRunner().invoke(cli.main, ["vectors", "convert", str(tmp_path / "a.txt"), str(tmp_path / "v.txt")])
    assert result.exit_code == 2
    assert f"TARGET: {rule_path(tmp_path / 'v.txt')} exists already" in result.output
    assert WordVectors.load(tmp_path / "v.bin").rule == own.rule
    assert not (tmp_path / "v.txt").exists()
    result = CliRunner().invoke(cli.main, ["vectors", "convert", str(tmp_path / "v.bin"), str(tmp_path / "v.txt")])
    assert result.exit_code == 0, result.output
    assert WordVectors.load(tmp_path / "v.txt").rule == own.rule
