"""Runs of a user's own program: kept, killed, resumed, repeated; by an experiment, and by a Trainer alone."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import cli
from tests import running
from tests.running import Done, manifest
from tests.training.toytask import Line, fixed
from training.config import TrainConfig
from training.errors import ConfigError, DataError, Preempted
from training.loop.callback import Callback
from training.loop.trainer import Trainer
from training.run import script, seal
from training.run.manifest import as_text
from training.run.own import experiment

PROGRAM = Path(__file__).resolve().parents[2] / "programs" / "half.py"


def program(folder: Path, *arguments: str, file: Path = PROGRAM) -> Done:
    """Run the program."""
    return running.program(file, folder, *arguments)


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, list(arguments))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were never disturbed: runs/half/version_0, runs/Classifier/version_0."""
    folder = tmp_path_factory.mktemp("whole")
    assert program(folder).code == 0
    assert program(folder, "--bare").code == 0
    return folder


def results(run: Path) -> tuple[Any, ...]:
    """What comes out of a run."""
    described = manifest(run)
    files = [(run / name).read_bytes() for name in ("metrics.jsonl", "ledger.jsonl")]
    return described["weights_sha256"], described["metrics"], described["status"], *files


def test_a_finished_run_says_what_it_is(whole: Path) -> None:
    described = manifest(whole / "runs/half/version_0")
    assert described["status"] == "finished"
    assert {"train_loss", "val_loss", "test_loss"} <= {*described["metrics"]}
    assert [*described["code"]["own"]] == ["half.py"]
    assert described["script"] == {"path": str(PROGRAM), "module": "", "number": 1}
    assert (whole / "runs/half/version_0/checkpoints/model.ckpt").is_file()


def test_a_bare_trainer_keeps_its_run_too(whole: Path) -> None:
    described = manifest(whole / "runs/Classifier/version_0")
    assert described["status"] == "finished"
    assert "test_loss" in described["metrics"]  # added after the fit
    assert results(whole / "runs/Classifier/version_0")[0] == results(whole / "runs/half/version_0")[0]
    steps = [json.loads(line) for line in (whole / "runs/Classifier/version_0/metrics.jsonl").read_text().splitlines()]
    assert "test_loss" in steps[-1]
    assert command("diff", *[str(whole / "runs" / name / "version_0") for name in ("half", "Classifier")]).exit_code in (
        0,
        1,
    )


KILLS = [
    (bare, at, number)
    for i, at in enumerate((1, 5, 6, 12))
    for bare in (False, True)
    for number in ((signal.SIGTERM, signal.SIGKILL) if i % 2 == bare else (signal.SIGINT,))
]


@pytest.mark.parametrize(("bare", "at", "number"), KILLS)
def test_killed_and_gone_on_with_it_ends_in_the_same_bits(
    whole: Path, tmp_path: Path, bare: bool, at: int, number: signal.Signals
) -> None:
    kind = ["--bare"] if bare else []
    run = tmp_path / "runs" / ("Classifier" if bare else "half") / "version_0"
    killed = program(tmp_path, *kind, "--kill-at", str(at), "--signal", str(int(number)))
    if number == signal.SIGKILL:
        assert killed.code == -number
    else:
        assert killed.code == 75, killed
        assert "stopped at epoch" in killed.said
        assert f"resume with {'ckpt_path' if bare else 'resume'}='" in killed.said
        assert "Traceback" not in killed.said
        assert manifest(run)["status"] == "stopped"
    on = program(tmp_path, *kind, *(["--last"] if bare else ["--resume", str(run)]))
    assert on.code == 0, on
    assert results(run) == results(whole / run.relative_to(tmp_path))
    assert not run.with_name("version_1").exists()


def test_a_finished_run_that_is_resumed_is_left_as_it_is(whole: Path) -> None:
    run = whole / "runs/half/version_0"
    before = (run / "manifest.json").read_bytes()
    done = program(whole, "--resume", str(run))
    assert done.code == 0
    assert "is finished: weights" in done.said
    assert (run / "manifest.json").read_bytes() == before


def test_other_settings_and_other_code_are_refused_on_resume(tmp_path: Path) -> None:
    copy = tmp_path / "half.py"
    copy.write_text(PROGRAM.read_text())
    assert program(tmp_path, "--kill-at", "3", file=copy).code == 75
    run = tmp_path / "runs/half/version_0"
    changed = program(tmp_path, "--resume", str(run), "--epochs", "3", file=copy)
    assert "the run began with something else (config.max_epochs: 2 → 3)" in changed.said
    assert "resume with allow_changes=True" in changed.said
    copy.write_text(copy.read_text().replace("lr=0.05", "lr=0.06"))
    changed = program(tmp_path, "--resume", str(run), file=copy)
    assert "own code.half.py" in changed.said


def test_verify_runs_the_program_again_if_it_is_named(whole: Path, tmp_path: Path) -> None:
    run = str(whole / "runs/half/version_0")
    unnamed = command("verify", run)
    assert unnamed.exit_code == 2
    assert f"--script {PROGRAM}" in unnamed.output
    other = tmp_path / "other.py"
    other.write_text("raise SystemExit('must not be run')")
    assert "expected the program that made" in command("verify", run, "--script", str(other)).output
    changed = tmp_path / "half.py"
    changed.write_text("raise SystemExit('must not be run')")
    assert "has changed since" in command("verify", run, "--script", str(changed)).output
    verified = command("verify", run, "--script", str(PROGRAM))
    assert "verified: same bits" in verified.output, verified.output
    assert verified.exit_code == 0


@pytest.mark.parametrize("link", ["link.py", "linked/half.py"])
def test_a_program_that_is_a_link_is_known_by_what_it_leads_to(tmp_path: Path, link: str) -> None:
    (tmp_path / "real").mkdir()
    started = tmp_path / link
    text = PROGRAM.read_text(encoding="utf-8").replace("annotations\n", "annotations\n\nimport beside\n", 1)
    (tmp_path / "real/half.py").write_text(text, encoding="utf-8")
    beside = tmp_path / "real/beside.py"
    beside.write_text("")
    if link == "link.py":
        started.symlink_to("real/half.py")
    else:
        started.parent.symlink_to("real")
    # An interpreter of its own, since which folder Python looks for modules in is what this is about.
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    subprocess.run([sys.executable, str(started)], cwd=tmp_path, env=environment, check=True, capture_output=True)
    run = str(tmp_path / "runs/half/version_0")
    assert set(manifest(tmp_path / "runs/half/version_0")["code"]["own"]) == {"half.py", "beside.py"}
    assert "verified: same bits" in command("verify", run, "--script", str(started)).output
    beside.write_text("CHANGED = True\n")
    assert "beside.py has changed since" in command("verify", run, "--script", str(started)).output


def test_ask_runs_the_program_again_if_it_is_named(whole: Path) -> None:
    run = str(whole / "runs/half/version_0")
    asked = ("ask", run, "--steps", "5:6", "--watch")
    assert f"--script {PROGRAM}" in command(*asked, "batch").output
    answered = command(*asked, "batch", "--watch", "loss", "--script", str(PROGRAM))
    assert answered.exit_code == 0, answered.output
    assert answered.stdout.count("as in the run's ledger") == 2
    assert answered.stdout.count("×2 float32") == 2
    assert "these are the run's own numbers" in answered.stdout
    unknown = command(*asked, "lss", "--script", str(PROGRAM))
    assert unknown.exit_code == 2
    assert "the nearest are loss" in unknown.output


ODD: list[Any] = [
    None, [], {}, "x", 5, True, "/etc/passwd", "../half.py", "a\nb", "\x00", -1, 10**400, [5], ["\x00"], ["x", "y"],
]  # fmt: skip


def test_what_a_run_says_of_its_program_may_be_anything(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value in each place: one line, and nothing but the program that is named is run."""
    ran: list[list[str]] = []

    def run_it(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("training.run.script.subprocess.run", run_it)
    run = tmp_path / "run"
    shutil.copytree(whole / "runs/half/version_0", run)
    good = manifest(run)
    places = [("script",), ("script", "path"), ("script", "module"), ("script", "number"), ("code", "own"),
              ("code", "own", "half.py"), ("code", "own", "../x.py"), ("code",), ("argv",), ("folder",)]  # fmt: skip
    for place, value in itertools.product(places, ODD):
        described = json.loads(json.dumps(good))
        at = described
        for name in place[:-1]:
            at = at[name]
        at[place[-1]] = value
        described["seal"] = seal.of(described)
        (run / "manifest.json").write_text(as_text(described))
        result = command("verify", str(run), "--script", str(PROGRAM))
        assert isinstance(result.exception, SystemExit), (place, value, result.exception)
        assert result.exit_code == 2, (place, value, result.output)
    assert {tuple(each[:2]) for each in ran} == {(sys.executable, str(PROGRAM))}


@pytest.mark.parametrize(
    "module", ["half", "pip", "json.tool", "programs.half", "half.__main__", "..half", "half;x", "-c", "ünix"]
)
def test_a_module_that_is_not_the_program_is_not_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """The run that names it, and the folder that it says it was started in, are somebody else's."""
    run, folder = tmp_path / "run", tmp_path / "theirs"
    shutil.copytree(whole / "runs/half/version_0", run)
    for name in ("half.py", "programs/half.py", "half/__main__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise SystemExit('must not be run')")
    described = manifest(run)
    described["script"]["module"] = module
    described |= {"folder": str(folder), "argv": [str(PROGRAM), "--help"]}
    (run / "manifest.json").write_text(as_text({**described, "seal": seal.of(described)}))
    monkeypatch.setattr("training.run.script.subprocess.run", lambda *_, **__: pytest.fail("it is run"))
    result = command("verify", str(run), "--script", str(PROGRAM))
    assert (result.exit_code, "which is another file" in result.output) == (2, True), result.output


def test_a_program_that_was_started_as_a_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/c.py", "d.py"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for module, folder in (("a.b.c", tmp_path), ("d", tmp_path), ("d", tmp_path / "a")):
        file = tmp_path / f"{module.replace('.', '/')}.py"
        script.check_module(script.Script(str(file), module, 1), str(folder))


def test_a_changed_program_is_run_again_where_changes_are_allowed(whole: Path, tmp_path: Path) -> None:
    changed = tmp_path / "half.py"
    changed.write_text(PROGRAM.read_text().replace("lr=0.05", "lr=0.06"))
    run = str(whole / "runs/half/version_0")
    refused = command("verify", run, "--script", str(changed))
    assert refused.exit_code == 2
    assert "has changed since" in refused.output
    allowed = command("verify", run, "--script", str(changed), "--allow-changes")
    assert allowed.exit_code == 1, allowed.output
    assert "code.own.half.py" in allowed.output


def test_a_program_that_goes_on_with_the_last_run_is_repeated_from_its_beginning(tmp_path: Path) -> None:
    assert program(tmp_path, "--bare", "--last").code == 0  # there was none
    verified = command("verify", str(tmp_path / "runs/Classifier/version_0"), "--script", str(PROGRAM))
    assert "verified: same bits" in verified.output, verified.output


def test_verify_from_a_checkpoint_and_up_to_a_step(whole: Path) -> None:
    run = str(whole / "runs/half/version_0")
    verified = command("verify", run, "--script", str(PROGRAM), "--from", "4", "--to-step", "9")
    assert "verified: same bits, steps 5 to 9" in verified.output, verified.output


def test_a_run_without_a_fit_or_with_two_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(device="cpu", max_epochs=1, progress=False)
    with pytest.raises(ConfigError, match="expected a Trainer to be run in it"), experiment("toy", config, root=tmp_path):
        pass
    assert not [*tmp_path.glob("toy/version_*")]
    with experiment("toy", config, root=tmp_path) as run:
        Trainer(run).fit(Line(), fixed())
        with pytest.raises(ConfigError, match="a run has one fit"):
            Trainer(run).fit(Line(), fixed())
    beside = pytest.raises(ConfigError, match="max_epochs: expected it in the experiment's settings")
    with beside, experiment("toy", config, root=tmp_path) as run:
        Trainer(run, max_epochs=3)


TOY = TrainConfig(device="cpu", max_epochs=1, progress=False)


@pytest.mark.parametrize(("inputs", "error", "message"), [
    ({"a": "gone.txt"}, DataError, 'gone.txt: expected a file, as the input "a", got nothing'),
    ({"a": "a\0b"}, DataError, "expected a file, as the input"),
    ({"a": "text", "b": "folder"}, DataError, "folder: expected a file, got a folder; name the files in it"),
    ({"a": Path("pipe")}, DataError, "pipe: expected a file, which can be read again, got a pipe, a device or a socket"),
    ({"a": "-"}, DataError, "-: expected a file, which can be read again, got standard input"),
    ({"a": ""}, ConfigError, 'inputs: expected the path of a file for "a", got ""'),
    ({"a": None}, ConfigError, 'inputs: expected the path of a file for "a", got null'),
    ({"a": ["text"]}, ConfigError, 'inputs: expected the path of a file for "a", got ["text"]'),
    ({1: "text"}, ConfigError, 'inputs: expected names in quotes, as {"train": "train.txt"}, got 1'),
    (["text"], ConfigError, 'inputs: expected paths by name, as {"train": "train.txt"}, got ["text"]'),
    ("text", ConfigError, 'inputs: expected paths by name, as {"train": "train.txt"}, got "text"'),
])  # fmt: skip
def test_what_names_no_file_is_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: Any, error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("words")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(error, match=re.escape(message)), experiment("toy", TOY, inputs=inputs):
        pass
    assert not Path("runs").exists()


def test_the_inputs_of_a_run_are_in_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words")
    with experiment("toy", TOY, root=tmp_path, inputs={"text": tmp_path / "text"}) as run:
        Trainer(run).fit(Line(), fixed())
    assert manifest(run.path)["inputs"]["text"]["path"] == str(tmp_path / "text")


NAMES = [
    "../out",
    "/tmp/out",
    "a/b",
    "a/",
    "",
    ".",
    "..",
    "a\0b",
    "a\nb",
    "\x7f",
    "\udbff",
    "a" * 256,
    5,
    None,
    b"toy",
    ["toy"],
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:12])
def test_the_name_of_a_run_is_that_of_one_folder(tmp_path: Path, name: Any) -> None:
    with (
        pytest.raises(ConfigError, match="name: expected the name of one folder"),
        experiment(name, TOY, root=tmp_path / "runs"),
    ):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "given", [{"config": {"lr": 1}}, {"config": TrainConfig}, {"callbacks": [Callback]}, {"callbacks": [5]}]
)
def test_settings_and_callbacks_are_objects_of_their_classes(tmp_path: Path, given: dict[str, Any]) -> None:
    what = "a TrainConfig" if "config" in given else "objects of Callback"
    with pytest.raises(ConfigError, match=f"experiment: expected {what} as its"), experiment("e", root=tmp_path, **given):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Ünicode run 1", ".hidden", "a" * 255, "a\udcffb"], ids=lambda name: ascii(name)[:12])
def test_any_plain_name_names_a_run(tmp_path: Path, name: str) -> None:
    with experiment(name, TOY, root=tmp_path) as run:
        Trainer(run).fit(Line(), fixed())
    assert run.path == tmp_path / name / "version_0"
    assert "version_0" in command("runs", "list", "--root", str(tmp_path)).output


def test_results_that_are_not_finite_are_told_and_left_out(tmp_path: Path) -> None:
    class Odd(Line):
        def on_train_epoch_end(self) -> None:
            self.log("odd", float("nan"))

    told: list[str] = []
    with experiment("toy", TrainConfig(device="cpu", max_epochs=1, progress=False), root=tmp_path, tell=told.append) as run:
        Trainer(run).fit(Odd(), fixed())
    assert "odd" not in manifest(run.path)["metrics"]
    assert any("not finite" in line and "odd" in line for line in told)


def test_the_generators_are_seeded_inside_and_put_back_after(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    drawn = []
    for _ in range(2):
        with experiment("toy", TrainConfig(device="cpu", max_epochs=1, progress=False, seed=9), root=tmp_path) as run:
            drawn.append(torch.rand(3).tolist())
            Trainer(run).fit(Line(), fixed())
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.rand(2), expected)


class Stop(Callback):
    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 2:
            trainer.keep_going.stop("the test says so")


def test_a_path_goes_on_with_its_run_and_another_checkpoint_begins_a_new_one(tmp_path: Path) -> None:
    def trainer(*callbacks: Callback) -> Trainer:
        return Trainer(
            max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, callbacks=list(callbacks), enable_progress_bar=False
        )

    with pytest.raises(Preempted):
        trainer(Stop()).fit(Line(), fixed())
    run = tmp_path / "Line/version_0"
    (state,) = run.glob("checkpoints/resume-*.ckpt")
    trainer().fit(Line(), fixed(), ckpt_path=state)
    assert manifest(run)["status"] == "finished"
    (kept,) = run.glob("checkpoints/epoch=*.ckpt")
    trainer().fit(Line(), fixed(), ckpt_path=kept)
    assert manifest(tmp_path / "Line/version_1")["status"] == "finished"
    with pytest.raises(ConfigError, match="expected a checkpoint, or the folder of a run"):
        trainer().fit(Line(), fixed(), ckpt_path=tmp_path)


def test_a_runs_logger_takes_what_lightnings_do(tmp_path: Path) -> None:
    class Logs(Line):
        def on_train_start(self) -> None:
            logger: Any = self.trainer.loggers[0]
            logger.log_hyperparams({"lr": 0.5, "layers": [1, 2], "name": "x"})
            logger.experiment.add_scalar("own", 1.5, 0)
            names.append((logger.name, logger.save_dir, logger.log_dir))

        def on_test_start(self) -> None:
            names.append(self.trainer.loggers[0].name)

    names: list[Any] = []
    trainer = Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(task := Logs(), fixed())
    trainer.test(task, fixed(), verbose=False)
    run = tmp_path / "Logs" / "version_0"
    assert manifest(run)["hyperparameters"] == {"lr": 0.5, "layers": "[1, 2]", "name": "x"}
    assert names == [("Logs", str(tmp_path), str(run)), "Logs"]


def test_killed_in_its_test_a_bare_fit_is_not_made_again(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "runs/Classifier", tmp_path / "runs/Classifier")
    run = tmp_path / "runs/Classifier/version_0"
    before = results(run)
    done = program(tmp_path, "--bare", "--last")
    assert done.code == 0, done
    assert "nothing is trained, its weights are loaded" in done.said
    assert not run.with_name("version_1").exists()
    after = results(run)
    assert after[:3] == before[:3]
    assert after[4] == before[4]
    assert after[3].startswith(before[3])  # the test's metrics are added
    other = program(tmp_path, "--bare", "--last", "--epochs", "3")  # other settings: another run
    assert other.code == 0, other
    assert run.with_name("version_1").is_dir()


class Rate(Line):
    """A task with a hyperparameter."""

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_the_weights_of_a_run_are_loaded_with_its_hyperparameters(tmp_path: Path) -> None:
    config = TrainConfig(max_epochs=1, device="cpu", progress=False)
    task = Rate(rate=0.25)
    with experiment("rate", config, root=tmp_path, tell=lambda line: None) as run:
        Trainer(run).fit(task, fixed(3))
    loaded = Rate.load_from_checkpoint(run.path / seal.MODEL)
    assert loaded.hparams.rate == 0.25
    assert all(map(torch.equal, loaded.state_dict().values(), task.state_dict().values()))
    assert not seal.faults(run.path, manifest(run.path))


class Odd(Line):
    """A task whose test gives no number."""

    def test_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        self.log("odd", float("nan"), batch_size=1)
        self.log("even", 2.0, batch_size=1)


def test_results_that_are_not_finite_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(max_epochs=1, accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path)
    task = Odd()
    trainer.fit(task, fixed(3))
    trainer.test(task, fixed(3), verbose=False)
    assert "results that are not finite are not kept: odd" in capsys.readouterr().err
    assert trainer.run is not None
    assert trainer.run.run.manifest["metrics"]["even"] == 2.0
