"""Words → provisional ids, in order of appearance: of a text's lines, in this process or shared out to several.

A long text is cut into parcels of whole lines. A process that is given one numbers its words in order of appearance; whoever
merges the parcels, in their order, numbers the words of all of them. So the ids are those that one process gives.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from training.errors import SamebitsError
from word2vec.text.tokenize import TextRule, sentences, tokenize

END = 0
"""The provisional id that ends a sentence."""
_ROOT = str(Path(__file__).resolve().parents[2])
_WORKER = f"import sys; sys.path.insert(0, {_ROOT!r}); from word2vec.text.numbering import work; work()"


class Piece(NamedTuple):
    """A line, or a piece of a long one."""

    text: bytes
    ends: bool  # whether the line ends with it


class Numbered(NamedTuple):
    """What came of a parcel."""

    words: list[str]  # in normal form, in order of appearance: the ids 1, 2, …
    ids: bytes  # int32
    wrong: int | None  # the piece that is not UTF-8, with which it ended


class Words(dict[str | bytes, int]):
    """Raw token, as text or as UTF-8, → provisional id; a new one is brought to its normal form, once, and numbered."""

    def __init__(self, rule: TextRule) -> None:
        super().__init__()
        self.rule = rule
        self.numbers: dict[str, int] = {}  # normal form → provisional id

    def __missing__(self, token: str | bytes) -> int:
        text = token.decode() if isinstance(token, bytes) else token
        number = self.numbers.setdefault(self.rule.word(text), len(self.numbers) + 1)
        self[token] = number
        return number

    def number(self, pieces: Sequence[Piece]) -> tuple[array[int], int | None]:
        """The ids of all pieces; up to the first that is not UTF-8, and then which that is."""
        ids = array("i")
        for i, piece in enumerate(pieces):
            try:
                self._add(piece, ids)
            except UnicodeDecodeError:
                return ids, i
        return ids, None

    def _add(self, piece: Piece, ids: array[int]) -> None:
        if self.rule.tokenize:
            for sentence in sentences(tokenize(piece.text.decode())):
                ids.extend([self[token.text] for token in sentence])
                ids.append(END)
        else:  # as text.pretokenized does, but without decoding a word that is known
            ids.extend(map(self.__getitem__, piece.text.split()))
            if piece.ends:
                ids.append(END)


def numbered(rule: TextRule, pieces: Sequence[Piece]) -> Numbered:
    """The words of a parcel, numbered by themselves."""
    words = Words(rule)
    ids, wrong = words.number(pieces)
    return Numbered(list(words.numbers), ids.tobytes(), wrong)


# -- several processes ------------------------------------------------------------------------------------------------


def work() -> None:
    """In a process of ``Readers``: number parcel after parcel, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it says when it ends
    given, found = sys.stdin.buffer, sys.stdout.buffer
    try:
        rule = pickle.load(given)
        while True:
            pieces = [Piece(*each) for each in pickle.load(given)]
            pickle.dump(tuple(numbered(rule, pieces)), found, protocol=pickle.HIGHEST_PROTOCOL)
            found.flush()
    except (EOFError, BrokenPipeError):
        sys.stderr = None  # Python would tell there that what nobody reads cannot be flushed at its end


class Readers:
    """Processes that number parcels. Each starts with its first parcel, and ends with ``close``, or with this process.

    Args:
        rule: how the text becomes words.
        processes: how many.
    """

    def __init__(self, rule: TextRule, processes: int) -> None:
        self.rule, self.processes = rule, processes
        self.executor = ThreadPoolExecutor(processes, "reader")
        self.own = threading.local()  # of each thread, the process that it feeds
        self.children: list[subprocess.Popen[bytes]] = []

    def submit(self, pieces: Sequence[Piece]) -> Future[Numbered]:
        """Have a parcel numbered.

        Raises:
            SamebitsError: from the result: the process did not start, or ended before it answered.
        """
        return self.executor.submit(self._ask, pieces)

    def here(self, pieces: Sequence[Piece]) -> Future[Numbered]:
        """Have a parcel numbered by a thread of this process."""
        return self.executor.submit(numbered, self.rule, pieces)

    def close(self) -> None:
        """End the processes, also those that work."""
        for child in self.children:
            child.kill()
        self.executor.shutdown(cancel_futures=True)
        for child in self.children:
            child.kill()  # a thread may have begun it meanwhile
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):  # what was not sent cannot be, now
                    if pipe is not None:
                        pipe.close()

    def _ask(self, pieces: Sequence[Piece]) -> Numbered:
        child = getattr(self.own, "child", None) or self._begin()
        try:
            pickle.dump([tuple(piece) for piece in pieces], child.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            child.stdin.flush()
            return Numbered(*pickle.load(child.stdout))
        except (OSError, EOFError, pickle.UnpicklingError):
            code = child.wait()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise self._failed(how) from None

    def _begin(self) -> Any:
        # A session of its own: a signal from the terminal reaches this process alone, which then ends it.
        command = [sys.executable, "-c", _WORKER]
        try:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise self._failed(f"could not be started: {error.strerror}") from None
        self.children.append(child)
        self.own.child = child
        pickle.dump(self.rule, child.stdin)  # type: ignore[arg-type]
        return child

    def _failed(self, how: str) -> SamebitsError:
        return SamebitsError(
            f"reading the text: one of {self.processes} processes {how}; free some memory, or read with one: --threads 1"
        )
