"""DataModule: a dataset with its splits, its preparation and its loaders. Lightning's LightningDataModule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from training import checkpoint
from training.data.hooks import DataHooks
from training.errors import ConfigError
from training.hyperparameters import HyperparametersMixin, check_not_offered, put_hyperparameters, rebuilt

ModuleT = TypeVar("ModuleT", bound="DataModule")
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")


class DataModule(DataHooks, HyperparametersMixin):
    """Base class; implement the loaders; ``prepare_data`` and ``setup`` run before they are asked for.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> from training import DataModule
        >>> class Points(DataModule):
        ...     def __init__(self, batch_size=2):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        ...     def setup(self, stage):
        ...         self.points = torch.arange(6.0).split(1)
        ...     def train_dataloader(self):
        ...         return DataLoader(self.points, self.hparams.batch_size, shuffle=True)
        >>> data = Points(batch_size=3)
        >>> data.setup("fit")
        >>> len(data.train_dataloader())
        2
        >>> print(data)
        {Train dataloader: size=6}
        {Validation dataloader: None}
        {Test dataloader: None}
        {Predict dataloader: None}

    Source: Lightning 2.6's ``LightningDataModule``.
    """

    CHECKPOINT_HYPER_PARAMS_KEY = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "datamodule_hparams_name"

    trainer: Any = None
    """The Trainer that runs it; None before one does."""

    def __init__(self) -> None:
        super().__init__()

    def __getstate__(self) -> dict[str, Any]:
        """A copy, and what pickle writes, belongs to no Trainer."""
        return {**self.__dict__, "trainer": None}

    @classmethod
    def from_datasets(
        cls: type[ModuleT],
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> ModuleT:
        """A data module of datasets.

        Args:
            train_dataset: one, or a list or dict of them; it is shuffled, unless it is an IterableDataset.
            val_dataset: one, or a list or dict of them.
            test_dataset: likewise.
            predict_dataset: likewise.
            batch_size: of all of them; given to ``__init__``, too, if it takes it.
            num_workers: likewise.
            datamodule_kwargs: for ``__init__``.

        Returns:
            The data module, whose loaders are DataLoaders of these datasets.
        """
        parameters = inspect.signature(cls.__init__).parameters.values()
        every = any(each.kind is each.VAR_KEYWORD for each in parameters)
        known = {each.name for each in parameters}
        shared = {"batch_size": batch_size, "num_workers": num_workers}
        made = cls(**datamodule_kwargs, **{name: value for name, value in shared.items() if every or name in known})

        def loader(dataset: Any, shuffle: bool) -> DataLoader[Any]:
            shuffle = shuffle and not isinstance(dataset, IterableDataset)
            pin_memory = torch.cuda.is_available()
            return DataLoader(dataset, batch_size, shuffle, num_workers=num_workers, pin_memory=pin_memory)

        for name, given in zip(LOADERS, (train_dataset, val_dataset, test_dataset, predict_dataset), strict=True):
            if given is not None:
                setattr(made, name, _loaders(given, loader, name == "train_dataloader"))
        return made

    @classmethod
    def load_from_checkpoint(
        cls: type[ModuleT],
        checkpoint_path: str | Path,
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> ModuleT:
        """One from the hyperparameters and the state in a checkpoint; ``kwargs`` go before what is stored.

        ``map_location`` is accepted as in Lightning, though a data module has no device. ``hparams_file`` and
        ``weights_only`` are those of ``Task.load_from_checkpoint``.

        Raises:
            CheckpointError: for a file that is damaged, and for arguments of ``__init__`` that it does not hold.
            ConfigError: for ``kwargs`` that ``__init__`` does not take.
        """
        check_not_offered(weights_only)
        found = checkpoint.load(Path(checkpoint_path))
        put_hyperparameters(cls, found, hparams_file)
        made = rebuilt(cls, found, kwargs, str(checkpoint_path))
        made.restore(found)
        return made

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Back from a checkpoint."""

    def on_exception(self, exception: BaseException) -> None:
        """What it runs for ended in an exception."""

    def checkpoint_state(self) -> dict[str, Any]:
        """What stands in a checkpoint for it: its hyperparameters, and its state under the name of its class."""
        state = self.state_dict()
        return {**self.hyperparameters_state(), **({type(self).__qualname__: state} if state else {})}

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Back to its state in ``checkpoint``, if there is one."""
        if type(self).__qualname__ in checkpoint:
            self.load_state_dict(checkpoint[type(self).__qualname__])

    def __str__(self) -> str:
        names = ("Train", "Validation", "Test", "Predict")
        pairs = zip(names, LOADERS, strict=True)
        return "\n".join(f"{{{name} dataloader: {_sizes(getattr(self, loader))}}}" for name, loader in pairs)


def _loaders(given: Any, loader: Callable[[Any, bool], Any], shuffle: bool) -> Callable[[], Any]:
    """What makes the loaders of one dataset, or of a list or dict of them."""

    def made(dataset: Any) -> Any:
        indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if isinstance(dataset, Dataset) or (indexed and not isinstance(dataset, Mapping | list | tuple | str)):
            return loader(dataset, shuffle)
        if isinstance(dataset, Mapping):
            return {name: made(each) for name, each in dataset.items()}
        if isinstance(dataset, list | tuple):
            return [made(each) for each in dataset]
        kind = type(dataset).__name__
        raise ConfigError(f"from_datasets: expected torch's Datasets, or lists or dicts of them, got {kind}")

    made(given)  # what does not fit is said now
    return lambda: made(given)


def _sizes(loader: Callable[[], Any]) -> str:
    """The numbers of examples of what ``loader`` gives; "None" where it gives nothing, or can't yet."""
    try:
        found = loader()
    except Exception:
        return "None"
    each = list(found.values()) if isinstance(found, Mapping) else found
    if isinstance(each, Iterable) and not isinstance(each, DataLoader):
        return " ; ".join(f"{i}. {_size(one)}" for i, one in enumerate(each, 1))
    return _size(each)


def _size(loader: Any) -> str:
    dataset = getattr(loader, "dataset", loader)
    return f"size={len(dataset) if isinstance(dataset, Sized) else 'NA'}"
