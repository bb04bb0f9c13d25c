"""``train-ner``: options → config → one library call; with --seeds one for each run of a group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ner.commands.vectors_from import check_alone, with_trained_vectors
from ner.config import KIND, PRESETS, TaggerConfig
from training.commands.help import Command, Option
from training.commands.no_effect import Needs, warn_of_none
from training.commands.options import config_options, make_config
from training.commands.seeds import Seeds, seeds_options
from training.commands.start import RunFlags, begin_processes, resumed_config, run_options, run_settings
from training.config import COMMON, VECTORS
from training.errors import ConfigError
from training.visible import one_line

if TYPE_CHECKING:
    from training.kept_settings import KeptSettings

NEEDS: tuple[Needs[TaggerConfig], ...] = (
    Needs("lm_dim lm_place", lambda config: bool(config.lm), "--lm is not given"),
    Needs("char_dim char_hidden", lambda config: config.characters != "none", "--characters is none"),
    Needs("subword_dim", lambda config: config.subwords > 0, "--subwords is 0"),
    Needs("affix_vectors unseen_vectors freeze_vectors", lambda config: config.vectors != "none", "--vectors is none"),
    Needs("tune_min_count", lambda config: not config.freeze_vectors, "--freeze-vectors is given"),
    Needs("word_dim", lambda config: config.vectors in ("none", "auto"), "the vectors have a size of their own"),
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
    warn_of_none(config, NEEDS, flags)
    if vectors_from:
        check_alone(config)
    portable.begin(config.portable, own=True)
    begin_processes(config, flags)
    if vectors_from:
        config = with_trained_vectors(config, vectors_from, run_settings(replace(flags, path=""), config.progress))
    options = run_settings(flags, config.progress)
    if seeds.number is not None:
        seeds.train(KIND, config, flags.path, options)
        return
    from ner.train import train_tagger

    options.tell(one_line(f"finished: {train_tagger(config, options)}"))


def _kept_settings(start: str) -> KeptSettings:
    """The settings that stay as the start has them; what reads them is imported only where there is one."""
    from ner.start.start import kept_settings

    return kept_settings(start)
