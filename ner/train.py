"""Training a tagger, from files to a finished run folder. Reads top-down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence, number_words, write_conll
from ner.corpus.dataset import Dataset, read_dataset, split_paths
from ner.corpus.labeled import files_of
from ner.corpus.scheme import allowed_transitions, doubtful_types
from ner.distillation.readings import forget, with_readings
from ner.distillation.teacher import read_teacher
from ner.distillation.unlabeled import Unlabeled, read_unlabeled, with_unlabeled
from ner.explain import NO_VECTORS, Trained, explain, none_has_a_vector
from ner.inputs.batches import Encoded, RehearsedBatches, SentenceBatches, UnlabeledBatches
from ner.inputs.encode import encode_labeled, word_counts
from ner.inputs.indexer import FIRST, Indexer
from ner.lm.load import read_language_model
from ner.model.calibration import fit_to_judged, judge
from ner.model.confidence import Confidence
from ner.model.conformal import fit_sets
from ner.model.crf import MANY
from ner.model.language_model import FrozenLanguageModel
from ner.model.tagger import Tagger
from ner.schedule import resolved
from ner.scoring.card import CALIBRATION, ERRORS, SPLIT_NAMES, SPLITS, error_counts, split_sizes
from ner.scoring.report import Evaluation, evaluation
from ner.scoring.tensorboard import full_text, show_precision_recall, write_test_report
from ner.start.forgetting import forgetting
from ner.start.start import OldData, Start, read_old, read_start
from ner.start.tables import carry_over, joined
from ner.tagging.load import CONFORMAL, TEMPERATURE, TEXT_RULE, WEIGHTS, Saved
from ner.tagging.tagger import TrainedTagger
from ner.task import TaggerTask
from ner.vectors.unseen import UnseenWords
from ner.vectors.views import RAW, Coverage, Views, vector_test, word_matrix
from training import checkpoint
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.polyak_averaging import PolyakAveraging
from training.data.tensors import move
from training.digest import weights_sha256
from training.errors import ConfigError, DataError
from training.files import atomic_write, sha256_file
from training.loop.cadence import limits
from training.loop.callback import Callback
from training.loop.device import precision
from training.loop.model_summary import ModelSummary
from training.loop.tables import results_table
from training.loop.trainer import Trainer
from training.run.experiment import Experiment, RunOptions, already_finished, open_run
from training.run.folder import METRICS, check_beside, newest_finished, read_jsonl
from training.run.inputs import Inputs
from training.run.places import placed
from training.visible import counted, one_line
from word2vec.text.file_kinds import NO_WORD
from word2vec.text.tokenize import TextRule
from word2vec.vectors.load import file_of
from word2vec.vectors.vectors import WordVectors, rule_path

SHOWN_WORDS = 1000  # in the projector
MAIN = ("characters", "decoder", "dropout", "hidden_size", "seed")  # on TensorBoard's page of settings


def train_tagger(config: TaggerConfig, options: RunOptions | None = None) -> Path:
    """Train a tagger, test it and report; what ``train-ner`` does.

    Args:
        config: data, model, training (TaggerConfig has all settings, the defaults among them).
        options: where to keep the run, which run to resume, and who gets its messages; None for a new run in runs/ner.

    Returns:
        The run's folder, with the weights, metrics.jsonl, ledger.jsonl, manifest.json, predictions and reports.

    Raises:
        ConfigError: settings that contradict each other.
        DataError: with file:line, data that cannot be read or learned from.
        CheckpointError, Preempted, NonFiniteError: see training/errors.py.

    Example:
        >>> import tempfile
        >>> from ner import TaggerConfig, train_tagger
        >>> from training.run.experiment import RunOptions
        >>> limits = {f"limit_{split}_batches": 1 for split in ("train", "val", "test")}
        >>> small = TaggerConfig(vectors="none", hidden_size=8, max_epochs=1, progress=False, **limits)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = train_tagger(small, RunOptions(path=f"{folder}/run"))
        ...     (run / "manifest.json").is_file()
        True
    """
    options = options or RunOptions()
    if finished := already_finished(options, "ner", config):
        return finished
    here, options = placed(config, options)
    inputs = Inputs()  # each is added before it is read
    start = read_start(here, inputs, options.tell)
    if start is not None:
        config, here = start.kept.put_into(config), start.kept.put_into(here)
    read = resolve_vectors(here, options)
    if read != here:
        config = dataclasses.replace(config, vectors=read.vectors, more_vectors=read.more_vectors)
    splits = [files_of(name, path) for name, path in split_paths(read)._asdict().items()]
    for name, path in {**splits[0], **splits[1], **splits[2], **_vector_inputs(read)}.items():
        inputs.add(name, path)
    old = read_old(read, start, inputs)
    teacher = read_teacher(read, inputs, options.tell)
    lm = read_language_model(read.lm, inputs, options.tell)
    dataset = read_dataset(read, start.saved.indexer.types if start else ())
    config, read = resolved(config, dataset.train), resolved(read, dataset.train)
    unlabeled = read_unlabeled(read, inputs, len(dataset.train))
    vectors = start.saved.vectors if start and read.vectors == "auto" else load_views(read)
    rule = start.saved.indexer.rule if start else text_rule(config, vectors, options)
    lesson = with_unlabeled(with_old(dataset, old), unlabeled)
    indexer = Indexer.build((dataset if start else lesson).train, rule, config.scheme)
    if lm is not None:
        indexer = dataclasses.replace(indexer, lm=lm.words)
    _tell_data(config, options, dataset, indexer)
    check_lesson(config, dataset, indexer)
    if teacher is not None:
        teacher.check_labels(indexer)
        _tell_teacher(config, options, unlabeled)
    if start is None:
        indexer = without_rare_words(config, lesson, indexer, vectors)
        task, coverage = build_task(config, lesson, indexer, vectors, lm.model if lm else None)
    else:
        task, coverage, indexer = build_from(start, config, lesson, vectors)
        _tell_start(config, options, start, old, indexer)
    options.tell(f"vectors: {coverage}" if vectors else "vectors: none, random ones are trained")
    unseen = UnseenWords()
    if vectors and config.unseen_vectors:
        others = (word for sentence in dataset.valid + dataset.test for word in sentence.words)
        task.model.words.attach(unseen.add(indexer, vectors, others))
    if vectors and none_has_a_vector(coverage):
        options.tell(NO_VECTORS)
    # A rare word of the training data may be among the unseen ones: in training it stays unknown.
    train = encode_labeled(lesson.train, indexer, config)
    task.sentences = lesson.train
    task.labeled = len(dataset.train) if teacher else None
    valid, test = (encode_labeled(part, indexer, config, unseen.ids) for part in (dataset.valid, dataset.test))
    # From here on nothing is wrong with the data: only now is there a folder for the run.
    with open_run("ner", config, options, inputs) as run:
        indexer.save(run.run.path / "indexer.json")
        if start is not None:
            run.run.manifest["start"] = start.facts()
        if lm is not None:
            run.run.manifest["lm"] = lm.facts()
        if teacher is not None:
            shares = np.where(np.arange(len(train)) < len(dataset.train), config.teacher_share, 1.0).astype(np.float32)
            train = with_readings(run, teacher, train, lesson.train, shares, indexer)
        options.tell(str(ModelSummary(task, max_depth=2)))
        trainer, best = _fit(run, config, task, train, valid, len(dataset.train))
        found = trainer.test(task, SentenceBatches(test, config.batch_size, shuffle=False), verbose=False)
        results = found[0] if found else {}  # nothing with limit_test_batches 0
        if found:
            options.tell(results_table(found, "test"))
        if best is not None:
            results["best_val_f1"] = best
        _calibrate(run, config, task, valid, trainer)
        if start is not None and found:
            tests = {"new test": [dataset.test[i] for i in _tested(task, dataset)]}
            tests |= {"old test": old.test} if old else {}
            now = _saved(run, config, task, indexer, vectors)
            results |= _show_forgetting(run, start, now, tests, trainer.global_step)
        if teacher is not None:
            forget(run)
        lines = read_jsonl(run.run.path / METRICS)
        seen = Trained(config, dataset, coverage if vectors else None, trainer.global_step, lines, None)
        _finish(run, seen, task, indexer, results, vectors)
    return run.run.path


def check_lesson(config: TaggerConfig, dataset: Dataset, indexer: Indexer) -> None:
    """DataError or ConfigError where training would have nothing to learn, before there is a folder for the run."""
    if not indexer.types:
        remedy = "give --tag-column, or label entities"
        raise DataError(f"{dataset.paths.train}: nothing to train on: expected tags of entities, got only O; {remedy}")
    if config.fast_dev_run:
        return
    name, limit = limits(config)["train"]
    settings = {name: limit, "max_epochs": config.max_epochs, "max_steps": config.max_steps}
    for name, value in settings.items():
        if value == 0:
            raise ConfigError(f"{name}: nothing to train on: expected more than 0, got 0")


def load_views(config: TaggerConfig) -> Views | None:
    """The settings' word vectors, or None."""
    views = [WordVectors.load(path) for path in vector_files(config)]
    return Views(views, affixes=config.affix_vectors) if views else None


def vector_files(config: TaggerConfig) -> list[str]:
    """The files of word vectors, in order of their views."""
    return [] if config.vectors in ("auto", "none") else [config.vectors, *config.more_vectors]


def _vector_inputs(config: TaggerConfig) -> dict[str, str | Path]:
    """The files for the manifest, by name: "vectors", "vectors 2", …, each with its text rule, if it has one."""
    found: dict[str, str | Path] = {}
    for i, path in enumerate(vector_files(config), 1):
        name = "vectors" if i == 1 else f"vectors {i}"
        found |= {name: path, f"{name}{TEXT_RULE}": rule_path(path)}
    return found


def resolve_vectors(config: TaggerConfig, options: RunOptions) -> TaggerConfig:
    """The settings with the vectors' file in place of "auto"; tells which, or that there is none.

    With ``start_from``, "auto" stays: it means the start's.
    """
    path = config.vectors
    if path == "auto" and config.start_from:
        if config.more_vectors:
            raise ConfigError("more_vectors: expected --vectors with it, got only those of --start-from")
        return config
    if path == "auto":
        root = Path(options.folder) / options.root / "w2v"
        newest = newest_finished(root)
        if newest is None:
            options.tell(f"vectors: no finished run in {root}, so random ones are trained (run train-w2v first)")
            return dataclasses.replace(config, vectors="none")
        path = str(newest / "vectors.bin")
    if path == "none":
        if config.more_vectors:
            raise ConfigError("more_vectors: expected --vectors with it, got none")
        return config
    found = [_vector_file(each, options) for each in (path, *config.more_vectors)]
    return dataclasses.replace(config, vectors=found[0], more_vectors=tuple(found[1:]))


def _vector_file(path: str, options: RunOptions) -> str:
    """The file that ``path``, itself one or a train-w2v run's folder, stands for."""
    file = str(file_of(path)) if Path(path).is_dir() else path
    if not Path(file).is_file():
        raise ConfigError(
            f"vectors: expected a file of word vectors or a train-w2v run (or --vectors alone: auto or none), got {path!r}"
        )
    check_beside([Path(file), rule_path(file)], options.tell)
    options.tell(f"vectors: {file} (SHA-256 {sha256_file(file)})")
    return file


def text_rule(config: TaggerConfig, vectors: Views | None, options: RunOptions) -> TextRule:
    """How words are looked up: as the vectors' text was normalized, unless the settings want them raw."""
    if vectors is None or vectors.rule is None:
        return RAW
    rule = dataclasses.replace(vectors.rule, tokenize=False)
    if config.word_form == "vectors" or rule == RAW:
        return rule
    case = "lower-cased" if rule.lowercase else "cased"
    digits = "with digits as 0" if rule.digits == "zero" else "with digits kept"
    options.tell(
        f"vectors: they were trained on {case} words {digits}, and --word-form raw keeps the tagger's words as they are: "
        "a word without a vector is looked up in the vectors' form"
    )
    return RAW


def without_rare_words(config: TaggerConfig, dataset: Dataset, indexer: Indexer, vectors: Views | None) -> Indexer:
    """The indexer without the words that occur less often than ``tune_min_count`` and have no vector.

    Nothing would tell them from the unknown word: their random vectors would stay as they are.
    """
    if config.tune_min_count <= 1:
        return indexer
    counts = word_counts(dataset.train, indexer)
    return indexer.with_words(w for w in indexer.words if counts[w] >= config.tune_min_count or (vectors and vectors.has(w)))


def build_task(
    config: TaggerConfig,
    dataset: Dataset,
    indexer: Indexer,
    vectors: Views | None,
    lm: FrozenLanguageModel | None = None,
) -> tuple[TaggerTask, Coverage]:
    """The task with its initial weights: a function of settings, training data, vectors and language model."""
    counts = word_counts(dataset.train, indexer)
    tuned = FIRST + sum(counts[word] >= config.tune_min_count for word in indexer.words)  # the most frequent stand first
    return _new_task(config, indexer, counts, tuned, vectors, lm)


def _new_task(
    config: TaggerConfig,
    indexer: Indexer,
    counts: Mapping[str, int],
    tuned: int,
    vectors: Views | None,
    lm: FrozenLanguageModel | None,
) -> tuple[TaggerTask, Coverage]:
    """The task with initial weights; the first ``tuned`` rows of its word table are trained. ``counts``: of its words."""
    words = ["<pad>", "<unk>", *indexer.words]
    matrix, coverage = word_matrix(words, counts, vectors, config.word_dim, config.seed)
    allowed = allowed_transitions(indexer.labels, indexer.scheme)
    model = Tagger(config, matrix, indexer.num_characters, len(indexer.labels), allowed, tuned, lm)
    rare = torch.tensor([False] * FIRST + [counts.get(word, 0) == 1 for word in indexer.words])
    return TaggerTask(config, model, indexer.labels, rare), coverage


def build_from(
    start: Start, config: TaggerConfig, dataset: Dataset, vectors: Views | None
) -> tuple[TaggerTask, Coverage, Indexer]:
    """The task that begins with the start's weights, and the tables of both: a function of start, settings, data, vectors.

    ConfigError where the vectors do not have as many numbers as the start's words.
    """
    if vectors and sum(vectors.sizes) != start.dim:
        raise ConfigError(
            f"vectors: expected {start.dim} numbers a word, as in {start.folder}, got {sum(vectors.sizes)}; give vectors of "
            "that size, or leave --vectors out"
        )
    new = Indexer.build(dataset.train, start.saved.indexer.rule, config.scheme)
    counts = word_counts(dataset.train, new)
    indexer, tuned = joined(
        start.saved, new, counts, config.tune_min_count, lambda word: bool(vectors and vectors.has(word))
    )
    settings = dataclasses.replace(config, word_dim=start.dim)
    task, coverage = _new_task(settings, indexer, counts, tuned, vectors, start.saved.lm())
    task.config = config
    if config.precision == "64-true":
        task.double()  # before it gets the start's weights, which may be float64, too
    carry_over(start.saved, task.model, indexer)
    return task, coverage, indexer


def with_old(dataset: Dataset, old: OldData | None) -> Dataset:
    """The data with the old training sentences behind the new ones, as documents of their own."""
    if old is None or not old.train:
        return dataset
    after = max(sentence.document for sentence in dataset.train) + 1
    shifted = [dataclasses.replace(s, document=s.document + after if s.document else 0) for s in old.train]
    return dataclasses.replace(dataset, train=[*dataset.train, *shifted])


def _fit(
    run: Experiment, config: TaggerConfig, task: TaggerTask, train: Encoded, valid: Encoded, new_sentences: int
) -> tuple[Trainer, float | None]:
    """Train with validation, leave the weights to be tested in the task; returns the trainer and the best valid F1, if any.

    Of the training sentences all but the first ``new_sentences`` are old ones, to be rehearsed, or a teacher's alone.
    """
    best = ModelCheckpoint(filename="best-{epoch}-{step}", monitor="val_f1", mode="max", save_weights_only=True)
    callbacks: list[Callback] = [best]
    if config.patience:
        callbacks.append(EarlyStopping("val_f1", mode="max", patience=config.patience))
    if config.average:
        callbacks.append(PolyakAveraging(config.average))
    trainer = Trainer(run, callbacks=callbacks)
    trainer.fit(
        task,
        _train_batches(config, train, new_sentences),
        _batches(config, valid, "order/valid", shuffle=config.shuffle_valid, keep=True),
    )
    folder = run.run.path / "checkpoints"
    checkpoint.save(folder / "last.ckpt", {"weights": dict(task.state_dict())})
    if config.test_weights == "best" and best.best_model_path:
        task.load_state_dict(trainer.session.group.first(lambda: checkpoint.load_weights(Path(best.best_model_path))))
    checkpoint.save(folder / "model.ckpt", {"weights": dict(task.state_dict())})
    score = best.best_model_score
    return trainer, None if score is None else float(score)


def _train_batches(config: TaggerConfig, train: Encoded, new: int) -> SentenceBatches:
    """The batches of an epoch: of all the first ``new`` sentences, and of a share of those behind them."""
    if new == len(train):
        return _batches(config, train, "order", shuffle=True)
    settings: dict[str, Any] = {"batching": config.batching, "seed": config.seed, "purpose": "order"}
    if config.teacher:
        return UnlabeledBatches(train, config.batch_size, labeled=new, share=config.unlabeled_share, **settings)
    return RehearsedBatches(train, config.batch_size, old=new, share=config.rehearse_share, **settings)


def _batches(config: TaggerConfig, encoded: Encoded, purpose: str, *, shuffle: bool, keep: bool = False) -> SentenceBatches:
    return SentenceBatches(
        encoded, config.batch_size,
        batching=config.batching, shuffle=shuffle, seed=config.seed, purpose=purpose, keep=keep,
    )  # fmt: skip


def _calibrate(run: Experiment, config: TaggerConfig, task: TaggerTask, valid: Encoded, trainer: Trainer) -> None:
    """Fit the temperature of confidences, and the bounds of sets, on as many batches as were validated on; else on none."""
    if not (n := sum(trainer.num_val_batches)):
        return
    batches = islice(_batches(config, valid, "order/valid", shuffle=False).plan(0), int(n))
    with precision(config.precision, task.device):
        judged = [judge(task.model, task.labels, move(batch, task.device)) for batch in batches]
        fitted = fit_to_judged(task.model, task.labels, judged)
        conformal = fit_sets(Confidence(task.model, task.labels, fitted.temperature), judged, config.scheme)
    run.run.manifest[TEMPERATURE] = fitted.temperature
    run.run.manifest[CALIBRATION] = {"entities": fitted.entities, "before": fitted.before, "after": fitted.after}
    run.run.manifest[CONFORMAL] = conformal.to_dict()
    run.run.log_metrics({TEMPERATURE: fitted.temperature}, trainer.global_step)
    run.options.tell(f"confidence: {fitted}")


def _finish(
    run: Experiment, seen: Trained, task: TaggerTask, indexer: Indexer, results: dict[str, float], vectors: Views | None
) -> None:
    """Report, predictions, TensorBoard's pages, and the manifest last. Where nothing was tested, there is no report."""
    config, dataset, step = seen.config, seen.dataset, seen.steps
    tested = _tested(task, dataset)
    found = _report(run, tested, seen, task, indexer, vectors) if tested else None
    _show_words(run, task, indexer, step)
    shown = {name: value for name, value in results.items() if name in ("best_val_f1", "test_f1", "test_loss")}
    run.run.board.hyperparameters(config.to_dict(), shown, step, MAIN)
    digest = weights_sha256(task)
    run.run.manifest["labels"] = list(indexer.labels)
    run.run.manifest[SPLITS] = {name: split_sizes(getattr(dataset, name)) for name in SPLIT_NAMES}
    if found:
        run.run.manifest[ERRORS] = error_counts(found)
    sealed = run.run.finish(digest, results)
    run.options.tell(full_text(found, worst=3) if found else "test: not run (limit_test_batches is 0), so no report")
    for line in explain(dataclasses.replace(seen, found=found)):
        run.options.tell(f"warning: {line}")
    run.options.tell(f"weights: SHA-256 {digest}")
    run.options.tell(f"seal: SHA-256 {sealed}")


def _report(
    run: Experiment, tested: list[int], seen: Trained, task: TaggerTask, indexer: Indexer, vectors: Views | None
) -> Evaluation:
    """The test's predictions, its report, and TensorBoard's pages of both."""
    config, dataset, step = seen.config, seen.dataset, seen.steps
    predicted = [indexer.decode(task.predicted[i]) for i in tested]
    # The report says where a sentence stands: as the settings name the file, from wherever it was read.
    file = Path(config.test) if config.train else Path(config.data) / dataset.paths.test.name
    folder = file if dataset.paths.test.is_dir() else file.parent
    sentences = [dataclasses.replace(s, path=str(folder / Path(s.path).name)) for s in map(dataset.test.__getitem__, tested)]
    trained = set(indexer.words)
    found = evaluation(
        sentences, predicted, config.scheme, lambda word: indexer.rule.word(word) in trained, vector_test(vectors)
    )
    plain = [Sentence(s.words, s.tags, separator="\t") for s in sentences]
    write_conll(run.run.path / "predictions.conll", plain, predicted)
    notes = [NO_VECTORS] if none_has_a_vector(seen.coverage) else []
    write_test_report(run.run, found, step, [*notes, *explain(dataclasses.replace(seen, found=found))])
    show_precision_recall(run.run, sentences, [task.type_probabilities[i] for i in tested], task.types, step)
    return found


def _tested(task: TaggerTask, dataset: Dataset) -> list[int]:
    """The numbers of the test sentences that were tested: not all with limit_test_batches."""
    return [i for i in range(len(dataset.test)) if i in task.predicted]


def _saved(run: Experiment, config: TaggerConfig, task: TaggerTask, indexer: Indexer, vectors: Views | None) -> Saved:
    """The tagger as it is read from the run's folder once that is finished."""
    weights = {name.removeprefix(WEIGHTS): value.detach().cpu() for name, value in task.state_dict().items()}
    return Saved(config, indexer, weights, vectors if config.unseen_vectors else None, str(run.run.path))


def _show_forgetting(
    run: Experiment, start: Start, now: Saved, tests: Mapping[str, Sequence[Sentence]], step: int
) -> dict[str, float]:
    """F1 of the start and of what came of it, on old and new test sentences: told, kept, and returned as metrics."""
    found = forgetting(TrainedTagger(start.saved), TrainedTagger(now), tests)
    atomic_write(run.run.path / "forgetting.json", json.dumps(found.to_dict(), indent=1) + "\n")
    run.run.board.text("test/before and after", found.table().to_markdown(), step)
    run.options.tell(found.table().to_text())
    return found.metrics()


def _show_words(run: Experiment, task: TaggerTask, indexer: Indexer, step: int) -> None:
    """The most frequent words' vectors, as trained, in the projector; the neighbors of some as text."""
    trained = task.model.words.weight.detach()[FIRST : FIRST + SHOWN_WORDS].float().cpu()
    words = list(indexer.words)[: len(trained)]
    run.run.board.embedding("words", trained, words, step)
    shown = WordVectors(words, trained, indexer.rule)
    probes = [word for word in words if word.isalpha() and len(word) > 3][:12]
    lines = [f"- **{probe}**: {', '.join(word for word, _ in shown.nearest(probe, 8))}" for probe in probes]
    run.run.board.text("words/neighbours", "\n".join(lines) or "none", step)


def _tell_teacher(config: TaggerConfig, options: RunOptions, unlabeled: Unlabeled) -> None:
    options.tell(
        f"teacher: its readings of the training sentences have {config.teacher_share:.0%} of the weight, their tags the rest"
    )
    if unlabeled.sentences:
        options.tell(f"unlabeled: {unlabeled}; {config.unlabeled_share:g} times the training sentences in each epoch")
    for file in unlabeled.empty:
        options.tell(one_line(f"warning: {file}: {NO_WORD}"))


def _tell_start(config: TaggerConfig, options: RunOptions, start: Start, old: OldData | None, indexer: Indexer) -> None:
    was = start.saved.indexer
    added = [kind for kind in indexer.types if kind not in was.types]
    words = len(indexer.words.keys() - was.words.keys())
    characters = len(indexer.characters.keys() - was.characters.keys())
    options.tell(f"start: {words:,} words and {characters:,} characters are new, and types: {', '.join(added) or 'none'}")
    if old is not None and old.train:
        options.tell(f"rehearsal: {config.rehearse_share:.1%} of {counted(len(old.train), 'old sentence')} in each epoch")
    elif old is None:
        options.tell("start: no old data, so forgetting is not measured (give --rehearse DATA 0)")


def _tell_data(config: TaggerConfig, options: RunOptions, dataset: Dataset, indexer: Indexer) -> None:
    def size(sentences: Sequence[Sentence]) -> str:
        return f"{counted(len(sentences), 'sentence')}, {counted(sum(len(s.words) for s in sentences), 'word')}"

    for name in ("train", "valid", "test"):
        options.tell(f"{name}: {getattr(dataset.paths, name)} ({size(getattr(dataset, name))})")
    for line in dataset.notes:
        options.tell(f"read: {line}")
    if warning := number_words(dataset.train):
        options.tell(f"warning: {dataset.paths.train}: {warning}")
    options.tell(f"tags: {dataset.source_scheme} → {indexer.scheme}, types {', '.join(indexer.types) or 'none'}")
    for line in doubtful_types(indexer.types):
        options.tell(f"warning: {line}")
    if config.decoder == "crf" and len(indexer.labels) > MANY:
        n = len(indexer.labels)
        options.tell(
            f"tags: {n:,} labels, so the CRF scores {n * n:,} transitions at every word, and needs about "
            f"{60 * n * n / 1e9:.1f} GB for them: steps are slow; --decoder softmax has no transitions"
        )
    if dataset.unknown_types:
        options.tell(f"tags: read as O, since the training data has no entity of their types: {dataset.unknown_types}")
    if dataset.repaired:
        options.tell(f"tags: {dataset.repaired:,} were repaired as conlleval reads them")
