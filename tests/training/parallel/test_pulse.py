"""Signs of life by themselves, over a store that some processes cannot reach: who names whom, and who says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from training.parallel import loss
from training.parallel.loss import Lost, Seconds
from training.parallel.pulse import Pulse, Word


class Short(Seconds):
    """Seconds of a test, wide enough for a busy machine."""

    @property
    def interval(self) -> float:
        return 0.02

    @property
    def stuck(self) -> float:
        return self.lost


@dataclass
class Store:
    """A store in memory; a process that is ``silent`` gets and sends nothing, one of the ``cut`` has no connection."""

    values: dict[str, bytes] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)

    def of(self, rank: int) -> Any:
        """The connection of a process."""
        return Connection(self, rank)


@dataclass
class Connection:
    store: Store
    rank: int

    def _reach(self) -> None:
        while self.rank in self.store.silent:
            time.sleep(0.01)
        if self.rank in self.store.cut:
            raise RuntimeError("Connection reset by peer")

    def set(self, key: str, value: str) -> None:
        self._reach()
        self.store.values[key] = value.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        while not all(key in self.store.values for key in keys):
            time.sleep(0.01)
        self._reach()
        return [self.store.values[key] for key in keys]


@dataclass
class Processes:
    """Three of them, in threads; each waits in an exchange until it is ended."""

    store: Store
    pulses: list[Pulse]
    said: dict[int, Lost]

    def expect(self, ranks: set[int]) -> dict[int, str]:
        """What those have said once they were ended; the others say nothing."""
        deadline = time.monotonic() + 30
        while not ranks <= set(self.said) and time.monotonic() < deadline:
            time.sleep(0.01)
        return {rank: str(lost) for rank, lost in self.said.items() if rank in ranks and not lost.silent}


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setattr(loss, "seconds", Short(lost=0.9))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "there")
    store, found, said = Store(), dict[int, Pulse](), dict[int, Lost]()

    def end(lost: Lost) -> None:
        said.setdefault(next((rank for rank, each in found.items() if each._lost is lost), -1), lost)

    # Before the threads of any pulse begin, and until the last one is over: what is replaced here ends the process.
    monkeypatch.setattr(loss, "end", end)
    monkeypatch.setattr(loss, "announce", lambda lost: lost)

    def begin(rank: int) -> None:
        found[rank] = Pulse(rank, 3, store.of(rank))

    starts = [threading.Thread(target=begin, args=[rank]) for rank in range(3)]
    for each in starts:
        each.start()
    for each in starts:
        each.join()
    yield Processes(store, [found[rank] for rank in range(3)], said)
    store.silent.clear()
    for pulse in found.values():
        pulse._leaving.set()
        pulse._soon.set()
    for pulse in found.values():
        for thread in pulse._threads:
            thread.join(timeout=30)


def all_wait(three: Processes, ranks: tuple[int, ...] = (0, 1, 2)) -> None:
    for rank in ranks:
        three.pulses[rank].begin()


def test_a_silent_one_is_named_by_the_first_of_the_others(three: Processes) -> None:
    all_wait(three, (0, 2))
    three.store.silent.add(1)
    said = three.expect({0, 2})
    assert list(said) == [0]
    assert said[0].startswith("process 1 on ")
    assert " is lost: no sign of life for " in said[0]


def test_the_second_speaks_where_the_first_is_silent(three: Processes) -> None:
    all_wait(three, (1, 2))
    three.store.silent.add(0)
    said = three.expect({1, 2})
    assert list(said) == [1]
    assert said[1].startswith("process 0 on ")


def test_whoever_left_is_named_once_the_others_wait_for_it(three: Processes) -> None:
    three.pulses[2].leave()
    time.sleep(loss.seconds.roll_call)
    assert three.said == {}  # nobody waits: it may be done
    all_wait(three, (0, 1))
    said = three.expect({0, 1})
    assert list(said) == [0]
    assert said[0].endswith(" ended before the others")


def test_where_all_wait_a_link_is_dead(three: Processes) -> None:
    all_wait(three)
    said = three.expect({0, 1, 2})
    assert list(said) == [0]
    assert said[0].endswith("a link between them is dead") or "broken" in said[0]  # found here, or by another first


def test_where_one_computes_the_others_wait(three: Processes) -> None:
    all_wait(three, (0, 1))
    time.sleep(2 * loss.seconds.stuck)
    assert three.said == {}


def test_a_store_that_is_gone_ends_all(three: Processes) -> None:
    all_wait(three)
    three.store.cut |= {0, 1, 2}
    said = three.expect({0, 1, 2})
    assert said[0] == "what started the processes is gone from there"


@pytest.mark.parametrize("broken", [0, 1])
def test_a_broken_connection_calls_the_roll(three: Processes, broken: int) -> None:
    three.store.silent.add(2)
    other = 1 - broken
    three.pulses[broken].begin()
    begun = time.monotonic()
    lost = three.pulses[broken].broken()
    assert str(lost).startswith("process 2 on ")
    assert time.monotonic() - begun < 30
    with pytest.raises(Lost, match="process 2 on "):
        exchange_until(three.pulses[other], time.monotonic() + 30)


def exchange_until(pulse: Pulse, deadline: float) -> None:
    """One exchange after another."""
    while time.monotonic() < deadline:
        pulse.begin()
        pulse.end()
        time.sleep(0.01)


WORDS = [Word(), Word(3, 7, True, False, None), Word(1, 0, False, True, -1), Word(10**9, 5, True, True, 0)]


@pytest.mark.parametrize("word", WORDS, ids=Word.text)
def test_a_word_arrives_as_it_was_sent(word: Word) -> None:
    assert Word.of(word.text()) == word
