"""The names that users import: they are there, cost nothing before they are used, and say how they are used."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

ROOMS = ("ner", "training", "word2vec")
NAMES = [(room, name) for room in ROOMS for name in importlib.import_module(room).__all__]
LIGHT = [
    ("ner", "Columns, Sentence, TaggerConfig, read_conll, write_conll", "torch"),
    ("training", "TrainConfig", "torch numpy"),
    ("word2vec", "TextRule, Word2VecConfig, sentences, tokenize", "torch numpy"),
    ("word2vec", "Corpus, Vocab, encode", "torch"),
    ("word2vec", "WordVectors, evaluate, read_set", "training.loop word2vec.model tensorboard"),
]
SETTINGS = {"TaggerConfig", "TrainConfig", "Word2VecConfig"}  # their fields have help texts, which the command line shows


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_imports_no_torch(room: str) -> None:
    code = f"import sys, {room}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("room", "names", "without"), LIGHT)
def test_a_name_costs_no_more_than_it_needs(room: str, names: str, without: str) -> None:
    code = f"import sys; from {room} import {names}; print([name for name in {without.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("room", ROOMS)
def test_each_public_name_is_from_its_home(room: str) -> None:
    module: Any = importlib.import_module(room)
    assert sorted(module.__all__) == sorted(module._HOMES)
    assert set(module.__all__) <= set(dir(module))
    for name, home in module._HOMES.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_its_docstring_says_how_it_is_used(room: str, name: str) -> None:
    thing = getattr(importlib.import_module(room), name)
    said = inspect.getdoc(thing) or ""
    if name not in SETTINGS:
        arguments = said.partition("Args:\n")[2].partition("\n\n")[0]
        for parameter in inspect.signature(thing).parameters.values():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                assert parameter.name in arguments, f"{name}: {parameter.name} is not described under Args:"
    if inspect.isfunction(thing) and inspect.signature(thing).return_annotation not in (None, "None"):
        assert "Returns:\n" in said
    examples = doctest.DocTestParser().get_doctest(said, {}, name, None, None)
    assert examples.examples, f"{name}: expected an example"
    result = doctest.DocTestRunner(verbose=False).run(examples)
    assert result.failed == 0


def test_lightnings_names_are_ours() -> None:
    import training
    from training import lightning_names as pl

    assert (pl.LightningModule, pl.LightningDataModule) == (training.Task, training.DataModule)
    assert (pl.Trainer, pl.Callback, pl.seed_everything) == (training.Trainer, training.Callback, training.seed_everything)
    names = [name for name, home in training._HOMES.items() if home.startswith("training.callbacks.")]
    assert {"EarlyStopping", "ModelCheckpoint", *names, "Callback", "Checkpoint"} == set(dir(pl.callbacks))
    assert pl.callbacks.ModelCheckpoint is training.ModelCheckpoint
    with pytest.raises(AttributeError, match=r"training.loggers has no 'Nothing'; it has"):
        _ = pl.loggers.Nothing


def test_what_lightning_has_and_we_do_not_is_refused_with_what_to_do() -> None:
    import lightning.pytorch as theirs

    from training import lightning_names as pl

    for ours, room in ((pl.callbacks, theirs.callbacks), (pl.loggers, theirs.loggers)):
        for name in {*room.__all__} - {*dir(ours)}:
            with pytest.raises(AttributeError, match=f"{name} is not offered: "):
                getattr(ours, name)


def is_hook(name: str) -> bool:
    """Whether it is a hook, of which training/loop/hooks.py says when it runs."""
    return name.startswith("on_") or name in ("setup", "teardown")


def test_methods_of_public_classes_have_docstrings() -> None:
    for room, name in NAMES:
        thing = getattr(importlib.import_module(room), name)
        for method, function in vars(thing).items() if inspect.isclass(thing) else ():
            if inspect.isfunction(function) and not method.startswith("_"):
                inherited = any(getattr(base, method, None) for base in thing.__mro__[1:])
                assert function.__doc__ or inherited or is_hook(method), f"{name}.{method}"
