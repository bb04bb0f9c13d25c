"""OnExceptionCheckpoint: a checkpoint of the moment when an error ends a fit. As Lightning 2.6's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training import checkpoint
from training.bar import is_first, say
from training.errors import ConfigError, Preempted
from training.files import is_inside
from training.loop.callback import Checkpoint
from training.loop.task import Task
from training.loop.view import TrainerView


class OnExceptionCheckpoint(Checkpoint):
    """Saves the state when an error ends the training; a fit that ends well deletes the file.

    A stop that can be resumed exactly anyway is not an error. After an error within a batch the state lies within that
    batch: a fit resumed from there counts what the batch had logged, or added to the gradients, twice.

    Args:
        dirpath: the folder.
        filename: the file's name, without ``.ckpt``.

    Raises:
        ConfigError: for an empty name, and one that leads out of the folder.

    Example:
        >>> from training import OnExceptionCheckpoint
        >>> OnExceptionCheckpoint("crashes").ckpt_path
        'crashes/on_exception.ckpt'

    Source: Lightning 2.6's ``OnExceptionCheckpoint``.
    """

    FILE_EXTENSION = ".ckpt"

    def __init__(self, dirpath: str | Path, filename: str = "on_exception") -> None:
        if not is_inside(filename):
            raise ConfigError(f"OnExceptionCheckpoint: filename: expected a name inside the folder, got {filename!r}")
        self.dirpath, self.filename = dirpath, filename
        self._training = False

    @property
    def ckpt_path(self) -> str:
        """The file."""
        return str(Path(self.dirpath) / (self.filename + self.FILE_EXTENSION))

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        self._training = False

    def on_train_start(self, trainer: TrainerView, task: Task) -> None:
        self._training = True

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        def save() -> str:
            trainer.save_checkpoint(self.ckpt_path)
            return self.ckpt_path

        if self._training and trainer.fitting:
            save_quietly(save, exception)

    def teardown(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if stage == "fit" and is_first():
            checkpoint.remove(Path(self.ckpt_path))


def save_quietly(save: Callable[[], str], exception: BaseException) -> None:
    """Save, and say where, unless ``exception`` is a stop to be resumed from. What goes wrong then is said, not raised:

    it must not take the place of the error that ended the fit.
    """
    if isinstance(exception, Preempted):
        return
    try:
        path = save()
    except Exception as error:
        say(f"no checkpoint of the {type(exception).__name__} could be saved: {error}")
    else:
        say(f"a checkpoint of the {type(exception).__name__} was saved: {path}")
