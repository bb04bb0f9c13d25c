"""``data suspects``: which labels of a file look wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ner.commands.columns import columns
from ner.commands.no_effect import warn_of_forms
from ner.config import PRESETS, TaggerConfig
from training.commands.help import Command
from training.commands.options import whole
from training.commands.start import RunFlags, run_settings
from training.commands.terminal import LongJob, echo, warn
from training.errors import ConfigError
from training.files import LARGEST_JSON, inside
from training.visible import counted, one_line

SHOWN = 20
ROOT = "runs/suspects"


@click.command(
    short_help="Find labels that look wrong.",
    cls=Command,
    epilog="\b\nExample:\n  python cli.py data suspects data/sample/train.conll --config runs/ner/version_0/config.json",
)
@click.argument("file", type=click.Path())
@click.option("--folds", type=whole(2, 1000), default=5, show_default=True, help="Number of folds of the cross-validation.")
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), help="Preset of the taggers.  [default: default, without --config]"
)
@click.option("--config", "settings", metavar="FILE", help="Read the taggers' settings from a run's config.json.")
@click.option("--vectors", help="Word vectors, as for train-ner.  [default: as in the settings]")
@click.option("--run", "folder", default="", metavar="DIR", help=f"Folder to write to.  [default: a new one in {ROOT}]")
@columns
def suspects(
    file: str,
    folds: int,
    preset: str | None,
    settings: str | None,
    vectors: str | None,
    folder: str,
    word_column: int | None,
    tag_column: int | None,
) -> None:
    """Find labels of a FILE that look wrong, the most suspicious first. A folder of three splits stands for its
    training file.

    Splits the documents into folds and reads each fold with a tagger that was trained on the others. A label is a suspect
    if the tagger is confident of another reading. Suspects are printed, and written as text, CoNLL with one more column,
    JSON lines and an HTML page. The same command resumes a stopped search.
    """
    from ner.corpus.conll import Columns
    from ner.corpus.splits import find_splits
    from ner.suspects import folds as validation
    from ner.suspects.suspects import suspects as find
    from ner.suspects.writers import to_text, write_all
    from ner.train import resolve_vectors
    from training.determinism import portable

    if settings and preset:
        raise ConfigError(f"--preset: expected it or --config, which has all settings, got {preset} and {settings}")
    config = TaggerConfig.from_dict(PRESETS[preset or "default"], "--preset")
    if settings:
        config = TaggerConfig.load(inside(Path(settings).parent, Path(settings).name, largest=LARGEST_JSON))
    if vectors:
        config = replace(config, vectors=vectors, more_vectors=())
    portable.begin(config.portable, own=True)
    options = run_settings(RunFlags(None, "", "", False, "plain"), config.progress)
    path = find_splits(file).train if Path(file).is_dir() else Path(file)
    warn_of_forms([path])
    labeled = validation.LabeledFile.read(path, Columns.asked(word_column, tag_column), config, warn)
    # Standard output is for what was found, and what single runs have to say is in their folders.
    config = resolve_vectors(config, replace(options, tell=warn))
    done = validation.begin(labeled, config, folds, folder, ROOT, warn)
    done.train(replace(options, tell=lambda line: None), warn)
    found = find(done, LongJob())
    for line in to_text(found, SHOWN).splitlines():
        echo(line)
    written = write_all(done.folder, labeled, found)
    echo(one_line(f"{counted(len(found), 'suspect')}: {', '.join(map(str, written))}"))
