"""``train-ner``: options → config → one library call; with --seeds one for each run of a group."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ner.commands.no_effect import warn_of_forms
from ner.commands.vectors_from import check_alone, with_trained_vectors
from ner.config import KIND, PRESETS, TaggerConfig
from training.commands.help import Command, Option
from training.commands.no_effect import Needs, is_to_warn, warn_of_none
from training.commands.options import config_options, make_config
from training.commands.seeds import Seeds, seeds_options
from training.commands.start import RunFlags, begin_processes, resumed_config, run_options, run_settings
from training.config import COMMON, VECTORS
from training.errors import ConfigError, SamebitsError
from training.visible import one_line

if TYPE_CHECKING:
    from training.kept_settings import KeptSettings

NEEDS: tuple[Needs[TaggerConfig], ...] = (
    Needs("lm_dim lm_place", lambda config: bool(config.lm), "--lm is not given"),
    Needs("char_dim char_hidden", lambda config: config.characters != "none", "--characters is none"),
    Needs("subword_dim", lambda config: config.subwords > 0, "--subwords is 0"),
    Needs("affix_vectors unseen_vectors word_form", lambda config: config.vectors != "none", "--vectors is none"),
    Needs("word_dim", lambda config: config.vectors in ("none", "auto"), "the vectors have a size of their own"),
    Needs("data", lambda config: not config.train, "--train, --valid and --test are given"),
    Needs("min_epochs min_steps", lambda config: config.patience > 0, "--patience is 0"),
)
OF_FOUND: Needs[TaggerConfig] = Needs(
    "word_dim", lambda config: config.vectors != "auto" or _finds_none(config), "the newest run of train-w2v has vectors"
)


@click.command(cls=Command, epilog="\b\nExample:\n  python cli.py train-ner --data data/sample --deterministic")
@click.option(
    "--preset", cls=Option, section=COMMON, type=click.Choice(sorted(PRESETS)), default="default", show_default=True,
    help="Set of defaults to begin with; options typed here override it.",
)  # fmt: skip
@click.option(
    "--vectors-from", cls=Option, section=VECTORS, multiple=True, metavar="TEXT",
    help="Train word vectors first, on the training sentences and this text (train: no other text). May be repeated.",
)  # fmt: skip
@seeds_options
@config_options(TaggerConfig)
@run_options
def train_ner(preset: str, vectors_from: tuple[str, ...], seeds: Seeds, flags: RunFlags, **typed: Any) -> None:
    """Train a tagger, test it and write a report. With --seeds, train a group of runs, in runs/ner/group_N."""
    from training.determinism import portable

    if vectors_from and flags.resume:
        raise ConfigError(f"vectors_from: {flags.resume} keeps its vectors; leave --vectors-from out to resume it")
    if seeds.goes_on(KIND, flags, typed):
        return
    file = resumed_config(flags, KIND)
    config = make_config(TaggerConfig, typed, file, PRESETS[preset], None if flags.resume else _kept_settings)
    seeds.check(config)
    warn_of_none(config, NEEDS if vectors_from else (*NEEDS, OF_FOUND), flags)
    if vectors_from:
        check_alone(config)
    portable.begin(config.portable, own=True)
    begin_processes(config, flags)
    _warn_of_data(config, flags)
    if vectors_from:
        config = with_trained_vectors(config, vectors_from, run_settings(replace(flags, path=""), config.progress))
    options = run_settings(flags, config.progress)
    if seeds.number is not None:
        seeds.train(KIND, config, flags.path, options)
        return
    from ner.train import train_tagger

    options.tell(one_line(f"finished: {train_tagger(config, options)}"))


def _finds_none(config: TaggerConfig) -> bool:
    """Whether there are no vectors that ``auto`` would find."""
    from training.run.experiment import RunOptions
    from training.run.folder import newest_finished

    return bool(config.start_from) or newest_finished(Path(RunOptions().root) / "w2v") is None


def _warn_of_data(config: TaggerConfig, flags: RunFlags) -> None:
    """Of options for another form than the labeled files have; with text to learn from, columns may be the text's."""
    from ner.corpus.dataset import split_paths

    if not is_to_warn(config, flags):
        return
    with suppress(SamebitsError):  # the training says what is wrong with them
        warn_of_forms(split_paths(config), columns=not config.unlabeled)


def _kept_settings(start: str) -> KeptSettings:
    """The settings that stay as the start has them; what reads them is imported only where there is one."""
    from ner.start.start import kept_settings

    return kept_settings(start)
