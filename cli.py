"""The command line: options → config → one library call. Errors of the library become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ner.commands.compare import compare, share_cores, train_group
from ner.commands.data import data, vectors
from ner.commands.evaluate import evaluate, runs
from ner.commands.predict import export, predict
from ner.config import PRESETS, TaggerConfig
from ner.seeds.groups import MOST_SEEDS, is_group, open_group
from training.commands.door import Commands
from training.commands.options import config_options, make_config, whole
from training.commands.terminal import voice as voice_of
from training.commands.verify import diff, verify
from training.determinism import portable
from training.errors import ConfigError
from training.files import inside
from training.run.experiment import RunOptions, reopen
from training.visible import one_line
from word2vec.config import Word2VecConfig

VERSION = "0.2.0"  # setup.cfg reads it here
# Word vectors are trained without validation, by steps of their own.
NOT_FOR_W2V = (
    "precision min_epochs min_steps fast_dev_run overfit_batches limit_val_batches limit_test_batches val_check_interval "
    "check_val_every_n_epoch num_sanity_val_steps accumulate_grad_batches gradient_clip_val gradient_clip_algorithm"
)


@click.group(
    cls=Commands,
    epilog="\b\nExample:\n  python cli.py train-w2v\n  python cli.py train-ner --deterministic",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(VERSION, prog_name="samebits")
def main() -> None:
    """Word vectors and a named-entity tagger in pure PyTorch, with the same bits every time."""


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a run that are not settings of the experiment."""
    for option in (
        click.option("--json-log", "voice", flag_value="json", help="Speak in JSON, an object a line."),
        click.option("--quiet", "voice", flag_value="quiet", help="Say nothing but errors."),
        click.option("--allow-changes", is_flag=True, help="Resume although data, settings, code or versions have changed."),
        click.option("--resume", default="", metavar="RUN", help="Go on with this run, from its last checkpoint."),
        click.option(
            "--run", "path", default="", metavar="DIR", help="The run's folder.  [default: the next version_N in runs/]"
        ),
        click.option(
            "--config", "file", metavar="FILE", help="Read options from a config.json; what is typed goes before it."
        ),
    ):
        command = option(command)
    return command


def _options(kind: str, path: str, resume: str, allow_changes: bool, speaking: str | None, progress: bool) -> RunOptions:
    click.get_current_context().find_root().meta["command"] = kind
    tell, callbacks, progressing = voice_of(speaking or "plain", progress)
    return RunOptions(
        path=path,
        argv=tuple(sys.argv[1:]),
        resume=resume,
        allow_changes=allow_changes,
        callbacks=callbacks,
        tell=tell,
        progress=progressing,
    )


@main.command(epilog="\b\nExample:\n  python cli.py train-w2v --corpus news.txt --dim 100 --epochs 5")
@config_options(Word2VecConfig, without=NOT_FOR_W2V)
@run_options
def train_w2v(file: str | None, path: str, resume: str, allow_changes: bool, voice: str | None, **typed: Any) -> None:
    """Train word vectors on text."""
    from word2vec.train import train_word2vec

    config = make_config(Word2VecConfig, typed, _file(file, resume, "w2v"), {})
    portable.begin(config.portable)
    options = _options("train-w2v", path, resume, allow_changes, voice, config.progress)
    options.tell(one_line(f"finished: {train_word2vec(config, options)}"))


@main.command(epilog="\b\nExample:\n  python cli.py train-ner --data data/sample --deterministic")
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), default="default", show_default=True, help="Fill what is not typed."
)
@click.option("--seeds", type=whole(1, MOST_SEEDS), metavar="N", help="Train so many seeds, from --seed on; sum them up.")
@click.option("--jobs", type=whole(1), default=1, show_default=True, help="Of --seeds, so many at a time.")
@config_options(TaggerConfig)
@run_options
def train_ner(
    preset: str,
    seeds: int | None,
    jobs: int,
    file: str | None,
    path: str,
    resume: str,
    allow_changes: bool,
    voice: str | None,
    **typed: Any,
) -> None:
    """Train a tagger, test it, and report. With --seeds: a group of runs, in runs/ner/group_N."""
    from ner.train import train_tagger

    if seeds is None and jobs > 1 and not (resume and is_group(Path(resume))):
        raise ConfigError("jobs: expected --seeds N, too, or --resume of a group of runs; a single run has one job")
    if resume and seeds is not None:
        raise ConfigError(f"seeds: {resume} keeps the seeds that it began with; leave --seeds out to resume it")
    if resume and is_group(Path(resume)):
        train_group(Path(resume), jobs, _options("train-ner", "", resume, allow_changes, voice, typed["progress"]))
        return
    config = make_config(TaggerConfig, typed, _file(file, resume, "ner"), PRESETS[preset])
    portable.begin(config.portable)
    options = _options("train-ner", path, resume, allow_changes, voice, config.progress)
    if seeds is not None:
        train_group(open_group(share_cores(config, jobs), seeds, path, options.root), jobs, options)
        return
    options.tell(one_line(f"finished: {train_tagger(config, options)}"))


def _file(file: str | None, resume: str, kind: str) -> str | None:
    """A resumed run has its settings from its own folder."""
    return str(inside(reopen(resume, kind).path, "config.json")) if resume else file


for command in (data, diff, vectors, verify, compare, evaluate, runs, predict, export):
    main.add_command(command)


if __name__ == "__main__":
    main()
