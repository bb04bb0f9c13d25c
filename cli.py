"""The command line: the commands of all packages, and the kinds of runs that they make."""

from __future__ import annotations

from training import interrupts  # before the other imports, which take their time

# isort: split
import click

from ner.commands.compare import compare
from ner.commands.data import data
from ner.commands.evaluate import evaluate
from ner.commands.export import export
from ner.commands.predict import predict
from ner.commands.train_lm import train_lm
from ner.commands.train_ner import train_ner
from training.commands.ask import ask
from training.commands.diff import diff
from training.commands.door import Commands
from training.commands.runs import runs
from training.commands.verify import verify
from training.run.kinds import Kind
from word2vec.commands.fetch import fetch
from word2vec.commands.train_w2v import train_w2v
from word2vec.commands.vectors import vectors

VERSION = "0.2.0"  # setup.cfg reads it here
KINDS = {
    "w2v": Kind(
        command="train-w2v",
        config="word2vec.config:Word2VecConfig",
        train="word2vec.train:train_word2vec",
        products=("vectors.bin", "vectors.txt"),
        card="word2vec.card:add",
    ),
    "ner": Kind(
        command="train-ner",
        config="ner.config:TaggerConfig",
        train="ner.train:train_tagger",
        scores={"best F1": "best_val_f1", "test F1": "test_f1"},
        results=("confidence_temperature", "calibration", "conformal", "errors"),
        pages=("test_report.txt", "test_report.html"),
        card="ner.scoring.card:add",
        group="ner.seeds.ensemble:calibrate",
    ),
    "lm": Kind(
        command="train-lm",
        config="ner.lm.config:LanguageModelConfig",
        train="ner.lm.train:train_language_model",
        scores={"perplexity": "val_perplexity"},
        card="ner.lm.card:add",
    ),
}


@click.group(
    cls=Commands,
    epilog="\b\nExample:\n  python cli.py train-w2v\n  python cli.py train-ner --deterministic",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "obj": KINDS},
)
@click.version_option(VERSION, prog_name="samebits")
def main() -> None:
    """Word vectors and a named-entity tagger in pure PyTorch, with the same bits every time."""


data.add_command(fetch)
for command in (train_w2v, train_ner, train_lm, data, diff, vectors, verify, ask, compare, evaluate, runs, predict, export):
    main.add_command(command)

interrupts.over()


def start() -> None:
    """The program: an interrupt has no traceback, not even before the command begins or while the interpreter ends."""
    interrupts.begin()
    try:
        main()
    finally:
        interrupts.begin()


if __name__ == "__main__":
    start()
