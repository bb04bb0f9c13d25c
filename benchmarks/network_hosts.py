"""Hosts on one machine: network namespaces that reach each other over links of a given rate and latency. Needs root.

Each host has a TUN device, whose rate the kernel limits (tc's tbf). What they send passes through one process here, which
holds every packet back for the latency of the links and hands it on by its address. (netem, which does that in the kernel,
is not in each kernel.)
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

DEVICE = "wire"
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
MTU = 9000
"""Bytes of a packet: jumbo frames. Of larger ones the first that tbf lets pass at once would be worth a message."""
LARGE_MTU = 65000
"""Above FAST, where the process could not hand on as many packets of MTU."""
FAST = 2e9
BURST = 2e-4
"""Seconds of silence that a host makes up for at once: of less, a busy machine's kernel would lose too much."""
PORT = 4711


@dataclass(frozen=True)
class Link:
    """What lies between two hosts."""

    rate: float
    """Bits a second that a host sends."""
    latency: float
    """Seconds that a packet is on its way, one way."""

    @property
    def mtu(self) -> int:
        """Bytes of a packet."""
        return MTU if self.rate < FAST else LARGE_MTU


def address(host: int) -> str:
    """Of a host, from 0."""
    return f"10.77.0.{host + 1}"


def enter(host: int) -> None:
    """This process is on that host from now on."""
    with open(f"/run/netns/{_name(host)}") as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def hosts(number: int, link: Link) -> Iterator[None]:
    """``number`` hosts, numbered from 0, while the body runs; without a latency two, which a pair of veths joins."""
    devices: dict[bytes, int] = {}
    relay = 0
    try:
        for host in range(number):
            _run(f"ip netns add {_name(host)}")
        if not link.latency:
            _run(f"ip link add {DEVICE} netns {_name(0)} type veth peer name {DEVICE} netns {_name(1)}")
        else:
            devices = {socket.inet_aton(address(host)): _tun(host) for host in range(number)}
        for host in range(number):
            _set_up(host, link)
        if link.latency:
            relay = os.fork()
            if not relay:
                _relay(devices, link.latency)
        yield
    finally:
        if relay:
            os.kill(relay, signal.SIGKILL)
            os.waitpid(relay, 0)
        for device in devices.values():
            os.close(device)
        for host in range(number):
            subprocess.run(["ip", "netns", "del", _name(host)], check=False, capture_output=True)


def _name(host: int) -> str:
    return f"samebits-{host}"


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def _tun(host: int) -> int:
    """Make a host's device; what it sends and gets, as a file."""
    unique = f"{DEVICE}{host}"
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", unique.encode(), IFF_TUN | IFF_NO_PI))
    _run(f"ip link set {unique} netns {_name(host)}")
    _run(f"ip -n {_name(host)} link set {unique} name {DEVICE}")
    return device


def _set_up(host: int, link: Link) -> None:
    name = _name(host)
    _run(f"ip -n {name} link set lo up")
    _run(f"ip -n {name} link set {DEVICE} mtu {link.mtu} txqueuelen 5000")
    _run(f"ip -n {name} addr add {address(host)}/24 dev {DEVICE}")
    _run(f"ip -n {name} link set {DEVICE} up")
    burst = max(link.mtu + 100, int(link.rate / 8 * BURST))
    _run(f"tc -n {name} qdisc add dev {DEVICE} root tbf rate {link.rate:.0f}bit burst {burst} limit 64000000")
    # a connection that was idle for a step goes on as fast as it was
    _run(f"ip netns exec {name} sysctl -q -w net.ipv4.tcp_slow_start_after_idle=0")


def _relay(devices: dict[bytes, int], latency: float) -> None:
    """Hand on what the hosts send, each packet after its time; without an end."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # it sleeps mostly, and must wake in time
    under_way: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for device in select.select(list(devices.values()), [], [], wait)[0]:
            with suppress(BlockingIOError):
                while True:
                    packet = os.read(device, LARGE_MTU + 100)
                    if to := devices.get(packet[16:20]):
                        under_way.append((time.monotonic() + latency, to, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, to, packet = under_way.popleft()
            with suppress(OSError):
                os.write(to, packet)


def probed(first: bool, times: int = 21, size: int = 1 << 23) -> tuple[float, float]:
    """Seconds of a small message one way, and bits a second where both hosts send ``size`` bytes: the best of several.

    ``first`` says on which of the two hosts this process is.
    """
    with _connection(first) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _both_ways(connection, size, 2)
        large = min(_both_ways(connection, size, 5))
        latency = min(_there_and_back(connection, first, times)) / 2
    return latency, 8 * size / (large - latency)


def _there_and_back(connection: socket.socket, first: bool, times: int) -> list[float]:
    """So many times a byte there and back; seconds of each."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        if first:
            connection.sendall(b".")
        connection.recv(1)
        if not first:
            connection.sendall(b".")
        taken.append(time.perf_counter() - begun)
    return taken


def _both_ways(connection: socket.socket, size: int, times: int) -> list[float]:
    """So many times ``size`` bytes each way; seconds of each."""
    taken, sent = [], bytes(size)
    for _ in range(times):
        begun = time.perf_counter()
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        left = size
        while left:
            left -= len(connection.recv(min(left, 1 << 20)))
        sender.join()
        taken.append(time.perf_counter() - begun)
    return taken


def _connection(first: bool) -> socket.socket:
    if not first:
        with socket.create_server((address(1), PORT)) as server:
            return server.accept()[0]
    for _ in range(100):
        with suppress(OSError):
            return socket.create_connection((address(1), PORT))
        time.sleep(0.05)
    raise SystemExit(f"{address(1)}: expected the other host to answer, got nothing")
