"""Two processes on one run: the second is refused in one line and touches nothing; a killed one leaves no lock behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from training import files
from training.config import TrainConfig
from training.errors import CheckpointError
from training.run.folder import Run, read_manifest
from training.run.lock import RunLock, check_free

STARTS = {
    "train-ner": "--vectors none --max-epochs 1 --hidden-size 8 --word-dim 8 --batch-size 24 --no-progress --threads 1",
    "train-w2v": "--dim 8 --epochs 1 --batch-words 512 --no-progress --threads 1",
}
TAKEN = "another process is working on this run; let it finish, or stop it (fuser "


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hook() -> Iterator[None]:
    yield
    files.fault_hook = None


@pytest.mark.parametrize("kind", STARTS)
def test_a_run_in_use_is_refused_and_not_touched(
    small_data: Path, small_text: Path, tmp_path: Path, hook: None, kind: str
) -> None:
    data = ["--data", small_data] if kind == "train-ner" else ["--corpus", small_text]
    start, path, tried = [kind, *data, *STARTS[kind].split(), "--checkpoint-every", 2], tmp_path / "run", []

    def meanwhile(point: str) -> None:
        """Another process would find the run so: its file descriptors are its own, as those here are."""
        if point != "checkpoint:end":
            return
        files.fault_hook = None
        before = contents(path)
        for command in ([kind, "--resume", path], ["verify", path], ["verify", path, "--from", 2]):
            tried.append(run(*command))
        with pytest.raises(CheckpointError, match="another process is working"):
            Run.take_up(path)
        assert contents(path) == before

    files.fault_hook = meanwhile
    done = run(*start, "--run", path)
    assert done.exit_code == 0, done.output
    assert len(tried) == 3
    for result in tried:
        assert result.exit_code == 1, result.output
        assert [line for line in result.output.splitlines() if line.startswith("error: ")] == result.output.splitlines()
        assert TAKEN in result.output
    whole = run(*start, "--run", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    assert read_manifest(path)["weights_sha256"] == read_manifest(tmp_path / "whole")["weights_sha256"]
    again = run(kind, "--resume", path)  # at its end it is free
    assert again.exit_code == 0, again.output
    assert "is finished" in again.output


def test_a_stopped_run_is_free(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    stopped = run("train-ner", "--data", small_data, *STARTS["train-ner"].split(), "--max-time", "0s", "--run", path)
    assert stopped.exit_code == 75, stopped.output
    check_free(path)
    RunLock(path).release()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from training.run.lock import RunLock; "
    program += "lock = RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], cwd=root, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for attempt in (check_free, RunLock):
            with pytest.raises(CheckpointError, match="another process is working"):
                attempt(tmp_path)
        other.send_signal(signal.SIGKILL)
    check_free(tmp_path)
    RunLock(tmp_path).release()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_hold_it(tmp_path: Path) -> None:
    """As a worker that loads data: it lives on for some seconds when its parent is killed."""
    lock = RunLock(tmp_path)
    (read, write), (said, say) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        lock.release()  # which does nothing there
        os.write(say, b"!")
        os.read(read, 1)
        os._exit(0)
    os.read(said, 1)
    for attempt in (check_free, RunLock):
        with pytest.raises(CheckpointError, match="another process is working"):
            attempt(tmp_path)
    lock.release()
    check_free(tmp_path)
    RunLock(tmp_path).release()
    for descriptor in (read, write, said, say):
        os.close(descriptor)
    assert os.waitpid(child, 0)[1] == 0


def test_a_run_that_was_finished_while_we_waited_is_left_alone(tmp_path: Path) -> None:
    run = Run.create("toy", TrainConfig(), path=str(tmp_path / "run"))
    run.finish("0" * 64, {})
    run.unlock()
    before = contents(run.path)
    with pytest.raises(CheckpointError, match="has just finished this run"):
        Run.take_up(run.path)
    assert contents(run.path) == before
    check_free(run.path)


def test_a_folder_that_could_not_be_made_is_not_locked(tmp_path: Path, hook: None) -> None:
    def full(point: str) -> None:
        raise OSError(28, "No space left on device")

    files.fault_hook = full
    with pytest.raises(Exception, match="No space left"):
        Run.create("toy", TrainConfig(), path=str(tmp_path / "run"))
    files.fault_hook = None
    assert not list(tmp_path.iterdir())
    Run.create("toy", TrainConfig(), path=str(tmp_path / "run")).unlock()
