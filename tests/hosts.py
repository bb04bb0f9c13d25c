"""Two hosts on one machine: network namespaces with a link between them, where the system allows it."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29500
# A user's path may lack the folders of system programs, and ip and tc may be there alone.
WITH_SYSTEM = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class NotAllowed(Exception):
    """The system has no namespaces for this user."""


@dataclass(frozen=True)
class Hosts:
    """The names of the two namespaces; host 0 is where process 0 is."""

    names: tuple[str, str]

    def enter(self, host: int) -> None:
        """This process is on that host from now on."""
        descriptor = os.open(f"/run/netns/{self.names[host]}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)

    def settings(self) -> Mapping[str, str]:
        """The environment of a process on either host, as torchrun's without a store of its own."""
        return {
            "MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": str(PORT), "TORCHELASTIC_USE_AGENT_STORE": "False",
            "GLOO_SOCKET_IFNAME": "wire",
        }  # fmt: skip

    def link(self, state: str) -> None:
        """Take the link "down", or bring it "up" again."""
        _ip("-n", self.names[1], "link", "set", "wire", state)

    def drop_all(self, on: bool) -> None:
        """Have all packets of both hosts sent to nobody, so that they are lost in silence; or no longer."""
        for name, other in zip(self.names, reversed(ADDRESSES), strict=True):
            change = ("replace", other, "lladdr", "02:00:00:00:00:99", "nud", "permanent") if on else ("del", other)
            _ip("-n", name, "neigh", *change, "dev", "wire")

    def drop_some(self, on: bool) -> None:
        """Have the link lose what is sent faster than it carries it, which is little; or no longer."""
        how = ("replace", "dev", "wire", "root", "tbf", "rate", "300kbit", "burst", "1540", "limit", "2000")
        for name in self.names:
            _run("tc", "-n", name, "qdisc", *(how if on else ("del", "dev", "wire", "root")))

    def lost(self) -> int:
        """How many packets the link has lost so."""
        said = _run("tc", "-n", self.names[0], "-s", "qdisc", "show", "dev", "wire")
        return sum(map(int, re.findall(r"dropped (\d+)", said)))


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Make them, and take them away again. NotAllowed where the system refuses."""
    names = (f"samebits-{os.getpid()}-a", f"samebits-{os.getpid()}-b")
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "name", "wire", "netns", names[0], "type", "veth", "peer", "name", "wire", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            for device in ("lo", "wire"):
                _ip("-n", name, "link", "set", device, "up")
        yield Hosts(names)
    finally:
        for name in names:
            with suppress(NotAllowed):
                _ip("netns", "del", name)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    try:
        environment = {**os.environ, "PATH": WITH_SYSTEM}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotAllowed(f"{error}: {getattr(error, 'stderr', '')}") from None
