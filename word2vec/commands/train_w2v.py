"""``train-w2v``: options → config → one library call; with --seeds one for each run of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from training.commands.help import Command
from training.commands.no_effect import Needs, warn_of_none
from training.commands.options import config_options, make_config
from training.commands.seeds import Seeds, seeds_options
from training.commands.start import RunFlags, begin_processes, resumed_config, run_options, run_settings
from training.visible import one_line
from word2vec.config import KIND, Word2VecConfig

if TYPE_CHECKING:
    from training.kept_settings import KeptSettings

NEEDS: tuple[Needs[Word2VecConfig], ...] = (
    Needs("negative noise_exponent", lambda config: config.loss == "negative", "--loss is not negative"),
    Needs(
        "block",
        lambda config: config.loss == "negative" and config.architecture == "skipgram",
        "it is for skip-gram with negative sampling",
    ),
    Needs("cbow_gradient", lambda config: config.architecture == "cbow", "--architecture is not cbow"),
)

# Word vectors are trained without validation, by steps of their own.
WITHOUT = (
    "precision min_epochs min_steps fast_dev_run overfit_batches limit_val_batches limit_test_batches val_check_interval "
    "check_val_every_n_epoch num_sanity_val_steps accumulate_grad_batches gradient_clip_val gradient_clip_algorithm"
)


@click.command(cls=Command, epilog="\b\nExample:\n  python cli.py train-w2v --corpus news.txt --dim 100 --epochs 5")
@seeds_options
@config_options(Word2VecConfig, without=WITHOUT)
@run_options
def train_w2v(seeds: Seeds, flags: RunFlags, **typed: Any) -> None:
    """Train word vectors on text. With --seeds, train a group of runs, in runs/w2v/group_N."""
    from training.determinism import portable
    from word2vec.train import train_word2vec
    from word2vec.vectors.evaluate import check_names

    if seeds.goes_on(KIND, flags, typed):
        return
    file = resumed_config(flags, KIND)
    config = make_config(Word2VecConfig, typed, file, {}, None if flags.resume else _kept_settings)
    seeds.check(config)
    warn_of_none(config, NEEDS, flags)
    if not flags.resume:  # a run that has begun goes on to the end that it would have had
        check_names(config.evaluate)
    portable.begin(config.portable, own=True)
    begin_processes(config, flags)
    options = run_settings(flags, config.progress)
    if seeds.number is not None:
        seeds.train(KIND, config, flags.path, options)
        return
    options.tell(one_line(f"finished: {train_word2vec(config, options)}"))


def _kept_settings(start: str) -> KeptSettings:
    """The settings that stay as the start has them; what reads them is imported only where there is one."""
    from word2vec.start import kept_settings

    return kept_settings(start)
