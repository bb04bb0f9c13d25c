"""Training a language model, from text to a finished run folder. Reads top-down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ner.inputs.language_words import LanguageWords
from ner.lm.config import KIND, LanguageModelConfig
from ner.lm.task import LanguageModelTask
from ner.lm.text import PieceBatches, Text
from ner.model.language_model import LanguageModel
from ner.vectors.views import Views, word_matrix
from training.determinism.any_threads import side_by_side
from training.errors import ConfigError, DataError
from training.loop.cadence import train_batches
from training.loop.model_summary import ModelSummary
from training.loop.trainer import Trainer
from training.run.experiment import RunOptions, already_finished, open_run
from training.run.folder import check_beside
from training.run.inputs import Inputs
from training.run.places import placed, reading_place
from training.visible import counted, one_line
from word2vec.text.corpus import Corpus, check_texts, encode
from word2vec.text.tokenize import TextRule
from word2vec.text.vocab import Vocab
from word2vec.vectors.load import file_of
from word2vec.vectors.vectors import WordVectors, rule_path

VOCAB = "vocab.tsv"
IDS = "corpus.ids"
READERS = 8  # processes that share the reading of a text at most


def train_language_model(config: LanguageModelConfig, options: RunOptions | None = None) -> Path:
    """Read the text and train; what ``train-lm`` does.

    Args:
        config: text, model, training (LanguageModelConfig has all settings, the defaults among them).
        options: where to keep the run, which run to resume, and who gets its messages; None for a new run in runs/lm.

    Returns:
        The run's folder, with the weights, vocab.tsv, metrics.jsonl, ledger.jsonl and manifest.json.

    Raises:
        ConfigError: settings that contradict each other, or do not fit the text.
        DataError: with file:line, text that cannot be read.
        CheckpointError, Preempted, NonFiniteError: see training/errors.py.

    Source: Peters et al. 2017; see ner/model/language_model.py.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ner.lm.config import LanguageModelConfig
        >>> from ner.lm.train import train_language_model
        >>> from training.run.experiment import RunOptions
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text").write_text("the cat saw the dog and the dog saw the cat\\n" * 20)
        ...     small = LanguageModelConfig(
        ...         corpus=(f"{folder}/text",), dim=4, hidden_size=8, valid_every=5, max_epochs=1, progress=False
        ...     )
        ...     run = train_language_model(small, RunOptions(path=f"{folder}/run"))
        ...     (run / "manifest.json").is_file()
        True
    """
    options = options or RunOptions()
    if finished := already_finished(options, KIND, config):
        return finished
    here, options = placed(config, options)
    vectors_file = _vectors_file(here, options)
    inputs = _inputs(here, vectors_file)
    vectors = Views([WordVectors.load(vectors_file)]) if vectors_file else None
    vocab, text, read = read_text(here, options)
    if len(text) < 2:
        raise DataError(
            f"{', '.join(config.corpus)}: expected two sentences or more, of which one is held out, got {len(text)}"
        )
    held_out = text.held_out(config.valid_every)
    train = PieceBatches(text, ~held_out, config.batch_words, seed=config.seed)
    valid = PieceBatches(text, held_out, config.batch_words, shuffle=False)
    task = _new_task(config, options, vocab, vectors, _steps(config, train))
    # From here on nothing is wrong with the text: only now is there a folder for the run.
    with open_run(KIND, config, options, inputs) as run:
        vocab.save(run.run.path / VOCAB)
        run.run.manifest["text"] = {"words": read.read, "ids_sha256": read.sha256, "vocabulary": len(vocab)}
        options.tell(
            f"text: {counted(read.read, 'word')} in {counted(read.sentences, 'sentence')}; vocabulary: "
            f"{counted(len(vocab), 'word')}, {vocab.total / read.read:.1%} of the text; held out: "
            f"{counted(valid.total, 'word')}"
        )
        options.tell(str(ModelSummary(task, max_depth=2)))
        trainer = Trainer(run, enable_checkpointing=False)
        trainer.fit(task, train, valid)
        names = "train_loss_epoch", "val_loss", "val_perplexity"
        run.finish(task, {name: float(trainer.metrics[name]) for name in names if name in trainer.metrics})
    return run.run.path


def text_rule(config: LanguageModelConfig) -> TextRule:
    """How the text is made into words."""
    return TextRule(tokenize=config.tokenize, lowercase=config.lowercase, digits=config.digits)


def _vectors_file(config: LanguageModelConfig, options: RunOptions) -> Path | None:
    """The file that ``vectors``, itself one or a train-w2v run's folder, stands for.

    DataError where it belongs to a finished run and is not as it left it.
    """
    if config.vectors == "none":
        return None
    file = file_of(config.vectors)
    if not file.is_file():
        raise ConfigError(f"vectors: expected a file of word vectors, a train-w2v run or none, got {config.vectors!r}")
    check_beside([file, rule_path(file)], options.tell)
    return file


def _inputs(config: LanguageModelConfig, vectors: Path | None) -> Inputs:
    """The files that are about to be read. DataError for a text that is none."""
    check_texts(config.corpus)
    inputs = Inputs({f"corpus {i}": path for i, path in enumerate(config.corpus)})
    if vectors is not None:
        inputs.add("vectors", vectors)
        inputs.add("vectors' text rule", rule_path(vectors))
    return inputs


def read_text(config: LanguageModelConfig, options: RunOptions) -> tuple[Vocab, Text, Corpus]:
    """The vocabulary, the text in memory, and how much there was. Each process reads the text by itself."""

    def show(done: int, total: int) -> None:
        if options.progress is not None:
            options.progress("reading the text", done, total)

    with reading_place(options) as place:
        vocab, corpus = encode(
            config.corpus,
            place / IDS,
            text_rule(config),
            min_count=config.min_count,
            max_vocab=config.max_vocab,
            keep_unknown=True,
            processes=min(side_by_side(), READERS),
            progress=show,
            warn=lambda line: options.tell(one_line(line)),
        )
        return vocab, Text.read(corpus, config.max_length), corpus


def _steps(config: LanguageModelConfig, batches: PieceBatches) -> int:
    """Optimizer steps of the whole run, over which the learning rate falls. ConfigError where there are none."""
    number = train_batches(config, batches.batches_per_epoch)
    steps = config.max_epochs * -(-number // config.accumulate_grad_batches)
    return steps if config.max_steps < 0 else min(steps, config.max_steps)


def _new_task(
    config: LanguageModelConfig, options: RunOptions, vocab: Vocab, vectors: Views | None, steps: int
) -> LanguageModelTask:
    """The task with its initial weights: a function of settings, text and vectors."""
    words = LanguageWords(vocab.words, text_rule(config))
    counts = Counter(dict(zip(vocab.words, vocab.counts.tolist(), strict=True)))
    matrix, coverage = word_matrix(["</s>", "<unk>", *vocab.words], counts, vectors, config.dim, config.seed)
    options.tell(f"vectors: {coverage}" if vectors else "vectors: none, random ones are trained")
    model = LanguageModel(matrix, config.hidden_size, config.projection_dim, seed=config.seed)
    return LanguageModelTask(config, model, words, steps)
