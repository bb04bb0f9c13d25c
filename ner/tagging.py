"""Files and streams through a trained tagger: text and CoNLL in; text, CoNLL and JSON lines out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ner.conll import Columns, format_sentence, iter_conll, read_conll, to_scheme
from ner.embeddings import vector_test
from ner.predict import TrainedTagger
from ner.report import Evaluation, evaluation
from ner.splits import split_of
from training.errors import ConfigError, DataError

Progress = Callable[[str, int, int], None]
CONLL_SUFFIXES = (".conll", ".conll03", ".conll2003", ".bio", ".iob", ".iob2", ".iobes", ".bioes", ".tsv")


def predict_stream(tagger: TrainedTagger, source: str, form: str = "auto", output: str | None = None) -> Iterator[str]:
    """Tag ``source`` (a path, or "-" for standard input) and yield what is to be written, piece by piece.

    ``form``: "text" (a paragraph a line), "conll", or "auto" by the file's name. ``output``: "text", "jsonl" (a line for
    each line of text, with its entities and their offsets), "conll". DataError for a file that cannot be read as such.
    """
    if form == "auto":
        name = Path(source).name
        form = (
            "conll"
            if name.lower().endswith(CONLL_SUFFIXES) or (source != "-" and "." in name and _is_split(name))
            else "text"
        )
    output = output or ("conll" if form == "conll" else "text")
    with _opened(source) as stream:
        if form == "conll":
            yield from _conll(tagger, stream, source, output)
        else:
            yield from _text(tagger, stream, source, output)


def _is_split(name: str) -> bool:
    return split_of(name) is not None and not name.lower().endswith((".txt", ".json", ".jsonl"))


def _conll(tagger: TrainedTagger, stream: BinaryIO, source: str, output: str) -> Iterator[str]:
    if output != "conll":
        raise ConfigError(f"predict: a CoNLL file is written as conll, not as {output}; give --input text for raw text")
    sentences = iter_conll(stream, source, columns=Columns(tagger.config.word_column, None))
    for sentence, tags in tagger.tag_sentences(sentences):
        yield format_sentence(sentence, tags)


def _text(tagger: TrainedTagger, stream: BinaryIO, source: str, output: str) -> Iterator[str]:
    for line in _lines(stream, source):
        entities = tagger.entities(line)
        if output == "jsonl":
            found = [entity.to_dict() for entity in entities]
            yield json.dumps({"text": line, "entities": found}, ensure_ascii=False) + "\n"
        elif output == "text":
            marked, at = "", 0
            for entity in entities:
                marked += line[at : entity.start] + f"[{entity.text}]{{{entity.type}}}"
                at = entity.end
            yield marked + line[at:] + "\n"
        else:
            for words, tags in tagger.tagged_sentences(line):
                yield "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def evaluate_file(tagger: TrainedTagger, path: str, progress: Progress | None = None) -> Evaluation:
    """Judge the tags for any labelled file, whose scheme is detected; its types may be others than the tagger's.

    ``progress(what, done, total)`` is told how many sentences are tagged.
    """
    config, indexer = tagger.config, tagger.indexer
    read = read_conll(path, columns=tagger.columns, docstart=config.docstart)
    gold, _ = to_scheme(read, config.scheme, mend=config.repair)
    trained = set(islice(indexer.words, len(indexer.words) - len(tagger.model.words.extra)))  # none that was met later
    predicted: list[list[str]] = []
    for _, tags in tagger.tag_sentences(gold):
        predicted.append(tags)
        if progress:
            progress(f"tagging {path}", len(predicted), len(gold))
    return evaluation(
        gold, predicted, config.scheme, lambda word: indexer.rule.word(word) in trained, vector_test(tagger.vectors)
    )


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}: expected UTF-8, got byte {error.object[error.start]:#04x}") from None


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(source, "rb")  # noqa: SIM115 - closed below
    except IsADirectoryError:
        raise DataError(f"{source}: expected a file to tag, got a folder") from None
    except OSError as error:
        raise DataError(f"{source}: expected a file to tag, cannot read it: {error.strerror}") from None
    with stream:
        yield stream
