"""Signs of life: each process tells the others, about once a second, that it is there, and finds out which of them is not.

gloo waits without an end for the bytes of a process that hangs, and for those behind a dead link. So each process has two
threads beside its work. One brings its word to the store that torch.distributed's launcher keeps, over a connection of its
own, and fetches the others'. The other one looks at what has come, and since when nothing has. A process that only lags, or
computes for an hour, beats all the same. One that is lost is named by all in the same way: whoever finds it puts its number
into its own word.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from training.errors import ConfigError
from training.parallel import loss
from training.parallel.loss import Lost
from training.visible import counted

NOBODY = -1
BROKEN = "a connection between the processes has broken"
ENDED = " ended before the others"


@dataclass
class Word:
    """What a process says of itself."""

    beat: int = 0
    exchange: int = 0
    """The number of the exchange that it is in; 0 outside of one."""
    alarmed: bool = False
    """Whether a connection of it has broken."""
    left: bool = False
    lost: int | None = None
    """The process that it counts as lost, NOBODY where it is a link; None as long as all is well."""

    def text(self) -> str:
        """As it is sent."""
        lost = "" if self.lost is None else self.lost
        return f"{self.beat} {self.exchange} {self.alarmed:d} {self.left:d} {lost}"

    @staticmethod
    def of(text: str) -> Word:
        """Back from ``text``."""
        beat, exchange, alarmed, left, lost = text.split(" ")
        return Word(int(beat), int(exchange), alarmed == "1", left == "1", int(lost) if lost else None)


class Pulse:
    """The signs of life of process ``rank`` of ``world``, over a connection of its own to their store.

    Raises:
        ConfigError: where not all have come.
    """

    def __init__(self, rank: int, world: int, store: Store) -> None:
        self.rank, self.world = rank, world
        self._store = store
        self._keys = [f"beat/{i}" for i in range(world)]
        self._word = Word()
        self._words = [Word() for _ in range(world)]
        self._silent = [0.0] * world
        """Seconds since each was heard of; those in which this process did not run are not counted."""
        self._waits, self._waited = 0.0, [0] * world
        """Seconds since all wait, and in which exchanges."""
        self._exchanges = 0
        self._cut = False
        """Whether the store has gone."""
        self._lost: Lost | None = None
        self._lock = threading.Condition()
        """Held to read or change what is above; told when words have come."""
        self._known = self._word
        """This process's word as the store has it."""
        self._soon, self._leaving = threading.Event(), threading.Event()
        self._hosts = self._meet()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._beat, self._watch)]
        for each in self._threads:
            each.start()

    # -- an exchange ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """An exchange begins. Lost where a process is."""
        with self._lock:
            if self._lost is not None:
                raise loss.announce(self._lost)
            self._exchanges += 1
            self._word.exchange = self._exchanges

    def end(self) -> None:
        """It has ended; where this process is being ended meanwhile, it comes no further than here."""
        with self._lock:
            self._word.exchange = 0

    def broken(self) -> Lost:
        """A connection broke in an exchange: whose it was, as far as can be found out."""
        with self._lock:
            self._word.alarmed = True
            self._lock.wait_for(lambda: self._lost is not None, 2 * loss.seconds.lost)
            return self._lost or self._found(NOBODY, BROKEN)

    def leave(self) -> None:
        """This process has done its part, or has given up."""
        with self._lock:
            self._word.left = True
            self._tell()
        self._leaving.set()

    def _tell(self) -> None:
        """Let the others know now, as far as they can be reached."""
        self._soon.set()
        self._lock.wait_for(self._is_known, min(3.0, loss.seconds.lost))

    def _is_known(self) -> bool:
        return self._cut or (self._known.left, self._known.lost) == (self._word.left, self._word.lost)

    # -- the two threads ---

    def _meet(self) -> list[str]:
        """The hosts of the processes, by rank, once all are there."""
        names = [f"host/{i}" for i in range(self.world)]
        self._store.set(names[self.rank], platform.node() or "this host")
        self._store.set(self._keys[self.rank], self._word.text())
        try:
            return [each.decode() for each in self._store.multi_get(names)]
        except RuntimeError:
            missing = [i for i, name in enumerate(names) if not self._has(name)]
            who = ", ".join(map(str, missing))
            raise ConfigError(f"expected {self.world} processes, got no word from number {who}; start them all") from None

    def _has(self, name: str) -> bool:
        with suppress(RuntimeError):
            return bool(self._store.check([name]))
        return False

    def _beat(self) -> None:
        while not self._leaving.is_set():
            self._soon.clear()
            with self._lock:
                self._word.beat += 1
                word = replace(self._word)
            try:
                self._store.set(self._keys[self.rank], word.text())
                heard = [Word.of(each.decode()) for each in self._store.multi_get(self._keys)]
            except RuntimeError:
                with self._lock:
                    self._cut = True
                return
            with self._lock:
                self._known = word
                for i, each in enumerate(heard):
                    if each.beat != self._words[i].beat:
                        self._words[i], self._silent[i] = each, 0.0
                self._lock.notify_all()
            self._soon.wait(loss.seconds.interval)

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._leaving.wait(loss.seconds.interval):
            now = time.monotonic()
            passed, before = min(now - before, 2 * loss.seconds.interval), now
            with self._lock:
                self._silent = [seconds + passed for seconds in self._silent]
                waited, self._waited = self._waited, [self._word.exchange, *(each.exchange for each in self._words)]
                self._waits = self._waits + passed if all(waited) and waited == self._waited else 0.0
                self._look()
                if self._lost is not None and self._word.exchange and not self._word.alarmed:
                    self._tell()
                    if self._word.exchange:
                        loss.end(self._lost)

    # -- whom they find lost ---

    def _look(self) -> None:
        """Whether somebody is lost by now."""
        if self._lost is not None:
            return
        alarmed = self._word.alarmed or any(word.alarmed for word in self._words)
        limit = loss.seconds.roll_call if alarmed else loss.seconds.lost
        others = [i for i in range(self.world) if i != self.rank]
        told = next((self._words[i].lost for i in others if self._words[i].lost is not None), None)
        silent = [i for i in others if self._silent[i] > limit and not self._words[i].left]
        gone = [i for i in others if self._words[i].left and self._silent[i] > loss.seconds.roll_call]
        waits = bool(self._word.exchange) or alarmed
        if told is not None:
            left = told != NOBODY and self._words[told].left  # found by another one first
            self._found(told, BROKEN if told == NOBODY else ENDED if left else " is lost")
        elif self._cut and not is_kept_by_launcher():
            self._found(0, " is lost: its connection is closed")
        elif self._cut:
            self._found(NOBODY, f"what started the processes is gone from {os.environ['MASTER_ADDR']}")
        elif silent:
            more = f" (with {counted(len(silent) - 1, 'other')})" if len(silent) > 1 else ""
            self._found(silent[0], f"{more} is lost")
        elif gone and waits:
            self._found(gone[0], ENDED)
        elif self._waits > loss.seconds.stuck:
            self._found(
                NOBODY,
                f"all processes have waited {loss.seconds.stuck:g} s for each other: a link between them is dead",
            )

    def _found(self, rank: int, what: str) -> Lost:
        """It is lost, whoever it is; the lowest of the processes that are heard says so."""
        if rank == self.rank:
            what = f" gave no sign of life for {loss.seconds.lost:g} s, so the others gave it up"
        elif rank != NOBODY and what.endswith(" is lost"):
            what += f": no sign of life for {max(1.0, self._silent[rank]):.0f} s"
        line = what if rank == NOBODY else f"process {rank} on {self._hosts[rank]}{what}"
        self._word.lost = rank
        self._lost = Lost(line)
        said = [
            w.lost is not None or (not w.left and self._silent[i] <= loss.seconds.roll_call)
            for i, w in enumerate(self._words)
        ]
        self._lost.silent = any(said[i] for i in range(self.rank) if i != rank)
        self._lock.notify_all()
        return self._lost


def is_kept_by_launcher() -> bool:
    """Whether the store is the launcher's, not process 0's."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def connection(timeout: float) -> Store:
    """One more connection to the store that the environment names."""
    return own_part(
        TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
            timeout=timedelta(seconds=timeout), wait_for_workers=False,
        )
    )  # fmt: skip


def own_part(store: Store, attempt: int | None = None) -> Store:
    """The part of a store that belongs to one start of the processes, by default this one's: torchrun keeps the store."""
    count = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if attempt is None else attempt
    return PrefixStore(f"samebits/{count}", store)
