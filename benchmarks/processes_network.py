"""What a step in several processes sends, and how long it takes over a network: counted, modelled, and run between hosts.

    python benchmarks/processes_network.py bytes DATA TEXT
    python benchmarks/processes_network.py time DATA TEXT
    sudo python benchmarks/processes_network.py hosts DATA TEXT

DATA is a folder in CoNLL's columns, TEXT a text for skip-gram. ``bytes``: what a process sends a step. It is counted by the
kernel, on the connections of 2, 4 and 8 processes here, and modelled for 2 to 64 from the sums of a step in one process;
the two must agree. ``time``: a step of 2 to 64 processes on networks of a given rate and latency, from the bytes, the
messages that wait for each other, and what a process computes. ``hosts``: the same for two hosts, which are network
namespaces here, beside real steps between them; their weights must be those of one process.

The model: processes go in pairs, log2(W) swaps for all to have what all have (training/parallel/swaps.py). A sum of n
numbers is sent by halves and back, so 2·(W − 1)·⌈n/W⌉ numbers in 2·log2(W) swaps; where it is small, or W is 2, whole, n
numbers in each of log2(W). A message of s bytes is (W − 1)·s in log2(W) swaps. The largest of m bytes goes around a ring,
2·(W − 1)·⌈m/W⌉; each of its 2·(W − 1) steps waits for the one before. A message is on its way twice, since gloo first hears
that the other side is ready.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # hosts without names are warned of, otherwise
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402
from benchmarks.network_hosts import DEVICE, Link, address, enter, hosts, probed  # noqa: E402
from benchmarks.network_work import (  # noqa: E402
    NUMBER,
    WARM,
    WORLDS,
    Exchange,
    Recorder,
    Work,
    alone,
    touched_rows,
    train,
    works,
)
from training.config import TrainConfig  # noqa: E402
from training.loop.callback import Callback  # noqa: E402
from training.parallel import group as training_group  # noqa: E402
from training.parallel.group import HEADER, SLOT, join  # noqa: E402
from training.parallel.swaps import SMALL  # noqa: E402

Rows = dict[str, dict[str, record.Figure]]
COUNTED = (2, 4, 8)
AGREEMENT = 0.03
FEW = 8
"""Shards where bytes are counted, and of so many processes or fewer; for more there are MANY."""
MANY = 64
PREAMBLE = 48
"""Bytes with which gloo begins what it sends; and it sends as many to say that it is ready for it."""
NETWORKS = [Link(rate, latency) for rate in (1e9, 1e10) for latency in (1e-4, 1e-3)]
HOSTS = [Link(1e9, 0), Link(1e10, 0), Link(1e9, 1e-4), Link(1e9, 1e-3), Link(1e10, 1e-4), Link(1e10, 1e-3)]


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bytes", "time", "hosts"))
    parser.add_argument("data")
    parser.add_argument("text")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--only", default="", help="the trainings whose name begins so")
    record.add_option(parser)
    given = parser.parse_args()
    rows: Rows = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that no hosts are left
    with tempfile.TemporaryDirectory() as folder:
        for work in works(given, folder):
            {"bytes": bytes_table, "time": time_table, "hosts": hosts_table}[given.what](work, given.batches, rows)
    modules = (*record.PROCESSES, *record.TAGGER, *record.WORDS, "benchmarks/network_*.py")
    record.write(
        given.record, f"network-{given.what}", rows, modules=modules, threads=1, data=[given.data, given.text]
    )  # fmt: skip


# -- the model --------------------------------------------------------------------------------------------------------


def sent(exchange: Exchange, world: int) -> tuple[float, float]:
    """Bytes that a process sends for it, and how many times one waits for another to come."""
    others, swaps = world - 1, world.bit_length() - 1
    if exchange.kind == "message":
        rounds = [SLOT] if exchange.size <= SLOT - HEADER else [SLOT, exchange.size + HEADER]
        return sum(others * size + swaps * 2 * PREAMBLE for size in rounds), 2.0 * swaps * len(rounds)
    if exchange.kind == "largest":
        return 2 * others * (-(-exchange.size // world) + 2 * PREAMBLE), 4.0 * others
    if world == 2 or exchange.size <= SMALL:
        return swaps * (exchange.size + 2 * PREAMBLE), 2.0 * swaps
    width = -(-exchange.size // NUMBER // world) * NUMBER
    return 2 * others * width + 2 * swaps * 2 * PREAMBLE, 4.0 * swaps


def rows_bytes(vocab: int, touched: int, dim: int, world: int) -> float:
    """What a process would send if the touched rows of both tables travelled, as the tagger's do."""
    exchanges = [Exchange("largest", 2 * vocab), Exchange("sum", 2 * touched * dim * NUMBER), Exchange("message", 0)]
    return sum(sent(each, world)[0] for each in exchanges)


def step_bytes(step: Sequence[Exchange], world: int) -> float:
    """What a process sends in a step."""
    return sum(sent(each, world)[0] for each in step)


def step_wait(step: Sequence[Exchange], world: int, link: Link, handling: float) -> float:
    """Seconds that a step's exchanges take; ``handling`` is a byte's processor time, with nothing else meanwhile."""
    found = [sent(each, world) for each in step]
    return sum(size * (8 / link.rate + handling) + trips * link.latency for size, trips in found)


def handling_time(steps: Sequence[Sequence[Exchange]], shards: int) -> float:
    """Processor time of a byte that a process sends, and gets, and adds up: from two processes on this machine."""
    replayed = together(2, lambda: replay(steps, shards))
    used: float = min(sum(cpu for _, cpu in each) for each in replayed)
    return used / sum(step_bytes(step, 2) for step in steps)


# -- processes on this machine ----------------------------------------------------------------------------------------


def forked(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of these gives, each in a process of its own at the same time: what JSON takes."""
    children: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for i, function in enumerate(functions):
                child = os.fork()
                if not child:
                    _end(function, Path(folder, str(i)))
                children.append(child)
            while children:
                if os.waitpid(children.pop(0), 0)[1]:
                    raise SystemExit("a process failed")
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
        return [json.loads(Path(folder, str(i)).read_text()) for i in range(len(functions))]


def _end(function: Callable[[], Any], file: Path) -> None:
    code = 1
    try:
        file.write_text(json.dumps(function()))
        training_group.leave()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def together(world: int, function: Callable[[], Any], on_hosts: bool = False) -> list[Any]:
    """What ``function`` gives in each of so many processes of one group; where asked for, each on a host of its own."""
    port = _free_port()

    def member(rank: int) -> Any:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_PORT": str(port)}
        os.environ["MASTER_ADDR"] = address(0) if on_hosts else "127.0.0.1"
        os.environ["GLOO_SOCKET_IFNAME"] = DEVICE if on_hosts else "lo"
        if on_hosts:
            enter(rank)
        return function()

    return forked([lambda rank=rank: member(rank) for rank in range(world)])  # type: ignore[misc]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Counter(Callback):
    """After each step: the time, what this process has sent the others, and how long it has been in exchanges."""

    def __init__(self) -> None:
        self.after: list[tuple[float, int, float]] = []
        self.exchanging = 0.0
        plain = training_group._exchange

        @contextmanager
        def timed() -> Iterator[None]:
            begun = time.perf_counter()
            with plain():
                yield
            self.exchanging += time.perf_counter() - begun

        training_group._exchange = timed

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.after.append((time.perf_counter(), sent_so_far(), self.exchanging))

    @property
    def steps(self) -> list[tuple[float, int, float]]:
        """Of each step but the warm ones: seconds, bytes, seconds in exchanges."""
        later = self.after[WARM - 1 :]
        return [(b[0] - a[0], b[1] - a[1], b[2] - a[2]) for a, b in pairwise(later)]


def sent_so_far() -> int:
    """Bytes that this process has sent on its connections to other processes, as the kernel counts them."""
    total, store = 0, int(os.environ.get("MASTER_PORT", "0"))
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # one that has just been closed, or only listens
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as each:
                    if each.family != socket.AF_UNIX and store not in (each.getpeername()[1], each.getsockname()[1]):
                        info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                        total += struct.unpack_from("Q", info, 200)[0] - struct.unpack_from("Q", info, 208)[0]
    return total


def counted(work: Work, shards: int, batches: int) -> dict[str, Any]:
    """A training in the group that the environment tells of: its steps, and its weights' digest."""
    counter = Counter()
    task = train(work, shards, batches, counter)
    join(TrainConfig(shards=shards)).gather(None)  # a connection is counted as long as neither side has ended
    return {"steps": counter.steps, "digest": task.weights_digest()}


# -- the tables -------------------------------------------------------------------------------------------------------


def exchanges(work: Work, shards: int, batches: int) -> dict[int, list[list[Exchange]]]:
    """What each step exchanges, by the number of processes: from a training in one."""

    def run() -> dict[int, list[list[Exchange]]]:
        recorder = Recorder(shards)
        train(work, shards, batches, recorder)
        return {world: recorder.exchanges(world) for world in WORLDS if world <= shards}

    (found,) = forked([run])
    return {int(world): [[Exchange(*each) for each in step] for step in steps] for world, steps in found.items()}


def compute_time(work: Work, world: int, batches: int) -> float:
    """Seconds that a step takes the slowest of so many processes, each with one shard: of the first, a middle, the last."""
    ranks = sorted({0, world // 2, world - 1})
    found = [forked([lambda rank=rank: alone(work, rank, world, batches)])[0] for rank in ranks]  # type: ignore[misc]
    return float(statistics.median(map(max, zip(*found, strict=True))))


def bytes_table(work: Work, batches: int, rows: Rows) -> None:
    """Counted and modelled beside each other, then the model alone."""
    few, many = (exchanges(work, shards, batches) for shards in (FEW, MANY))
    modelled = {w: statistics.mean(step_bytes(step, w) for step in (few if w <= FEW else many)[w]) for w in WORLDS}
    for world in COUNTED:
        found = together(world, lambda: counted(work, FEW, batches))
        each = [statistics.mean(step[1] for step in one["steps"]) for one in found]
        middle, least, most = (megabytes(f(each)) for f in (statistics.median, min, max))
        difference = statistics.median(each) / modelled[world] - 1
        print(
            f"| {work.name} | {world} | {middle} ({least} to {most}) | {megabytes(modelled[world])} | {difference:+.2%} |",
            flush=True,
        )
        rows.setdefault(f"{work.name}, counted", {})[f"W = {world}"] = [size / 1e6 for size in each]
        assert abs(difference) < AGREEMENT, f"{work.name}, {world} processes: counted {each}, modelled {modelled[world]}"
    print(f"| {work.name} | " + " | ".join(megabytes(modelled[world]) for world in WORLDS) + " |", flush=True)
    rows[f"{work.name}, modelled"] = {f"W = {world}": modelled[world] / 1e6 for world in WORLDS}
    if work.vocab:
        touched = touched_rows(work, batches)
        by_rows = [rows_bytes(len(work.vocab), round(touched), work.dim, world) for world in WORLDS]
        name = f"{work.name}, by rows ({touched:,.0f} of {len(work.vocab):,} rows)"
        print(f"| {name} | " + " | ".join(map(megabytes, by_rows)) + " |", flush=True)
        rows[name] = {f"W = {world}": size / 1e6 for world, size in zip(WORLDS, by_rows, strict=True)}


def megabytes(size: float) -> str:
    """For people."""
    return f"{size / 1e6:.3g}"


def time_table(work: Work, batches: int, rows: Rows) -> None:
    """A step in so many processes, with as many shards: what the slowest computes, and the whole on each network."""
    one = compute_time(work, 1, batches)
    print(f"| {work.name} | 1 | {one * 1e3:.3g} | | | | |", flush=True)
    handling = 0.0
    for world in WORLDS:
        steps, compute = exchanges(work, world, batches)[world], compute_time(work, world, batches)
        handling = handling or handling_time(steps, world)
        cells = []
        for link in NETWORKS:
            whole = compute + statistics.median(step_wait(step, world, link, handling) for step in steps)
            cells.append(f"{whole * 1e3:.3g} ({one / whole:.2g})")
        print(f"| {work.name} | {world} | {compute * 1e3:.3g} | " + " | ".join(cells) + " |", flush=True)
        names = [f"{link.rate / 1e9:g} Gbit/s, {link.latency * 1e3:g} ms" for link in NETWORKS]
        rows[f"{work.name}, W = {world}"] = {"computes": compute * 1e3, **dict(zip(names, cells, strict=True))}
    print(f"{work.name}: {handling * 1e9:.2g} ns of processor time a byte", flush=True)


def hosts_table(work: Work, batches: int, rows: Rows) -> None:
    """Between hosts: each link as it was measured; a step's exchanges alone, and in training; beside them the model's."""
    (one,) = forked([lambda: counted(work, 2, batches)])
    steps = {world: exchanges(work, world, batches)[world] for world in (2, 4)}
    compute, handling = compute_time(work, 2, batches), handling_time(steps[2], 2)
    print(f"| {work.name} | 1 | | | | | {milliseconds([step[0] for step in one['steps']])} | |", flush=True)
    for link in HOSTS:
        for world in (2, 4) if link.latency else (2,):
            with hosts(world, link):
                cells, wait = exchange_cells(steps[world], world, handling)
                if world == 2:  # there are two cores
                    whole = milliseconds(trained(work, batches, one["digest"]))
                    cells += f" | {whole} | {(wait + compute) * 1e3:.3g}"
                else:
                    cells += " | |"
            print(f"| {work.name} | {world} | {link.rate / 1e9:g}, {link.latency * 1e3:g} | {cells} |", flush=True)
            names = ("as measured", "exchanges", "modelled", "whole step", "whole step, modelled")
            row = f"{work.name}, W = {world}, {link.rate / 1e9:g} Gbit/s, {link.latency * 1e3:g} ms"
            rows[row] = dict(zip(names, (each.strip() for each in cells.split("|")), strict=True))


def exchange_cells(steps: Sequence[Sequence[Exchange]], world: int, handling: float) -> tuple[str, float]:
    """Of a line of that table, on the hosts that are there: the link, the exchanges, the model's time for them; and that."""
    latency, rate = forked([lambda host=host: _probe(host) for host in (0, 1)])[0]  # type: ignore[misc]
    replayed = together(world, lambda: replay(steps, world), on_hosts=True)[0]
    wait = statistics.median(step_wait(step, world, Link(rate, latency), handling) for step in steps)
    seconds = milliseconds([seconds for seconds, _ in replayed])
    return f"{rate / 1e9:.2g}, {latency * 1e3:.2g} | {seconds} | {wait * 1e3:.3g}", wait


def trained(work: Work, batches: int, digest: str) -> list[float]:
    """Seconds of each step of a training between two hosts, whose weights must be those of one process."""
    found = together(2, lambda: counted(work, 2, batches), on_hosts=True)
    if any(each["digest"] != digest for each in found):
        raise SystemExit(f"{work.name}: expected the weights of one process, {digest}, got others")
    return [max(two) for two in zip(*([step[0] for step in each["steps"]] for each in found), strict=True)]


def _probe(host: int) -> tuple[float, float]:
    enter(host)
    return probed(host == 0)


def replay(steps: Sequence[Sequence[Exchange]], shards: int) -> list[tuple[float, float]]:
    """Seconds that the exchanges of each step take, with nothing computed, and processor time."""
    group, taken = join(TrainConfig(shards=shards)), []
    torch.set_num_threads(1)
    for step in [*steps[:WARM], *steps]:
        tensors = [torch.zeros(each.size, dtype=torch.uint8) for each in step]
        group.gather(None)  # so that they begin together
        begun, used = time.perf_counter(), time.process_time()
        for each, tensor in zip(step, tensors, strict=True):
            if each.kind == "message":
                group.gather(bytes(max(0, each.size - HEADER)))
            elif each.kind == "largest":
                group.largest(tensor)
            else:
                group.sum([tensor.view(torch.float32)])
        taken.append((time.perf_counter() - begun, time.process_time() - used))
    return taken[WARM:]


def milliseconds(seconds: Sequence[float]) -> str:
    """The median, the least and the most."""
    middle, least, most = (1e3 * f(seconds) for f in (statistics.median, min, max))
    return f"{middle:.3g} ({least:.3g} to {most:.3g})"


if __name__ == "__main__":
    main()
