"""A run that somebody else made harms nobody: names in it lead nowhere outside it, and links in it are not followed."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import cli
from ner.config import TaggerConfig
from ner.tagging.bundle import MANIFEST
from tests.conftest import head
from tests.fuzz.places import _reseal, _sealed
from training.callbacks.model_checkpoint import PATHS, ModelCheckpoint
from training.errors import SamebitsError
from training.run import seal
from training.run.groups import run_group
from training.run.script import Repetition

TINY = (
    "--vectors none --word-dim 4 --hidden-size 4 --characters none --features-dim 0 --topic-dim 0 --no-mentions "
    "--decoder softmax --batch-size 8 --max-epochs 1 --threads 1 --device cpu --no-progress --checkpoint-every 1 "
    "--keep-checkpoints"
).split()
FIELDS = (*PATHS, "best_k_models", "taken")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments])


def as_stopped(described: dict[str, Any]) -> dict[str, Any]:
    """A finished run's manifest as that of one that was stopped: without its results and its seal."""
    begun = ("kind", "argv", "config", "inputs", "code", "environment", "folder", "begun")
    return {**{name: described[name] for name in begun}, "status": "stopped"}


class Place:
    """A finished run, a bundle and a group in one folder, and beside it ``outside``, where nothing may change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.outside, self.run = folder, folder / "outside", folder / "runs" / "ner" / "version_0"
        self.bundle, self.group, self.data = folder / "bundle", folder / "runs" / "ner" / "group_0", folder / "data"

    def names(self, at: Path) -> dict[str, str]:
        """Names that are none, for something in the folder ``at``; some of them of files that are there."""
        canary = self.outside / "canary.ckpt"
        (at / "link.ckpt").symlink_to(canary)
        (at / "way").symlink_to(self.outside)
        return {
            "absolute": str(canary),
            "above": os.path.relpath(canary, at),
            "above, from below": f"deep/../{os.path.relpath(canary, at)}",
            "a link": "link.ckpt",
            "behind a link": "way/canary.ckpt",
            "empty parts": f"./{at.name}//..",
            "the folder": ".",
            "NUL": "a\x00.ckpt",
            "newline": "a\nerror: forged.ckpt",
            "escape": "\x1b[2J.ckpt",
            "very long": "a" * 5000 + ".ckpt",
            "no Unicode": "\ud800.ckpt",
            "no name": "/",
        }

    def stop(self) -> None:
        """The run as if it had been stopped at its second step."""
        described = json.loads((self.run / "manifest.json").read_text())
        (self.run / "manifest.json").write_text(json.dumps(as_stopped(described)))
        for path in sorted((self.run / "checkpoints").glob("resume-*.ckpt*"))[4:]:
            path.unlink()

    def change_state(self, entry: str, name: str) -> None:
        """Put a name into the ModelCheckpoint's state of every kept checkpoint."""
        for path in (self.run / "checkpoints").glob("resume-*.ckpt"):
            kept = torch.load(path, weights_only=True)
            for key, state in kept["callbacks"].items():
                if key.startswith("ModelCheckpoint"):
                    state[entry] = {"best_k_models": {name: 0.5}, "taken": [name]}.get(entry, name)
            torch.save(kept, path)
            _sealed(path)

    def change_manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        described = json.loads((self.run / "manifest.json").read_text())
        change(described)
        if "seal" in described:  # whoever makes a run can seal it
            described["seal"] = seal.of(described)
        (self.run / "manifest.json").write_text(json.dumps(described))

    def commands(self, run: Path) -> dict[str, list[object]]:
        """All that take a run, or a bundle in its place."""
        test = self.data / "test.conll"
        return {
            "predict": ["predict", run, test],
            "evaluate": ["evaluate", run, test],
            "export": ["export", run, self.folder / "exported"],
            "diff": ["diff", run, self.folder / "runs" / "ner" / "version_0"],
            "runs list": ["runs", "list", "--root", self.folder / "runs"],
            "runs card": ["runs", "card", run],
            "compare": ["compare", run, run],
            "verify": ["verify", run],
            "verify --from": ["verify", run, "--from", "1"],
            "resume": ["train-ner", "--resume", run, "--no-progress"],
        }


@pytest.fixture(scope="module")
def made(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("foreign"))
    place.data.mkdir()
    for name, count in (("train", 24), ("valid", 8), ("test", 8)):
        (place.data / f"{name}.conll").write_text(head(small_data / f"{name}.conll", count), encoding="utf-8")
    place.outside.mkdir()
    assert run("train-ner", "--data", place.data, *TINY, "--run", place.run).exit_code == 0
    assert run("export", place.run, place.bundle).exit_code == 0
    shutil.copytree(place.run, place.group / "seed_0")
    (place.group / "config.json").write_bytes((place.run / "config.json").read_bytes())
    (place.group / "group.json").write_text(json.dumps({"kind": "group", "seeds": [0]}))
    run_group(place.group, TaggerConfig, lambda config, path, started: None)  # its summary
    shutil.copyfile(place.run / "checkpoints" / "model.ckpt", place.outside / "canary.ckpt")
    shutil.copyfile(place.run / "checkpoints" / "model.ckpt.sha256", place.outside / "canary.ckpt.sha256")
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Iterator[Place]:
    """A copy; at the end nothing outside has changed."""
    copied = Place(Path(shutil.copytree(made.folder, tmp_path / "copy")))
    before = files(copied.outside)
    yield copied
    assert {name: files(copied.outside).get(name) for name in before} == before


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of the files below a folder, by name; links are not followed."""
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.is_file() and not p.is_symlink()}


def in_order(result: Result, printable: bool = True) -> Result:
    """No traceback, and at most one line of error, which is printable."""
    if isinstance(result.exception, Exception):
        raise result.exception
    if not printable:
        return result
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == (1 if result.exit_code == 2 else len(errors)), result.stderr
    assert all(line.isprintable() and len(line) < 1000 for line in errors), errors
    return result


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_every_name_in_every_entry_of_a_checkpoints_state(place: Place) -> None:
    folder = place.run / "checkpoints"
    model = ModelCheckpoint(folder, monitor="val_f1", mode="max", filename="best-{epoch}-{step}")
    good = {**model.state_dict(), "best_model_score": 0.5}
    names = {**place.names(folder), "another file": "config.json", "one to resume from": "resume-000001.ckpt", "number": 5}
    before = files(place.run)
    for entry in FIELDS:
        for name in names.values():
            state = {**good, entry: {"best_k_models": {name: 0.5}, "taken": [name]}.get(entry, name)}
            loaded = ModelCheckpoint(folder, monitor="val_f1", mode="max", filename="best-{epoch}-{step}")
            if entry == "taken":
                loaded.load_state_dict(state)  # such names are only compared: they are passed over
                assert all(folder in Path(path).parents and Path(path).name != ".." for path in loaded._taken)
            else:
                with pytest.raises(SamebitsError):
                    loaded.load_state_dict(state)
    assert files(place.run) == before


@pytest.mark.parametrize("number", range(len(FIELDS)), ids=FIELDS)
def test_a_checkpoints_state_read_by_verify_and_by_resume(place: Place, number: int) -> None:
    names = list(place.names(place.run / "checkpoints").values())
    place.stop()
    for i, command in enumerate(("verify --from", "resume")):
        if i != number % 2 and FIELDS[number] not in ("best_model_path", "_obsolete"):
            continue  # both load the state by the same way; verify copies the best weights, too
        name = names[(2 * number + i) % 5]
        place.change_state(FIELDS[number], name)
        place.change_manifest(partial(_update, status="stopped" if i else "finished"))
        before = files(place.run)
        result = in_order(run(*place.commands(place.run)[command]))
        copied = command == "verify --from" and name in ("link.ckpt", "way/canary.ckpt")  # where there is no link
        assert result.exit_code != 0 or copied or FIELDS[number] == "taken", (command, result.output)
        assert set(files(place.run)) >= {each for each in before if not each.startswith(("checkpoints/resume-", "events."))}
        if command != "resume":
            assert files(place.run) == before


def test_an_obsolete_file_that_the_template_does_not_name_stays(place: Place) -> None:
    """Nor does one that is so named, and that no Trainer wrote."""
    folder = place.run / "checkpoints"
    model = ModelCheckpoint(folder, monitor="val_f1", filename="best-{epoch}-{step}")
    (written,) = folder.glob("best-*.ckpt")
    shutil.copyfile(folder / "model.ckpt", folder / "best-epoch=7-step=9.ckpt")
    shutil.copyfile(written, folder / "best-epoch=7-step=9-v1.ckpt")
    for name in ("model.ckpt", "last.ckpt", "best-epoch=7-step=9.ckpt", "best-epoch=7-step=9-v1.ckpt"):
        model.load_state_dict({**model.state_dict(), "_obsolete": name})
        model._remove_obsolete()  # as when the fit starts
    left = {path.name for path in folder.glob("*.ckpt")}
    assert {"model.ckpt", "last.ckpt", "best-epoch=7-step=9.ckpt", written.name} <= left
    assert "best-epoch=7-step=9-v1.ckpt" not in left


@pytest.mark.parametrize("name", ["model.ckpt", "mine.ckpt", "best-epoch=0-step=9-mine.ckpt"])
def test_a_resumed_run_deletes_no_checkpoint_but_its_own(place: Place, name: str) -> None:
    folder = place.run / "checkpoints"
    place.stop()
    (written,) = folder.glob("best-*.ckpt")
    for suffix in ("", ".sha256"):
        shutil.copyfile(f"{written}{suffix}", folder / f"{name}{suffix}")
    for entry in ("best_model_path", "kth_best_model_path", "_saved_path", "_obsolete", "best_k_models"):
        place.change_state(entry, name)
    before = (folder / name).read_bytes()
    assert in_order(run(*place.commands(place.run)["resume"])).exit_code == 0
    assert (folder / name).read_bytes() == before or name == "model.ckpt"  # which the run itself writes at its end
    assert (folder / name).exists()


@pytest.mark.parametrize("name", ["../best", "/tmp/best", "a/../../b", "a\nb"])
def test_a_template_leads_nowhere_else_either(name: str) -> None:
    with pytest.raises(SamebitsError, match="filename: expected names inside the folder"):
        ModelCheckpoint("x", filename=name)


def _update(described: dict[str, Any], **values: Any) -> None:
    described.update(values)


def _add_output(described: dict[str, Any], name: str) -> None:
    described["outputs"][name] = "0" * 64


def _move_input(described: dict[str, Any], name: str) -> None:
    described["inputs"]["train"].update(path=name, sha256="0" * 64)


# -- manifests --------------------------------------------------------------------------------------------------------


def test_every_name_in_the_manifest_by_every_command(place: Place) -> None:
    names = place.names(place.run)
    good, before = (place.run / "manifest.json").read_text(), files(place.run)
    for name in names.values():
        (place.run / "manifest.json").write_text(good)
        place.change_manifest(partial(_add_output, name=name))
        for command, arguments in place.commands(place.run).items():
            if command in ("verify", "diff", "runs list", "resume"):
                result = in_order(run(*arguments))
                assert result.exit_code == 2 or command == "runs list" or name in ("link.ckpt", "way/canary.ckpt"), name
    for name in names.values():
        (place.run / "manifest.json").write_text(good)
        place.change_manifest(partial(_move_input, name=name))
        for command in ("verify", "predict", "diff", "runs list", "compare"):
            result = in_order(run(*place.commands(place.run)[command]), printable=False)
            assert result.exit_code == 2 or command != "verify", (name, result.output)
    (place.run / "manifest.json").write_text(good)
    assert files(place.run) == before


# -- links ------------------------------------------------------------------------------------------------------------

USES = ("predict", "evaluate", "export")
PARTS = {
    "manifest.json": (*USES, "diff", "compare", "verify", "resume"), "config.json": (*USES, "verify", "resume"),
    "indexer.json": USES, "metrics.jsonl": ("diff", "verify", "resume"), "ledger.jsonl": ("diff", "verify", "resume"),
    "timings.jsonl": ("resume",), "predictions.conll": ("compare", "verify"), ".lock": ("resume",), "events": (),
    "checkpoints": (*USES, "verify", "resume"), "checkpoints/model.ckpt": (*USES, "verify"),
    "checkpoints/resume-000002.ckpt": ("resume",), "checkpoints/best": (),
}  # fmt: skip
"""Parts of a run, and the commands that need them."""


def put_link(place: Place, name: str, folder: Path) -> None:
    """Move a part of the run outside, and put a link in its place."""
    found = sorted(folder.glob(f"{name}*")) or [folder / name]
    path = found[0]
    target = place.outside / path.name
    if path.exists():
        shutil.move(path, target)
    else:
        target.write_text("kept")
    path.symlink_to(target)


@pytest.mark.parametrize("name", PARTS)
def test_a_link_in_place_of_a_part_is_not_followed(made: Place, tmp_path: Path, name: str) -> None:
    for status in ("finished", "stopped"):
        place = Place(Path(shutil.copytree(made.folder, tmp_path / status)))
        if status == "stopped":
            place.stop()
        put_link(place, name, place.run)
        before = files(place.outside)
        for command, arguments in place.commands(place.run).items():
            needed = command in PARTS[name]
            if (command == "resume") == (status == "stopped") and (needed or command == "resume"):
                result = in_order(run(*arguments))
                assert (result.exit_code != 0) == needed, (command, result.output)
        assert files(place.outside) == before


def test_what_a_resumed_run_will_write_is_not_written_through_links(place: Place) -> None:
    """A file outside for each that a run comes to hold, and links to all of them in the stopped run, TensorBoard's too."""
    held = [name for name in files(place.run) if name != ".lock"]
    place.stop()
    later = [name for name in held if not (place.run / name).exists()]
    for name in "checkpoints/model.ckpt checkpoints/last.ckpt predictions.conll test_report.txt test_report.html".split():
        (place.run / name).unlink()
        later.append(name)
    for i, name in enumerate(later):
        (place.outside / str(i)).write_text("kept")
        (place.run / name).symlink_to(place.outside / str(i))
    before = files(place.outside)
    assert in_order(run(*place.commands(place.run)["resume"])).exit_code == 2  # a link is no checkpoint to resume from
    for path in (place.run / "checkpoints").glob("resume-*"):
        if path.is_symlink():
            path.unlink()
    assert in_order(run(*place.commands(place.run)["resume"])).exit_code == 0
    assert files(place.outside) == before
    assert not any((place.run / name).is_symlink() for name in later)


@pytest.mark.parametrize("name", ["projector_config.pbtxt", "00003", "00003/words", "00003/words/tensors.tsv"])
def test_tensorboards_own_files_are_not_written_through_links(place: Place, name: str) -> None:
    place.stop()
    put_link(place, name, place.run)
    before = files(place.outside)
    assert in_order(run(*place.commands(place.run)["resume"])).exit_code == 2
    assert files(place.outside) == before


def test_a_copy_of_hard_links_leaves_its_original_alone(place: Place) -> None:
    place.stop()
    copy = shutil.copytree(place.run, place.folder / "linked", copy_function=os.link)
    before = files(place.run)
    assert in_order(run(*place.commands(copy)["resume"])).exit_code == 0
    assert files(place.run) == before


# -- odd files --------------------------------------------------------------------------------------------------------

TERABYTE = 1 << 40


def _bind(path: Path) -> None:
    at = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{at}/{path.name}")  # a socket's own name is short
    os.close(at)


ODD: dict[str, Callable[[Path, Path], object]] = {
    "pipe": lambda path, was: os.mkfifo(path), "socket": lambda path, was: _bind(path),
    "link to /dev/zero": lambda path, was: path.symlink_to("/dev/zero"), "folder": lambda path, was: path.mkdir(),
    "link to the same": lambda path, was: path.symlink_to(was), "link to itself": lambda path, was: path.symlink_to(path),
    "sparse": lambda path, was: _with_holes(path, was), "holes": lambda path, was: _with_holes(path, None),
}  # fmt: skip


def _with_holes(path: Path, was: Path | None) -> None:
    """What stood there, and no end of zeros behind it, which take no room on the disk."""
    path.write_bytes(was.read_bytes() if was else b"")
    os.truncate(path, TERABYTE)


class Late(BaseException):
    """It takes too long. No OSError, as a TimeoutError is: a command would make a line of it."""


@contextmanager
def little_time_and_memory() -> Iterator[None]:
    """An error where the body takes more than five seconds, or half a gigabyte more than there is."""

    def late(number: int, frame: object) -> None:
        raise Late

    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_seen: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _seen is not None:
        _seen.append(str(arguments[0]))


@contextmanager
def opened() -> Iterator[list[str]]:
    """The paths of the files that are opened while the body runs."""
    global _seen
    if not hasattr(_watch, "there"):  # a hook stays for good
        sys.addaudithook(_watch)
        _watch.there = True  # type: ignore[attr-defined]
    found: list[str] = []
    _seen = found
    try:
        yield found
    finally:
        _seen = None


LOOK_AT_ALL = ("verify", "verify --from", "diff", "diff the other way", "runs list")
"""Commands that look at all files of a run by one function: each odd file is given to one of them, in turn."""


def try_odd_files(folder: Path, commands: dict[str, list[object]], rest: Path, resumed: bool = False) -> int:
    """Put something odd into the place of each file that a command opens: it ends in one line, or as if nothing were.

    A run that is ``resumed`` goes on: it is copied for that.
    """
    number = 0
    for command, arguments in commands.items():
        shutil.copytree(folder, rest / "kept")
        with opened() as paths:
            done = run(*arguments)
            assert done.exit_code in (0, 1, 75), done.output[-2000:]
        shutil.rmtree(folder)
        (rest / "kept").rename(folder)
        names = sorted({os.path.relpath(path, folder) for path in paths if Path(path).is_relative_to(folder)})
        assert names, command
        for name, odd in itertools.product([name for name in names if (folder / name).is_file()], ODD):
            number += 1
            if command not in LOOK_AT_ALL or command == LOOK_AT_ALL[number % len(LOOK_AT_ALL)]:
                _try(folder, name, odd, arguments, rest, resumed)
    return number


def _try(folder: Path, name: str, odd: str, arguments: list[object], rest: Path, resumed: bool) -> None:
    if resumed:
        shutil.copytree(folder, rest / "kept")
    path, was = folder / name, rest / "was"
    path.rename(was)
    ODD[odd](path, was)
    try:
        with little_time_and_memory():
            result = in_order(run(*arguments))
        assert "not enough memory" not in result.output
        assert result.exit_code in (0, 1, 2, 75)
    except BaseException:
        print(f"{odd} in place of {name}: {arguments}")
        raise
    if resumed:
        shutil.rmtree(folder)
        (rest / "kept").rename(folder)
        was.unlink()
    else:
        path.rmdir() if odd == "folder" else path.unlink()
        was.rename(path)


def as_earlier(described: dict[str, Any]) -> dict[str, Any]:
    """A finished run's manifest as one of an earlier version: nothing says what its files are."""
    return {name: value for name, value in described.items() if name not in (*seal.MARKS, "unsealed", "outputs")}


@pytest.fixture
def unrepeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """verify takes the run itself for its repetition."""

    def repeat(described: dict[str, Any], folder: str, asked: Repetition) -> bool:
        again = Path(asked.folder)
        if not asked.resume:
            (again / "checkpoints").mkdir(parents=True)
            (again / "manifest.json").write_text(json.dumps({**as_stopped(described), "status": "finished"}))
        return True

    monkeypatch.setattr("training.commands.repeat.repeat", repeat)


@pytest.mark.usefixtures("unrepeated")
@pytest.mark.parametrize("whose", ["run", "earlier", "group", "bundle"])
def test_odd_files_in_what_somebody_made(place: Place, tmp_path: Path, whose: str) -> None:
    shutil.copytree(place.run, place.folder / "good")
    if whose == "earlier":
        described = json.loads((place.run / "manifest.json").read_text())
        (place.run / "manifest.json").write_text(json.dumps(as_earlier(described)))
    folder = {"group": place.group, "bundle": place.bundle}.get(whose, place.run)
    commands = place.commands(folder)
    commands["diff the other way"] = ["diff", place.folder / "good", folder]
    commands["compare"] = ["compare", folder, place.folder / "good"]
    wanted = {"group": ("compare", "verify", "runs list", "resume"), "bundle": ("predict", "evaluate")}.get(whose, commands)
    before = files(folder)
    assert try_odd_files(folder, {name: commands[name] for name in wanted}, tmp_path) >= 80
    assert files(folder) == before


def test_odd_files_in_a_stopped_run(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    place.stop()
    resume = [*place.commands(place.run)["resume"], "--max-time", "0s"]
    assert try_odd_files(place.run, {"resume": resume}, tmp_path, resumed=True) >= 64


# -- groups and bundles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["group.json", "config.json", "seed_0", "seed_0.log", "seed_0/manifest.json"])
def test_a_link_in_place_of_a_part_of_a_group(place: Place, name: str) -> None:
    """Seeds of a group are trained in processes of their own, with a log in its folder."""
    if name == "seed_0.log":
        described = json.loads((place.group / "seed_0" / "manifest.json").read_text())
        (place.group / "seed_0" / "manifest.json").write_text(json.dumps(as_stopped(described)))
    put_link(place, name, place.group)
    before = files(place.outside)
    jobs = 2 if name == "seed_0.log" else 1
    resumed = in_order(run("train-ner", "--resume", place.group, "--jobs", jobs, "--no-progress"))
    compared = in_order(run("compare", place.group, place.group))
    in_order(run("runs", "list", "--root", place.folder / "runs"))
    assert (resumed.exit_code, compared.exit_code) == (2, 2), resumed.output
    assert files(place.outside) == before


@pytest.mark.parametrize("seed", ['"../../x"', '"/etc"', '""', "null", "-1", "[0]", '"0\\u0000"', "1" + "0" * 5000, "{}"])
def test_a_seed_that_is_none(place: Place, seed: str) -> None:
    (place.group / "group.json").write_text(f'{{"seeds": [{seed}]}}')
    for command in (["compare", place.group, place.group], ["train-ner", "--resume", place.group, "--no-progress"]):
        assert in_order(run(*command)).exit_code == 2
    in_order(run("runs", "list", "--root", place.folder / "runs"))


def test_every_name_and_a_link_for_every_file_of_a_bundle(place: Place) -> None:
    good = (place.bundle / MANIFEST).read_bytes()
    test = place.data / "test.conll"
    for name in place.names(place.folder).values():
        described = json.loads(good)
        described["files"][name] = {"bytes": 1, "sha256": ""}
        (place.bundle / MANIFEST).write_text(json.dumps(described))
        _reseal(place.bundle)
        assert in_order(run("predict", place.bundle, test)).exit_code == 2
    (place.bundle / MANIFEST).write_bytes(good)
    for path in sorted(place.bundle.iterdir()):
        shutil.move(path, place.outside / path.name)
        path.symlink_to(place.outside / path.name)
        for command in ("predict", "evaluate"):
            assert in_order(run(command, place.bundle, test)).exit_code == 2, path
        path.unlink()
        shutil.move(place.outside / path.name, path)
    assert run("predict", place.bundle, test).exit_code == 0


def test_a_bundles_weights_are_those_of_the_run_that_it_names(place: Place) -> None:
    data = bytearray((place.bundle / "weights.bin").read_bytes())
    data[0] ^= 1
    (place.bundle / "weights.bin").write_bytes(data)
    _reseal(place.bundle)
    refused = in_order(run("predict", place.bundle, place.data / "test.conll"))
    assert refused.exit_code == 2
    assert "its weights are not those of the run that it names as its source" in refused.stderr


SHAPES = ([0, 2**62], [2**62, 0], [0, 2**39, 2**39], [0, *[2**30] * 7], [2**62], [0, 0, 2**63], [0, -1])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tensor_of_no_numbers_and_a_huge_shape(place: Place, shape: list[int]) -> None:
    index = json.loads((place.bundle / "weights.json").read_text())
    index.insert(0, {"name": "more", "dtype": "float32", "shape": shape})
    (place.bundle / "weights.json").write_text(json.dumps(index))
    _reseal(place.bundle)
    assert in_order(run("predict", place.bundle, place.data / "test.conll")).exit_code == 2


# -- word vectors -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "w2v"
    stop = ["--max-time", "0s", "--dim", 4, "--epochs", 1, "--threads", 1, "--no-progress"]
    assert run("train-w2v", "--corpus", small_text, *stop, "--run", folder).exit_code == 75
    return folder


@pytest.mark.parametrize("name", ["corpus.ids", "corpus.ids.json", "corpus.ids.first.part", "vocab.tsv", "checkpoints"])
def test_a_link_in_a_stopped_run_of_word_vectors(stopped: Path, tmp_path: Path, name: str) -> None:
    folder, outside = Path(shutil.copytree(stopped, tmp_path / "w2v")), tmp_path / "outside"
    outside.write_text("kept")
    if (folder / name).exists():
        shutil.rmtree(folder / name) if name == "checkpoints" else (folder / name).unlink()
    (folder / name).symlink_to(outside)
    if name.endswith(".part"):
        (folder / "corpus.ids.json").unlink()
    result = in_order(run("train-w2v", "--resume", folder))
    assert result.exit_code == (75 if name.endswith(".part") else 2), result.output
    assert outside.read_text() == "kept"


@pytest.mark.usefixtures("unrepeated")
def test_odd_files_in_a_run_of_word_vectors(made: Place, small_text: Path, tmp_path: Path) -> None:
    """Finished; in a folder that is no run, the text rule beside the vectors, which nobody names."""
    text, folder, alone = tmp_path / "text", tmp_path / "runs" / "w2v" / "version_0", tmp_path / "alone"
    text.write_text("\n".join(small_text.read_text().splitlines()[:40]) + "\n")
    tiny = ["--dim", 4, "--epochs", 1, "--min-count", 1, "--threads", 1, "--device", "cpu", "--no-progress"]
    assert run("train-w2v", "--corpus", text, *tiny, "--run", folder).exit_code == 0
    shutil.copytree(folder, tmp_path / "good")
    train = ["train-ner", *TINY, "--data", made.data, "--fast-dev-run", 1, "--vectors", folder, "--run", tmp_path / "new"]
    commands: dict[str, list[object]] = {
        "nearest": ["vectors", "nearest", folder / "vectors.bin", "the"], "train": train,
        "diff": ["diff", folder, tmp_path / "good"], "diff the other way": ["diff", tmp_path / "good", folder],
        "runs list": ["runs", "list", "--root", tmp_path / "runs"], "verify": ["verify", folder],
    }  # fmt: skip
    assert try_odd_files(folder, commands, tmp_path) >= 100
    alone.mkdir()
    for name in ("vectors.bin", "vectors.rule.json"):
        shutil.copyfile(folder / name, alone / name)
    for odd in ODD:
        _try(alone, "vectors.rule.json", odd, ["vectors", "nearest", alone / "vectors.bin", "the"], tmp_path, False)


def test_odd_files_in_a_stopped_run_of_word_vectors(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    folder = Path(shutil.copytree(stopped, tmp_path / "w2v"))
    resume: dict[str, list[object]] = {"resume": ["train-w2v", "--resume", folder, "--max-time", "0s"]}
    assert try_odd_files(folder, resume, tmp_path, resumed=True) >= 64
