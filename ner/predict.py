"""Files and streams through a trained tagger, in order and in constant memory; labeled files scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence
from ner.corpus.scheme import to_spans
from ner.corpus.unknown_types import unknown_types, without_unknown_types
from ner.inputs.document import Numbering
from ner.model.conformal import Bounds
from ner.model.sets import ReadingSet
from ner.scoring.report import Evaluation, evaluation
from ner.scoring.sets import SetCoverage, judge_sets
from ner.tagging.chunks import chunks
from ner.tagging.gold import read_gold
from ner.tagging.readers import FORMS, Lines, Passage, opened, read_as, read_passages, texts_of
from ner.tagging.tagger import Tagged, TrainedTagger
from ner.tagging.writers import FORMATS, WITH_SETS, Writer
from ner.vectors.views import vector_test
from training.errors import ConfigError, DataError
from training.job_progress import JobProgress
from training.visible import listed
from word2vec.text.file_kinds import NO_WORD, FileKind


def predict_stream(
    tagger: TrainedTagger,
    sources: str | Sequence[str],
    form: str = "auto",
    output: str | None = None,
    *,
    threshold: float = 0.0,
    key: str | None = None,
    key_out: str | None = None,
    split_words: bool = False,
    color: bool = False,
    terminal: bool = False,
    columns: Columns | None = None,
    sets: float | None = None,
    progress: JobProgress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Tag files and yield the output piece by piece, in order; what ``predict`` does.

    Args:
        tagger: the tagger.
        sources: a file or several; "-" is standard input.
        form: what they hold, one of ner.tagging.readers.FORMS, or "auto" by each one's content.
        output: one of ner.tagging.writers.FORMATS; None for the input's form if that is CoNLL or JSON lines, else text.
        threshold: only entities of at least this confidence, from 0 to 1.
        key: the entry of a JSON line that holds the text or the words; None for "text", or else "tokens". Other forms have
            no entries, and do not read it.
        key_out: the entry of a JSON line that gets the whole result; None adds entries to the line's own.
        split_words: the words are separated by white space; do not tokenize.
        color: entities in color, in text.
        terminal: escape control characters.
        columns: of CoNLL files; None for the run's own.
        sets: the coverage of sets of readings, such as 0.9, to add to text and JSON lines; None for no sets.
        progress: called with the number of bytes tagged, (what, done, total).
        warn: called with a line about a likely fault of a file.

    Returns:
        The text to be written, a passage at a time; memory does not grow with the file.

    Raises:
        ConfigError: invalid settings.
        DataError: with file:line, what cannot be read, or written in the format.

    Example:
        >>> import tempfile
        >>> from ner import TaggerConfig, TrainedTagger, predict_stream, train_tagger
        >>> from training.run.experiment import RunOptions
        >>> limits = {f"limit_{split}_batches": 1 for split in ("train", "val", "test")}
        >>> small = TaggerConfig(vectors="none", hidden_size=8, max_epochs=1, progress=False, **limits)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tagger = TrainedTagger.load(train_tagger(small, RunOptions(path=f"{folder}/run")))
        >>> from pathlib import Path
        >>> written = "".join(predict_stream(tagger, "data/sample/test.conll"))
        >>> written.count("\\n") == Path("data/sample/test.conll").read_text().count("\\n")
        True
    """
    if form not in ("auto", *FORMS) or output not in (None, *FORMATS) or not 0.0 <= threshold <= 1.0:
        expected = f"input auto, {', '.join(FORMS)}; format {', '.join(FORMATS)}; a threshold from 0 to 1"
        raise ConfigError(f"predict: expected {expected}, got {form}, {output} and {threshold}")
    if sets is not None and threshold:
        raise ConfigError(f"sets: expected them or a threshold, got sets {sets} and threshold {threshold}")
    bounds = None if sets is None else tagger.bounds(sets)
    columns = columns or tagger.columns
    files = [file for source in ([sources] if isinstance(sources, str) else sources) for file in texts_of(source)]
    writer: Writer | None = None
    for source in files:
        with opened(source) as lines:
            each, here, guessed = read_as(lines, form, columns)
            if warn and guessed:
                warn(f"{lines.name}: {guessed}")
            if warn and lines.kind:
                for warning in _warnings(lines.kind, each, form, here):
                    warn(f"{lines.name}: {warning}")
            if writer is None:
                output = output or (each if each in ("conll", "jsonl") else "text")
                if bounds and output not in WITH_SETS:
                    raise ConfigError(f"sets: expected --format {' or '.join(WITH_SETS)}, which can hold them, got {output}")
                writer = _writer(output, color, key_out, terminal)
                if beginning := writer.begin():
                    yield beginning
            if len(files) > 1 and (heading := writer.file(lines.name)):
                yield heading
            has_words = False
            for chunk in _passage_chunks(read_passages(lines, each, here, key, split_words), lines):
                for passage, tagged, own_sets in _tag(tagger, chunk, threshold, bounds):
                    has_words = has_words or any(passage.sentences)
                    skipped = output != "conll" and passage.rows is not None and passage.rows.is_docstart
                    if not skipped and (piece := writer.piece(passage, tagged, own_sets)):
                        yield piece
                if progress and lines.done < lines.total:
                    progress(f"tagging {source}", lines.done, lines.total)
            if progress and lines.total:
                progress(f"tagging {source}", lines.total, lines.total)
            if warn and not has_words:
                warn(f"{lines.name}: {NO_WORD}")
    if writer and (ending := writer.end()):
        yield ending


def _warnings(kind: FileKind, form: str, asked: str, columns: Columns) -> Iterator[str]:
    """What may be wrong with how a file is read."""
    if form == "conll" and (warning := kind.warning(columns.word)):
        yield warning
    if asked == "auto" and (doubt := kind.doubt()):
        yield f"{doubt} (--input conll reads a word a line)"


def _writer(output: str, color: bool, key_out: str | None, terminal: bool) -> Writer:
    if key_out is not None and (output != "jsonl" or not key_out):
        expected = "expected the name of an entry, and --format jsonl to write it in"
        raise ConfigError(f"--key-out: {expected}, got {key_out!r} and {output}")
    return Writer(output, color, key_out, terminal)


def _passage_chunks(passages: Iterable[Passage], lines: Lines) -> Iterator[list[Passage]]:
    """Passages that are tagged together; at once where the next line has to be waited for, outside of documents."""
    return chunks(
        passages,
        document=lambda passage: passage.document,
        tokens=lambda passage: sum(map(len, passage.sentences)),
        hurry=lambda passage: not (passage.rows and passage.rows.document) and lines.waiting(),
    )


def _tag(
    tagger: TrainedTagger, chunk: list[Passage], threshold: float, bounds: Bounds | None
) -> Iterator[tuple[Passage, list[Tagged], list[list[ReadingSet]] | None]]:
    """Each passage with its tagged sentences, and their sets where there are bounds for them.

    A -DOCSTART- row is O, unless the tagger was trained on such rows.
    """
    kept = tagger.config.docstart == "keep"
    words = [
        [] if passage.rows and passage.rows.is_docstart and not kept else [token.text for token in sentence]
        for passage in chunk
        for sentence in passage.sentences
    ]
    numbers = [passage.document for passage in chunk for _ in passage.sentences]
    found: Iterator[tuple[Tagged, list[ReadingSet]]]
    if bounds is None:
        found = ((tagged, []) for tagged in tagger.predict(words, numbers))
    else:
        found = iter(tagger.sets(words, bounds, numbers))
    for passage in chunk:
        pairs = [next(found) for _ in passage.sentences]
        tagged = [each.above(threshold) if each.tags else Tagged(["O"], [], []) for each, _ in pairs]
        yield passage, tagged, None if bounds is None else [sets for _, sets in pairs]


def tag_sentences(tagger: TrainedTagger, sentences: Iterable[Sentence]) -> Iterator[list[str]]:
    """The tags of each sentence, in order and in constant memory."""
    for chunk in _document_chunks(sentences):
        yield from tagger.tag([sentence.words for sentence, _ in chunk], [number for _, number in chunk])


def _document_chunks(sentences: Iterable[Sentence]) -> Iterator[list[tuple[Sentence, int]]]:
    """Sentences that are tagged together, each with the number of its document."""
    number = Numbering()
    numbered = ((sentence, number(sentence) + 1) for sentence in sentences)
    return chunks(numbered, document=lambda each: each[1], tokens=lambda each: len(each[0].words))


def evaluate_file(
    tagger: TrainedTagger,
    path: str,
    progress: JobProgress | None = None,
    columns: Columns | None = None,
    warn: Callable[[str], None] | None = None,
    rules: SpanRules | None = None,
    unknown: str = "",
    sets: float | None = None,
) -> Evaluation:
    """Score the tagger on a labeled file; what ``evaluate`` does.

    Args:
        tagger: the tagger.
        path: a labeled file of any form; its scheme is detected, its types may differ from the tagger's.
        progress: called with the number of tagged sentences, (what, done, total).
        columns: the columns of words and tags; None for the run's own.
        warn: called with a line about a likely fault of the file.
        rules: how to treat spans that tags cannot express; None for errors.
        unknown: what to do with entities of types that the tagger does not know: "" counts them as missed; "error"
            refuses them; "ignore" reads them as O.
        sets: the coverage of sets of readings, such as 0.9, to score them, too; None for no sets.

    Returns:
        Scores, and each sentence's entities judged.

    Raises:
        ConfigError: no such coverage, or one that the calibration cannot show.
        DataError: with file:line, what cannot be read; the tagger's sets are not calibrated.

    Example:
        >>> import tempfile
        >>> from ner import TaggerConfig, TrainedTagger, evaluate_file, train_tagger
        >>> from training.run.experiment import RunOptions
        >>> limits = {f"limit_{split}_batches": 1 for split in ("train", "val", "test")}
        >>> small = TaggerConfig(vectors="none", hidden_size=8, max_epochs=1, progress=False, **limits)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tagger = TrainedTagger.load(train_tagger(small, RunOptions(path=f"{folder}/run")))
        >>> found = evaluate_file(tagger, "data/sample/test.conll")
        >>> sorted(found.scores.strict["micro avg"])
        ['f1-score', 'precision', 'recall', 'support']
    """
    indexer, scheme = tagger.indexer, tagger.config.scheme
    bounds = None if sets is None else tagger.bounds(sets)
    gold = _known_types(read_gold(tagger, path, columns, warn, rules), tagger, unknown, warn)
    trained = tagger.trained_words
    predicted: list[list[str]] = []
    for tags in tag_sentences(tagger, gold):
        predicted.append(tags)
        if progress:
            progress(f"tagging {path}", len(predicted), len(gold))
    found = evaluation(gold, predicted, scheme, lambda word: indexer.rule.word(word) in trained, vector_test(tagger.vectors))
    return found if bounds is None else replace(found, sets=_judged_sets(tagger, gold, bounds))


def _judged_sets(tagger: TrainedTagger, gold: Sequence[Sentence], bounds: Bounds) -> SetCoverage:
    """How often the sets of labeled sentences hold the gold entities."""
    rows = (
        (to_spans(sentence.tags), sets)
        for chunk in _document_chunks(gold)
        for (sentence, _), (_, sets) in zip(
            chunk, tagger.sets([s.words for s, _ in chunk], bounds, [number for _, number in chunk]), strict=True
        )
    )  # fmt: skip
    return judge_sets(rows, bounds.percent)


def _known_types(
    gold: list[Sentence], tagger: TrainedTagger, how: str, warn: Callable[[str], None] | None
) -> list[Sentence]:
    """The sentences with entities of unknown types as asked for, which is told. DataError where they are refused."""
    known = tagger.indexer.types
    unknown = unknown_types(gold, known)
    if not unknown:
        return gold
    types = listed(sorted(known), 20)
    if how == "error":
        raise DataError(
            f"{unknown.place}: expected entities of types that the tagger knows ({types}), got others: {unknown}"
        )
    if warn:
        treated = "are read as O" if how == "ignore" else "count as missed (--unknown-types ignore reads them as O)"
        warn(f"entities of types that the tagger does not know ({types}) {treated}: {unknown}")
    return gold if how != "ignore" else without_unknown_types(gold, known, tagger.config.scheme)
