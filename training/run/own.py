"""Runs of a user's own program: ``experiment``, and those that a Trainer without one opens for itself."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training import checkpoint
from training.bar import is_first, say
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.determinism import flags
from training.determinism.flags import seed_everything
from training.errors import ConfigError, DataError, Preempted
from training.files import inside, is_inside, versions
from training.generators import kept_generators
from training.loop.callback import Callback
from training.loop.session import MetricsLogger
from training.loop.task import Task
from training.parallel.loss import heard
from training.run import seal
from training.run.answers import Answers
from training.run.experiment import Experiment, RunOptions, already_finished, open_run, reopen
from training.run.folder import Run, has_finished, read_manifest
from training.run.inputs import Inputs
from training.run.preemption import StopAt
from training.run.script import Repetition, Script, opened, repetition
from training.values import shown


@contextmanager
def experiment(
    name: str,
    config: TrainConfig | None = None,
    *,
    inputs: Mapping[str, str | Path] | None = None,
    run: str | Path = "",
    resume: str | Path = "",
    root: str | Path = "runs",
    allow_changes: bool = False,
    callbacks: Sequence[Callback] = (),
    tell: Callable[[str], None] = say,
) -> Iterator[Experiment]:
    """A run of your own: it is kept in a folder, can be resumed after any kill, and repeated by ``verify``.

    Args:
        name: the kind of run, as ``runs list`` shows it, and a plain name: the folder is ``root/name/version_N``.
        config: the settings; also those of your own, if it is a subclass of TrainConfig.
        inputs: files that are read, by name: the manifest gets their digests, and a resume refuses others. No folders, and
            nothing that can be read only once, such as a pipe.
        run: another folder, which must not exist.
        resume: the folder of the run to resume.
        root: where the folders of all runs are.
        allow_changes: resume although inputs, settings, code or versions have changed.
        callbacks: run before those of the Trainer.
        tell: called with each line of progress; standard error by default.

    Returns:
        A context manager that gives the run, for ``Trainer(run)``. torch's flags are set as the settings say, and torch's,
        NumPy's and Python's generators by the seed. When the block ends, the task's weights and what was logged are
        written, and the run is sealed.

    Raises:
        ConfigError: for a name that no folder can have, or inputs that are no paths by name; for a folder that exists; where
            nothing was trained.
        DataError: for an input that is no file.
        ReproducibilityError: where a resumed run's inputs, settings, code or versions are not those it began with.
        CheckpointError: for a run that another process works on, or of another name.
        Preempted: SIGTERM, SIGINT or the time limit came: a state is written, and the program ends with exit code 75.

    Example:
        >>> import tempfile, torch
        >>> from training import FixedBatches, Task, TrainConfig, Trainer, experiment
        >>> class Line(Task):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch):
        ...         return (self.layer(batch) - 3 * batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> config = TrainConfig(max_epochs=2, device="cpu", progress=False)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with experiment("line", config, root=root, tell=lambda line: None) as run:
        ...         Trainer(run).fit(Line(), FixedBatches([torch.ones(4, 1)]))
        ...     sorted(path.name for path in run.path.glob("*.json"))
        ['config.json', 'manifest.json']
    """
    if not isinstance(config, TrainConfig | None):
        raise ConfigError(f"experiment: expected a TrainConfig as its config, got {shown(config)}")
    for each in callbacks:
        if not isinstance(each, Callback):
            raise ConfigError(f"experiment: expected objects of Callback as its callbacks, got {shown(each)}")
    options = RunOptions(
        path=str(run), root=str(root), argv=tuple(sys.argv), resume=str(resume),
        allow_changes=allow_changes, callbacks=tuple(callbacks), tell=tell,
    )  # fmt: skip
    with _seed_kept(), own_run(name, config or TrainConfig(), options, _named(inputs)) as opened:
        seed_everything(opened.config.seed)
        yield opened


def _named(inputs: object) -> Inputs:
    """The files that a program names. ConfigError for what does not name any, DataError for what is no file.

    Nothing here reads them, so that nobody else would say that one is missing.
    """
    if inputs is None:
        return Inputs()
    if not isinstance(inputs, Mapping):
        raise ConfigError(f'inputs: expected paths by name, as {{"train": "train.txt"}}, got {shown(inputs)}')
    found = Inputs()
    for name, path in inputs.items():
        if not isinstance(name, str):
            raise ConfigError(f'inputs: expected names in quotes, as {{"train": "train.txt"}}, got {shown(name)}')
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise ConfigError(f"inputs: expected the path of a file for {shown(name)}, got {shown(path)}")
        if not found.add(name, os.fspath(path)):
            raise DataError(f"{path}: expected a file, as the input {shown(name)}, got nothing")
    return found


def _check_name(name: object) -> None:
    """ConfigError for what is not one folder's name: the run would be put where ``runs list`` does not look."""
    if not is_inside(name) or "/" in str(name):
        raise ConfigError(
            f"name: expected the name of one folder, without slashes and control characters, got {shown(name)}"
        )


@contextmanager
def _seed_kept() -> Iterator[None]:
    """The program's own generators and seed are put back."""
    before = flags.last_seed
    try:
        with kept_generators():
            yield
    finally:
        flags.last_seed = before


@contextmanager
def own_run(
    name: str, config: TrainConfig, options: RunOptions, inputs: Inputs, argument: str = "resume"
) -> Iterator[Experiment]:
    """A run of a user's program, sealed when the block ends; or what ``verify`` asks of it (see training/run/script.py).

    ``argument`` is what the program goes on by.
    """
    _check_name(name)
    script, asked = opened(), repetition()
    options = dataclasses.replace(options, script=script).restarted()
    if asked is not None and script is not None:
        config, options = asked.settled(config), _asked(asked, script, options)
    if already_finished(options, name, config):
        raise SystemExit(0)  # as a command that resumes it does: there is nothing left to do
    try:
        with heard(lambda lost: _tell(lost, options, argument)), open_run(name, config, options, inputs) as run:
            run.is_own = True
            yield run
            if run.task is None:
                raise ConfigError(f"experiment({name!r}): expected a Trainer to be run in it, got none")
            run.finish(run.task, run.results)
    except Preempted as error:
        _tell(error, options, argument)
        raise


def _tell(error: Preempted, options: RunOptions, argument: str) -> None:
    """How to go on: said once, by the first of the processes that are left."""
    if not error.silent:
        line = f"{error}; resume with {argument}={error.run!r}"
        options.tell(line) if is_first() else say(line, by_any=True)


def _asked(asked: Repetition, script: Script, options: RunOptions) -> RunOptions:
    """Where the run goes when ``verify`` runs the program, and where it ends."""
    folder, is_it = asked.place(script.number), script.number == asked.number
    resume = is_it and asked.resume
    stop = (StopAt(asked.last),) if is_it and asked.last is not None else ()
    path = "" if resume else folder
    told = options.tell

    def tell(line: str) -> None:
        """The seal to be quoted is that of the run, not of its repetition."""
        if not line.startswith("seal: "):
            told(line)

    answers = (Answers(asked.watch, asked.first, asked.until, asked.folder, apart=True),) if is_it and asked.watch else ()
    callbacks = (*options.callbacks, *answers, *stop)
    return dataclasses.replace(options, path=path, resume=folder if resume else "", callbacks=callbacks, tell=tell)


@contextmanager
def adding(opened: Experiment) -> Iterator[MetricsLogger]:
    """More results for a run that is finished, as of a test after its fit: they are added to its files when the block ends.

    Killed before that, the run is as it was; so is one whose fit ended in an error.
    """
    run = opened.run
    later = _Later(run)
    yield later
    if not has_finished(run.manifest):  # its fit ended in an error: the folder stays as that left it
        return
    run.take_again()
    try:
        for metrics, step in later.lines:
            run.log_metrics(metrics, step)
        sealed = run.finish(run.manifest["weights_sha256"], {**run.manifest["metrics"], **opened.finite(opened.results)})
    finally:
        run.unlock()
    opened.options.tell(f"seal: SHA-256 {sealed}")


class _Later:
    """A logger that keeps what it gets; else it is as the run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lines: list[tuple[dict[str, float], int]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "run":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.run, name)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((metrics, step))


class Ahead:
    """A run's logger before there is a run: it keeps hyperparameters for that."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"logger.{name}: expected a run, which begins with the fit; ask in a hook, or after the fit")

    def log_hyperparams(self, params: Any, *_: Any) -> None:
        """As of the run, once there is one."""
        self.kept.append(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """ConfigError: what is logged belongs to a run."""
        raise ConfigError("log_metrics: expected a run, which begins with the fit; log in a hook, or after the fit")


def finished(path: str, config: TrainConfig, task: Task) -> Experiment | None:
    """A run that has ended already, its weights loaded into ``task``: there is nothing to train, but results may be added.

    None where there is work left, or the settings are others; and where ``verify`` wants it made again.
    """
    if repetition() is not None:
        return None
    described = read_manifest(Path(path))
    if not _has_ended(described, config):
        return None
    run = reopen(path, type(task).__name__)
    seal.check(run.path, run.manifest, [seal.MODEL])
    task.load_state_dict(checkpoint.load_weights(inside(run.path, seal.MODEL)))
    say(f"{path} is finished: nothing is trained, its weights are loaded")
    return Experiment(run, config, RunOptions(tell=say, script=opened()))  # it counts as one that the program opens


def _has_ended(described: Mapping[str, Any], config: TrainConfig) -> bool:
    settings = config.settings()
    completed = config.completed(described["config"])
    return has_finished(described) and {name: completed[name] for name in settings} == settings


def to_go_on_with(name: str | Path, folder: Path, config: TrainConfig) -> Path | None:
    """The run that ``ckpt_path`` means: "last" is the newest in ``folder``, unless it ended with other settings.

    Else a run's folder, or a state to go on from in its checkpoints.
    """
    if name == "last":
        run = next(iter(versions(folder).values()), None)
    else:
        run = Path(name).parent.parent if ResumeStore.pattern.fullmatch(Path(name).name) else Path(name)
    if run is None or not (run / "manifest.json").is_file():
        return None
    if name != "last":
        return run
    described = read_manifest(run)
    return run if not has_finished(described) or _has_ended(described, config) else None
