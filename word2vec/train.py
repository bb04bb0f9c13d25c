"""Training word vectors, from text to a finished run folder. Reads top-down."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from training import checkpoint
from training.data.batches import Batches
from training.determinism import any_threads
from training.determinism.any_threads import side_by_side
from training.errors import ConfigError, DataError
from training.files import check_new, inside
from training.kept_settings import KeptSettings
from training.loop.cadence import train_batches
from training.loop.callback import Callback
from training.loop.memory import keep_freed_memory
from training.loop.model_summary import ModelSummary
from training.loop.task import Task
from training.loop.trainer import Trainer
from training.loop.view import TrainerView
from training.parallel.group import Group, join
from training.run.experiment import Experiment, RunOptions, already_finished, open_run
from training.run.folder import METRICS, Run, read_jsonl
from training.run.inputs import DescribedInputs, Inputs
from training.run.places import placed, reading_place
from training.run.seal import MODEL
from training.visible import counted, one_line
from word2vec.config import Word2VecConfig
from word2vec.explain import Trained, explain
from word2vec.model.beside import helped
from word2vec.start import VOCAB, Start, carry_over, kept_settings, read_start
from word2vec.task import TABLES, Word2VecTask
from word2vec.text.ahead import Ahead
from word2vec.text.batches import TextBatches
from word2vec.text.corpus import Corpus, check_texts, encode
from word2vec.text.shared import local
from word2vec.text.tokenize import TextRule
from word2vec.text.vocab import Vocab
from word2vec.vectors.evaluate import AnalogySet, SimilaritySet, as_metrics, check_names, evaluate, read_set
from word2vec.vectors.vectors import WordVectors

IDS = "corpus.ids"
PROBES, NEIGHBORS = 12, 8
IN_PROJECTOR = 5000
LARGEST_KEPT = 2**25  # bytes: a step's tensors are smaller, the tables of a large vocabulary are not
READERS = 8  # processes that share the reading of a text at most: one more has to merge what they find
MAIN = ("architecture", "dim", "loss", "lr", "negative")  # on TensorBoard's page of settings
ANALOGY_WORDS = NEIGHBOR_WORDS = 30_000


def train_word2vec(config: Word2VecConfig, options: RunOptions | None = None) -> Path:
    """Read the text, train, write the vectors; what ``train-w2v`` does.

    Args:
        config: text, model, training (Word2VecConfig has all settings, the defaults among them).
        options: where to keep the run, which run to resume, and who gets its messages; None for a new run in runs/w2v.

    Returns:
        The run's folder, with vectors.txt, vectors.bin, vocab.tsv, metrics.jsonl, ledger.jsonl and manifest.json.

    Raises:
        ConfigError: settings that contradict each other, or leave no vocabulary.
        DataError: with file:line, text that cannot be read or learned from.
        CheckpointError, Preempted, NonFiniteError: see training/errors.py.

    Source: Mikolov et al. 2013a and 2013b; see word2vec/model/word2vec.py.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from training.run.experiment import RunOptions
        >>> from word2vec import Word2VecConfig, WordVectors, train_word2vec
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text").write_text("the cat saw the dog and the dog saw the cat\\n" * 20)
        ...     small = Word2VecConfig(corpus=(f"{folder}/text",), dim=8, max_epochs=1, sample=0, progress=False)
        ...     run = train_word2vec(small, RunOptions(path=f"{folder}/run"))
        ...     vectors = WordVectors.load(run / "vectors.bin")
        >>> len(vectors), vectors.dim, vectors.words[0]
        (5, 8, 'the')
    """
    options = options or RunOptions()
    if finished := already_finished(options, "w2v", config):
        for name in (f"{IDS}.json", IDS):  # where it was killed before it did that itself
            (finished / name).unlink(missing_ok=True)
        return finished
    if not options.resume:  # a run that has begun goes on to the end that it would have had
        check_names(config.evaluate)
    here, options = placed(config, options)
    group = join(config)
    if config.start_from:
        kept: KeptSettings = group.first(lambda: kept_settings(here.start_from))
        config, here = kept.put_into(config), kept.put_into(here)
    with (
        _inputs_read(here, config, options, group) as read,
        open_run("w2v", config, options, read.inputs, weights_apart=config.shards > 1) as run,
    ):
        vocab, corpus = group.first(lambda: _keep_text(run, here, read))
        corpus = local(corpus, run.run.path, group)
        run.options.tell(
            f"text: {counted(corpus.read, 'word')} in {counted(corpus.sentences, 'sentence')}; "
            f"vocabulary: {counted(len(vocab), 'word')} seen {counted(config.min_count, 'time')} or more, "
            f"{corpus.words / corpus.read:.1%} of the text"
        )
        batches = TextBatches(corpus, vocab, config)
        task = Word2VecTask(vocab, config, batches.batches_per_epoch, run.run.path)
        if config.start_from:
            carry_over(task, vocab, read.start)
        if group.world > 1:
            shared = task.model.columns.of_rank(0)
            run.options.tell(
                f"columns: process 0 of {group.world} has {shared.stop} of {config.dim}; these are its parameters:"
            )
        run.options.tell(str(ModelSummary(task, max_depth=2)))
        trainer = Trainer(run, callbacks=[Progress(run.run, vocab, config, read.sets)], enable_checkpointing=False)
        keep_freed_memory(LARGEST_KEPT)
        with _in_threads(task, batches) as source:
            trainer.fit(task, source)
        _finish(run, config, task, vocab, corpus, trainer)
    return run.run.path


@contextmanager
def _in_threads(task: Word2VecTask, batches: TextBatches) -> Iterator[Batches]:
    """The batches; where it pays, other threads prepare them and help with the steps, which changes no bit.

    It pays where torch would not share out an operation, or has little to share out.
    """
    pays = task.config.loss == "hierarchical" or any_threads.in_force()
    if side_by_side() == 1 or not pays:
        yield batches
        return
    with helped() as helper:  # one thread for both: with a third, two of them would have to share a core
        yield Ahead(batches, task.model.prepare, helper) if helper else batches


class Read(NamedTuple):
    """What process 0 has read; the others hear of the inputs alone."""

    inputs: Inputs
    sets: Sequence[SimilaritySet | AnalogySet] = ()
    place: Path = Path()
    """Where the encoded text is."""
    text: tuple[Vocab, Corpus] | None = None
    """None where a run is resumed."""
    start: Start | None = None
    """None if no run is trained further."""


@contextmanager
def _inputs_read(here: Word2VecConfig, config: Word2VecConfig, options: RunOptions, group: Group) -> Iterator[Read]:
    """The text, read by process 0 before there is a run's folder; what is wrong with it is raised in all processes."""
    with ExitStack() as stack:
        found: list[Read] = []

        def read() -> dict[str, dict[str, Any]]:
            check_sources(here, options)
            inputs = Inputs(
                {f"corpus {i}": path for i, path in enumerate(here.corpus) if path != "-"}
            )  # before they are read
            start = read_start(here, inputs, options.tell)
            sets = [_read_set(path, inputs) for path in here.evaluate]
            place = Path(options.resume) if options.resume else stack.enter_context(reading_place(options))
            text = None if options.resume else read_text(here, place, options, start)
            if text is not None:
                check_contexts(config, *text)
            found.append(Read(inputs, sets, place, text, start))
            return inputs.described() if group.world > 1 else {}

        described = group.first(read)
        yield found[0] if found else Read(DescribedInputs(described))


def _read_set(path: str, inputs: Inputs) -> SimilaritySet | AnalogySet:
    inputs.add(f"set {Path(path).stem}", path)
    return read_set(path)


def text_rule(config: Word2VecConfig) -> TextRule:
    """How the text is made into words."""
    return TextRule(tokenize=config.tokenize, lowercase=config.lowercase, digits=config.digits)


def check_sources(config: Word2VecConfig, options: RunOptions) -> None:
    """DataError or ConfigError for what would stop the run only after the text is read."""
    check_texts(path for path in config.corpus if path != "-")
    if options.path and not options.resume:
        check_new("run", options.path)


def read_text(config: Word2VecConfig, place: Path, options: RunOptions, start: Start | None = None) -> tuple[Vocab, Corpus]:
    """Read and encode the text into the folder ``place``; the vocabulary has the words of the start, too."""
    progress = options.progress

    def show(done: int, total: int) -> None:
        if progress is not None:
            progress("reading the text", done, total)

    return encode(
        config.corpus,
        place / IDS,
        text_rule(config),
        min_count=config.min_count,
        max_vocab=config.max_vocab,
        known=start.vocab.words if start else (),
        processes=min(side_by_side(), READERS),
        progress=show,
        warn=lambda line: options.tell(one_line(line)),
    )


def check_contexts(config: Word2VecConfig, vocab: Vocab, corpus: Corpus) -> None:
    """ConfigError or DataError where training would see nothing that it could learn from, before there is a run's folder."""
    batches = TextBatches(corpus, vocab, config)
    number = train_batches(config, batches.batches_per_epoch)
    batches.check_contexts(config.max_epochs, number if config.max_steps < 0 else min(number, config.max_steps))


def _keep_text(run: Experiment, config: Word2VecConfig, read: Read) -> tuple[Vocab, Corpus]:
    """The encoded text, moved into the run's folder; that of a resumed run is there, or is read again."""
    folder, manifest, text = run.run.path, run.run.manifest, read.text
    ids, described, vocabulary = (inside(folder, name) for name in (IDS, f"{IDS}.json", VOCAB))
    if text is None and described.is_file() and vocabulary.is_file():
        vocab, corpus = Vocab.load(vocabulary), Corpus.load(ids)
    else:
        if text is None:
            if "-" in config.corpus:
                raise DataError(f"{folder}: the text came from stdin and is not kept there any more; begin a new run")
            text = read_text(config, folder, run.options, read.start)
        else:
            os.replace(read.place / IDS, ids)
        vocab, corpus = text[0], text[1].moved(ids)
        vocab.save(vocabulary)
        corpus.save()  # last: what it describes is there
    if read.start is not None:
        manifest["start"] = read.start.facts()
        run.options.tell(f"start: {len(vocab) - len(read.start.vocab):,} words are new")
    manifest["text"] = {"words": corpus.read, "ids_sha256": corpus.sha256, "vocabulary": len(vocab)}
    run.run.write_manifest()
    return vocab, corpus


class Progress(Callback):
    """After each epoch: the nearest neighbors of some probe words as text, and the scores on the sets."""

    def __init__(
        self, run: Run, vocab: Vocab, config: Word2VecConfig, sets: Sequence[SimilaritySet | AnalogySet] = ()
    ) -> None:
        self.run, self.vocab, self.rule, self.sets = run, vocab, text_rule(config), sets
        self.evaluates = bool(config.evaluate)
        probes = config.probes or [w for w in vocab if w.isalpha() and len(w) > 3][: 4 * PROBES : 4]
        self.probes = [self.rule.word(word) for word in probes]
        place = vocab.ids()
        if missing := [word for word in self.probes if word not in place]:
            raise ConfigError(f"probes: expected words of the vocabulary, got {', '.join(map(repr, missing))}")
        # Neighbors are looked for among the frequent words: the rest of a large vocabulary would be a copy of its table.
        self.shown = max([NEIGHBOR_WORDS, *(place[word] + 1 for word in self.probes)])

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        assert isinstance(task, Word2VecTask)
        whole = task.tables("input", rows=None if self.evaluates else self.shown)
        for name, score in task.model.columns.group.first(lambda: self._judged(whole["input"], trainer.global_step)):
            task.log(f"evaluate/{name}", score)

    def _judged(self, matrix: Tensor, step: int) -> list[tuple[str, float]]:
        """Show neighbors; the scores on the sets, with their names."""
        vectors = WordVectors(list(self.vocab.words[: self.shown]), matrix[: self.shown], self.rule)
        lines = [f"- **{w}**: {', '.join(near for near, _ in vectors.nearest(w, NEIGHBORS))}" for w in self.probes]
        self.run.board.text("neighbours", "\n".join(lines) or "no probe words", step)
        scores: list[tuple[str, float]] = []
        if self.sets:
            vectors = WordVectors(list(self.vocab), matrix, self.rule)
        for questions in self.sets:
            restrict = ANALOGY_WORDS if isinstance(questions, AnalogySet) else None
            scores += as_metrics([evaluate(vectors, questions, restrict=restrict)]).items()
        return scores


def _finish(
    run: Experiment, config: Word2VecConfig, task: Word2VecTask, vocab: Vocab, corpus: Corpus, trainer: Trainer
) -> None:
    """Write the vectors, fill TensorBoard's projector, and the manifest last; then the encoded text may go."""
    folder, group, whole = run.run.path, task.model.columns.group, task.tables(*TABLES)

    def write() -> None:
        matrix = whole["input"]
        vectors = WordVectors(list(vocab), matrix, text_rule(config))
        for name, form in (("vectors.txt", "text"), ("vectors.bin", "binary")):
            vectors.save(folder / name, form)
        checkpoint.save(folder / MODEL, {"weights": {f"model.{name}": table for name, table in whole.items()}})
        run.run.board.embedding("words", matrix[:IN_PROJECTOR], vocab.words[:IN_PROJECTOR], trainer.global_step)

    group.first(write)
    results = {"train_loss": float(trainer.metrics["train_loss_epoch"])}
    results |= {name: float(score) for name, score in trainer.metrics.items() if name.startswith("evaluate/")}
    if not math.isfinite(results["train_loss"]):
        raise DataError(f"{folder}: nothing to train on: in the last epoch no word had another one in its window")
    run.run.board.hyperparameters(config.to_dict(), results, trainer.global_step, MAIN)
    digest = task.weights_digest()
    run.run.scratch.append(f"{IDS}*")
    seal = run.run.finish(digest, results)
    if group.writes:
        corpus.delete()
    for line in _explained(run, config, vocab, corpus) if group.writes else []:
        run.options.tell(f"warning: {line}")
    run.options.tell(f"vectors: {folder / 'vectors.txt'} and vectors.bin, {len(vocab):,} words of {config.dim} dimensions")
    run.options.tell(f"weights: SHA-256 {digest}")
    run.options.tell(f"seal: SHA-256 {seal}")


def _explained(run: Experiment, config: Word2VecConfig, vocab: Vocab, corpus: Corpus) -> list[str]:
    """What looks wrong with the training."""
    keep = vocab.keep_probabilities(config.sample)
    kept = float((keep * vocab.counts).sum()) / max(1, vocab.total)
    losses = [float(line["train_loss_epoch"]) for line in read_jsonl(run.run.path / METRICS) if "train_loss_epoch" in line]
    return explain(Trained(config, len(vocab), corpus.read, corpus.words, corpus.sentences, kept, losses))
