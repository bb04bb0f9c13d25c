"""Starting the processes of a run on this machine: ``--devices N``, ``Trainer(devices=N)``.

The process that was started first trains nothing. It starts the same program N times through torch.distributed's launcher,
keeps the store where they meet, passes signals on to them, and ends as they do. Process 0 speaks for all; what another one
says is shown where it ended with an error of its own. torchrun does the same for several machines.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from training.bar import say
from training.config import TrainConfig
from training.errors import ConfigError, Preempted
from training.leftovers import temporary_folder
from training.openmp import cores
from training.parallel import loss
from training.visible import counted, one_line

GO_ON = "SAMEBITS_GO_ON"
"""The environment variable that tells processes which were started again what runs they had: {number: folder}, as JSON."""
HERE, LOOPBACK = "127.0.0.1", "lo0" if sys.platform == "darwin" else "lo"
RESOLVER = {"RES_OPTIONS": "timeout:1 attempts:1"}
"""torch looks up the name of each address that it connects, to log it, in the thread that serves all: a name server that
does not answer would hold that up for ten seconds, each time."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def check_shards(shards: int, processes: int = 1) -> None:
    """ConfigError for what is no power of two, or can't be dealt out evenly to so many processes."""
    if shards < 1 or shards & (shards - 1):
        raise ConfigError(f"shards: expected a power of two (1, 2, 4, 8, …), got {shards}")
    if shards % processes:
        few = processes & (processes - 1)
        fitting = " or ".join(map(str, [2**i for i in range(shards.bit_length())]))
        remedy = f"{fitting} processes" if few else f"{processes} shards, or a larger power of two, as it changes bits"
        raise ConfigError(f"shards: expected a multiple of the {processes} processes, got {shards}; give {remedy}")


def is_started() -> bool:
    """Whether a launcher, torchrun or ours, started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def begin(config: TrainConfig, tell: Callable[[str], None] = say) -> None:
    """Where several processes are asked for and no launcher started this one: start them, and end as they do.

    ``tell`` hears a line where they are more than the cores.

    Raises:
        ConfigError: where the shards can't be dealt out, there are fewer GPUs, or the program is no file.
        SystemExit: with their exit code.
    """
    if config.devices > 1 and not is_started():
        raise SystemExit(start(config, tell=tell))


def start(config: TrainConfig, settings: Mapping[str, str] | None = None, tell: Callable[[str], None] = say) -> int:
    """This program in ``config.devices`` processes; their exit code. ``settings`` go into their environment.

    ConfigError as of ``begin``.
    """
    devices = config.devices
    check_shards(config.shards, devices)
    _check_gpus(devices, config.device)
    main = sys.modules.get("__main__")
    if not os.path.isfile(getattr(main, "__file__", None) or ""):
        raise ConfigError(
            f"devices: expected a program in a file, to start it {devices} times, got none, as in a notebook; "
            "save it as one and run that, or leave devices out"
        )
    if devices > (there := cores()):
        tell(f"devices: {devices} processes share {counted(there, 'core')}: expect a slow start, and no gain in speed")
    sys.stdout.flush()
    sys.stderr.flush()
    return run([sys.executable, *sys.orig_argv[1:]], devices, config.max_restarts, settings)


def _check_gpus(devices: int, device: str) -> None:
    if device == "cpu":
        return
    import torch

    there = torch.cuda.device_count()
    if (device == "cuda" or there) and there < devices:
        raise ConfigError(f"devices: expected {devices} GPUs, one a process, got {there}; give fewer, or --device cpu")


def run(command: list[str], devices: int, restarts: int = 0, settings: Mapping[str, str] | None = None) -> int:
    """Run ``command`` in so many processes; the exit code of all of them. Those that are lost are started again."""
    runs: dict[str, str] = {}
    for attempt in range(restarts + 1):
        ended = _Processes(command, devices, attempt, runs, settings or {}).run()
        if not ended.lost or attempt == restarts:
            break
        say(f"starting again, {attempt + 1} of {counted(restarts, 'time')}")
    return ended.code


@dataclass
class _Processes:
    """One start of them."""

    command: list[str]
    devices: int
    attempt: int
    runs: dict[str, str]
    """The runs that process 0 has opened."""
    settings: Mapping[str, str]
    """What more stands in their environment."""
    codes: dict[int, int] = field(default_factory=dict)
    """By rank: how those ended that have, minus the signal if it was one."""
    signals: list[int] = field(default_factory=list)
    """Those that this process got."""

    def run(self) -> _Processes:
        """Start them, and wait for their ends."""
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std, start_processes

        port, store = _store(self.attempt)
        with temporary_folder("samebits-process-") as logs, self._passing() as processes:
            specs = DefaultLogsSpecs(log_dir=str(logs), redirects=dict.fromkeys(range(1, self.devices), Std.ALL))
            ranks = range(self.devices)
            arguments: dict[int, tuple[Any, ...]] = {i: tuple(self.command[1:]) for i in ranks}
            environments = {i: self._environment(i, port) for i in ranks}
            context: Any = start_processes("samebits", self.command[0], arguments, environments, specs)
            processes.update({i: each.proc for i, each in context.subprocess_handlers.items()})
            for number in list(self.signals):  # those that came meanwhile
                _send(processes, number)
            self._wait(processes, store)
            for text in self._unsaid(logs, context.stderrs):
                for line in text.splitlines():
                    say(line)
        if store.check(["runs"]):
            self.runs |= json.loads(store.get("runs"))
        return self

    def _environment(self, rank: int, port: int) -> dict[str, str]:
        number = str(rank)
        return {
            **self.settings,
            "RANK": number, "LOCAL_RANK": number, "GROUP_RANK": "0", "ROLE_RANK": number,
            "WORLD_SIZE": str(self.devices), "LOCAL_WORLD_SIZE": str(self.devices),
            "MASTER_ADDR": HERE, "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True",
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", LOOPBACK),
            "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "FATAL"),  # errors are told by us
            "TORCHELASTIC_RESTART_COUNT": str(self.attempt), GO_ON: json.dumps(self.runs),
        }  # fmt: skip

    @contextmanager
    def _passing(self) -> Iterator[dict[int, Any]]:
        """Signals go on to the processes that are put into what it yields."""
        processes: dict[int, Any] = {}

        def handle(number: int, frame: FrameType | None) -> None:
            self.signals.append(number)
            _send(processes, number)

        os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGQUIT"  # torch's launcher would take the others
        before = {each: signal.signal(each, handle) for each in PASSED_ON}
        try:
            yield processes
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wait(self, processes: Mapping[int, Any], store: Any) -> None:
        """Wait for the ends. Once one has ended badly, those are ended that give no sign of life."""
        heard: dict[int, tuple[bytes, float]] = {}
        bad = float("inf")
        while len(self.codes) < self.devices:
            now = time.monotonic()
            for rank, each in processes.items():
                if rank in self.codes:
                    continue
                if (code := each.poll()) is not None:
                    self.codes[rank] = code
                    bad = min(bad, now) if code else bad
                    continue
                word = _word(store, rank)
                if rank not in heard or heard[rank][0] != word:
                    heard[rank] = word, now
                if bad < now - loss.seconds.grace and now - heard[rank][1] > loss.seconds.lost:
                    each.kill()
            time.sleep(loss.seconds.interval / 20)

    # -- how it ended ----------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether a process was killed or hung, while nobody had asked for a stop."""
        return not self.signals and not self._own_errors() and any(code < 0 for code in self.codes.values())

    @property
    def code(self) -> int:
        """The exit code of all: an error of one's own comes before a stop, and a stop before a signal."""
        if own := self._own_errors():
            return own[0]
        if Preempted.exit_code in self.codes.values():
            return Preempted.exit_code
        worst = min(self.codes.values())
        if worst < 0:
            return 128 - worst if -worst in self.signals else Preempted.exit_code
        return 0

    def _own_errors(self) -> list[int]:
        return [code for _, code in sorted(self.codes.items()) if code > 0 and code != Preempted.exit_code]

    def _unsaid(self, logs: Path, errors: Mapping[int, str]) -> Iterator[str]:
        """What process 0 did not say: errors of others, and their line about process 0 if that is what was lost."""
        first = self.codes[0]
        for rank in range(1, self.devices):
            code = self.codes[rank]
            if code > 0 and code != first and (line := _last_line(Path(errors[rank]))):
                about_others = code == Preempted.exit_code
                if about_others and first > 0:
                    continue
                here = f"process {rank} on {platform.node()}"
                yield line if about_others or line.startswith(here) else one_line(f"{here}: {line}")
                if about_others:
                    return
        if first < 0 and -first not in self.signals and not any(code > 0 for code in self.codes.values()):
            yield f"process 0 on {platform.node()} was ended by {signal.Signals(-first).name}"


def _send(processes: Mapping[int, Any], number: int) -> None:
    for each in processes.values():
        each.send_signal(number)


def _word(store: Any, rank: int) -> bytes:
    """What a process said last; nothing as long as it has not come to the others."""
    key = f"beat/{rank}"
    return bytes(store.get(key)) if store.check([key]) else b""


def _last_line(file: Path) -> str:
    """The last line that a process said, with the one before it where that tells how to go on."""
    with suppress(OSError):
        lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return "\n".join(lines[-2:] if lines and lines[-1].startswith("resume with: ") else lines[-1:])
    return ""


def _store(attempt: int) -> tuple[int, Any]:
    """Where the processes meet, for this machine alone; and its port, one that the system chooses, or that was asked for."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from training.parallel.pulse import own_part

    for name, value in RESOLVER.items():
        os.environ.setdefault(name, value)  # here, and in the processes
    asked = os.environ.get("MASTER_PORT", "0")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart takes the same port
    try:
        listening.bind((HERE, int(asked)))
        listening.listen()
    except (OSError, ValueError, OverflowError):
        listening.close()
        raise ConfigError(
            f"MASTER_PORT: expected a free port, got {asked}, which another program uses; give another, or leave it out"
        ) from None
    port = listening.getsockname()[1]
    limit = timedelta(seconds=loss.seconds.lost)
    found = TCPStore(HERE, port, is_master=True, timeout=limit, wait_for_workers=False, master_listen_fd=listening.detach())
    return port, own_part(found, attempt)


def note(number: int, folder: Path) -> None:
    """Tell the launcher which run process 0 has opened, so that a restart goes on with it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or GO_ON not in os.environ:
        return
    from training.parallel.pulse import connection

    store = connection(loss.seconds.lost)
    runs = {**json.loads(os.environ[GO_ON]), str(number): str(folder.absolute())}
    store.set("runs", json.dumps(runs))


def begun(number: int, folder: str) -> str:
    """After a restart, the run to resume with: the one that this launch had opened as its ``number``-th; "" for none.

    torchrun's restarts do not say which: there it is the run's own ``folder``, where that was given.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return ""
    known = str(json.loads(os.environ.get(GO_ON) or "{}").get(str(number), folder))
    return known if known and Path(known, "manifest.json").is_file() else ""
