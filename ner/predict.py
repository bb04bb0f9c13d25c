"""Files and streams through a trained tagger, in order and in constant memory; labeled files scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ner.corpus.conll import Columns, number_words, read_conll, to_scheme
from ner.scoring.report import Evaluation, evaluation
from ner.tagging.readers import FORMS, Lines, Passage, form_of, opened, read_passages
from ner.tagging.tagger import CHUNK, Tagged, TrainedTagger
from ner.tagging.writers import FORMATS, Writer
from ner.vectors.views import vector_test
from training.errors import ConfigError
from training.job_progress import JobProgress

CHUNK_TOKENS = 20_000  # or fewer, where they have so many tokens


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
    progress: JobProgress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Tag files ("-" is standard input) and yield what is to be written, piece by piece, in the order that they have.

    ``form``: one of passages.FORMS, or "auto" by what each file holds. ``output``: one of outputs.FORMATS, or None for CoNLL
    and JSON lines as they came, else text. ``threshold``: entities of at least this confidence. ``key``, ``split_words``:
    see ``read_passages``; ``color``, ``key_out``, ``terminal``: see Writer. ``columns``: of CoNLL files, None for the run's
    own. ``progress(what, done, total)`` is told how many bytes of a file are tagged, ``warn`` what may be wrong with one.

    ConfigError for settings that are none, DataError (file:line) for what cannot be read.
    """
    if form not in ("auto", *FORMS) or output not in (None, *FORMATS) or not 0.0 <= threshold <= 1.0:
        expected = f"input auto, {', '.join(FORMS)}; format {', '.join(FORMATS)}; a threshold from 0 to 1"
        raise ConfigError(f"predict: expected {expected}, got {form}, {output} and {threshold}")
    columns = columns or tagger.columns
    files = [sources] if isinstance(sources, str) else list(sources)
    writer: Writer | None = None
    for source in files:
        with opened(source) as lines:
            each = form_of(lines.name, lines.kind) if form == "auto" and lines.kind else form
            if each == "conll" and warn and lines.kind and (warning := lines.kind.warning(columns.word)):
                warn(f"{lines.name}: {warning}")
            if writer is None:
                output = output or (each if each in ("conll", "jsonl") else "text")
                writer = _writer(output, color, key_out, terminal)
                if beginning := writer.begin():
                    yield beginning
            if len(files) > 1 and (heading := writer.file(lines.name)):
                yield heading
            for chunk in _chunks(read_passages(lines, each, columns, key, split_words), lines):
                for passage, tagged in _tag(tagger, chunk, threshold):
                    skipped = output != "conll" and passage.rows is not None and passage.rows.is_docstart
                    if not skipped and (piece := writer.piece(passage, tagged)):
                        yield piece
                if progress and lines.done < lines.total:
                    progress(f"tagging {source}", lines.done, lines.total)
            if progress and lines.total:
                progress(f"tagging {source}", lines.total, lines.total)
    if writer and (ending := writer.end()):
        yield ending


def _writer(output: str, color: bool, key_out: str | None, terminal: bool) -> Writer:
    if key_out is not None and (output != "jsonl" or not key_out):
        expected = "expected the name of an entry, and --format jsonl to write it in"
        raise ConfigError(f"--key-out: {expected}, got {key_out!r} and {output}")
    return Writer(output, color, key_out, terminal)


def _chunks(passages: Iterator[Passage], lines: Lines) -> Iterator[list[Passage]]:
    """Passages that are tagged together, documents whole: fewer where the next one has to be waited for."""
    chunk: list[Passage] = []
    tokens = 0
    for passage in passages:
        if (len(chunk) >= CHUNK or tokens >= CHUNK_TOKENS) and passage.document != chunk[-1].document:
            yield chunk
            chunk, tokens = [], 0
        chunk.append(passage)
        tokens += sum(map(len, passage.sentences))
        if not (passage.rows and passage.rows.document) and lines.waiting():
            yield chunk
            chunk, tokens = [], 0
    if chunk:
        yield chunk


def _tag(tagger: TrainedTagger, chunk: list[Passage], threshold: float) -> Iterator[tuple[Passage, list[Tagged]]]:
    """Each passage with its tagged sentences. A -DOCSTART- row is O, unless the tagger was trained on such rows."""
    kept = tagger.config.docstart == "keep"
    words = [
        [] if passage.rows and passage.rows.is_docstart and not kept else [token.text for token in sentence]
        for passage in chunk
        for sentence in passage.sentences
    ]
    numbers = [passage.document for passage in chunk for _ in passage.sentences]
    found = iter(tagger.predict(words, numbers))
    for passage in chunk:
        tagged = [next(found).above(threshold) for _ in passage.sentences]
        yield passage, [each if each.tags else Tagged(["O"], [], []) for each in tagged]


def evaluate_file(
    tagger: TrainedTagger,
    path: str,
    progress: JobProgress | None = None,
    columns: Columns | None = None,
    warn: Callable[[str], None] | None = None,
) -> Evaluation:
    """Judge the tags for any labeled file, whose scheme is detected; its types may be others than the tagger's.

    ``columns``: where words and tags stand, None for the run's own. ``progress(what, done, total)`` is told how many
    sentences are tagged, ``warn`` what may be wrong with the file.
    """
    config, indexer = tagger.config, tagger.indexer
    read = read_conll(path, columns=columns or tagger.columns, docstart=config.docstart)
    if warn and (warning := number_words(read)):
        warn(f"{path}: {warning}")
    gold, _ = to_scheme(read, config.scheme, mend=config.repair)
    trained = tagger.trained_words
    predicted: list[list[str]] = []
    for _, tags in tagger.tag_sentences(gold):
        predicted.append(tags)
        if progress:
            progress(f"tagging {path}", len(predicted), len(gold))
    return evaluation(
        gold, predicted, config.scheme, lambda word: indexer.rule.word(word) in trained, vector_test(tagger.vectors)
    )
