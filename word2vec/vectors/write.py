"""Writing the files of word vectors that word2vec/vectors/read.py describes and reads: whole or not at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from training.errors import DataError
from training.files import atomic_path
from training.job_progress import Progress
from training.visible import listed, shortened
from word2vec.text.numerals import is_decimal
from word2vec.vectors import decimals
from word2vec.vectors.decimals import Floats
from word2vec.vectors.read import FORMATS


def write_table(
    path: str | Path, words: list[str], matrix: Floats, form: str = "text", progress: Progress | None = None
) -> None:
    """Write vectors (n, d) in one of FORMATS, compressed where the name ends in .gz; whole or not at all.

    Text holds the fewest digits that read back as the same float32. DataError for words that would not read back: empty,
    with a line end, with a space (GloVe's form allows it inside a word, where what follows is no number), not Unicode;
    and for values that are not finite. ``progress(done, total)`` is called with words.
    """
    if form not in FORMATS:
        raise DataError(f"format of vectors: expected {', '.join(FORMATS)}, got {form!r}")
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    n, d = matrix.shape
    if n == 0 or d == 0 or len(words) != n:
        raise DataError(f"{path}: expected a vector for each of {len(words)} words, got {n} of {d} dimensions")
    step = max(1, (1 << 14) // d)
    for i in range(0, n, step):
        if not (finite := np.isfinite(matrix[i : i + step]).all(axis=1)).all():
            raise DataError(
                f"{path}: expected finite numbers, got NaN or infinity for {words[i + int(np.argmin(finite))]!r}"
            )
    raw = _encoded(path, words, form)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        # No name and no time in the gzip header: the same vectors are the same bytes.
        stream = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if str(path).endswith(".gz") else file
        if form != "glove":
            stream.write(f"{n} {d}\n".encode())
        for i in range(0, n, step):
            part = matrix[i : i + step]
            rows = [row.tobytes() for row in part.astype("<f4")] if form == "binary" else decimals.format_rows(part)
            stream.write(b"".join(b"%b %b\n" % pair for pair in zip(raw[i : i + step], rows, strict=True)))
            if progress is not None:
                progress(min(i + step, n), n)
        if stream is not file:
            stream.close()


def _encoded(path: str | Path, words: list[str], form: str) -> list[bytes]:
    """The words as bytes. DataError names those that would not read back, what is wrong with the first, and a remedy."""
    raw = [word.encode(errors="surrogatepass") for word in words]
    bad = [i for i, (word, data) in enumerate(zip(words, raw, strict=True)) if _fault(word, data, form)]
    if bad:
        names = listed([shortened(repr(words[i]), 60) for i in bad], 3)
        raise DataError(f"{path}: words that cannot be written: {names}; {_fault(words[bad[0]], raw[bad[0]], form)}")
    return raw


def _fault(word: str, raw: bytes, form: str) -> str:
    """What keeps a word from being written, and what to do; "" for nothing."""
    if not raw or b"\n" in raw:
        return "expected words without line ends; leave these out, or join their parts as in New_York"
    if not word.isascii() and any("\ud800" <= c <= "\udfff" for c in word):
        return "expected words of Unicode characters, got halves of some; leave these out"
    if b" " not in raw:
        return ""
    if form != "glove":
        other = "write GloVe's form (--format glove), or join its parts as in New_York"
        return f"word2vec files cannot hold a word with a space; {other}"
    if raw.strip(b" ") != raw or is_decimal(raw.rsplit(b" ", 1)[1]):
        what = "a word that begins or ends with a space, or ends in a number,"
        return f"{what} could not be read back; join its parts as in New_York"
    return ""
