"""``train-lm``: options → config → one library call; with --seeds one for each run of a group."""

from __future__ import annotations

from typing import Any

import click

from ner.lm.config import KIND, LanguageModelConfig
from training.commands.help import Command
from training.commands.no_effect import Needs, warn_of_none
from training.commands.options import config_options, make_config
from training.commands.seeds import Seeds, seeds_options
from training.commands.start import RunFlags, begin_processes, resumed_config, run_options, run_settings
from training.visible import one_line

NEEDS: tuple[Needs[LanguageModelConfig], ...] = (
    Needs("dim", lambda config: config.vectors == "none", "the vectors have a size of their own"),
)
WITHOUT = "limit_test_batches min_epochs min_steps"  # a language model is not tested, and nothing stops it early


@click.command(cls=Command, epilog="\b\nExample:\n  python cli.py train-lm --corpus news.txt --epochs 3")
@seeds_options
@config_options(LanguageModelConfig, without=WITHOUT)
@run_options
def train_lm(seeds: Seeds, flags: RunFlags, **typed: Any) -> None:
    """Train a language model on text, for train-ner --lm. With --seeds, train a group of runs, in runs/lm/group_N."""
    from training.determinism import portable

    if seeds.goes_on(KIND, flags, typed):
        return
    config = make_config(LanguageModelConfig, typed, resumed_config(flags, KIND), {})
    seeds.check(config)
    warn_of_none(config, NEEDS, flags)
    portable.begin(config.portable, own=True)
    begin_processes(config, flags)
    options = run_settings(flags, config.progress)
    if seeds.number is not None:
        seeds.train(KIND, config, flags.path, options)
        return
    from ner.lm.train import train_language_model

    options.tell(one_line(f"finished: {train_language_model(config, options)}"))
