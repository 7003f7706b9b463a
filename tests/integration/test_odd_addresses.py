"""Sockets of a socket unit that are bound to an interface, to a link, or to no address of ours."""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.runtime.listeners.reach import SO_BINDTODEVICE
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, adopt

CLONE_NEWNET = 0x40000000
IP_FREEBIND = 15
PORT = 8765
LINK, ONE4, ONE6, ABSENT = "fe80::99", "10.99.0.1", "fd99::1", "10.98.0.1"
COMMANDS = (
    "link set lo up",
    "link add v0 type veth peer name v1",
    "link set v1 up",
    "link set v0 up",
    f"addr add {ONE4}/24 dev v0",
    f"addr add {ONE6}/64 dev v0 nodad",
    f"addr add {LINK}/64 dev v0 nodad",
)
GREETS = """
import asyncio, os, socket
async def served(reader, writer):
    writer.write(b"generation " + os.environ["WSSUPERVISOR_GENERATION"].encode())
    writer.close()
async def main():
    server = await asyncio.start_server(served, sock=socket.socket(fileno=3), backlog=100)
    await server.serve_forever()
asyncio.run(main())
"""
V4, V6 = socket.AF_INET, socket.AF_INET6
CASES: dict[str, tuple[int, str, dict[int, bytes | int]]] = {
    "link-local": (V6, LINK, {}),
    "device": (V4, "0.0.0.0", {SO_BINDTODEVICE: b"v0"}),
    "device and address": (V4, ONE4, {SO_BINDTODEVICE: b"v0"}),
    "device, IPv6": (V6, "::", {SO_BINDTODEVICE: b"v0"}),
    "loopback device": (V4, "0.0.0.0", {SO_BINDTODEVICE: b"lo"}),
}


def elsewhere(body: Callable[[], None]) -> None:
    """In a network of its own: of this thread, and of what it starts."""

    def run() -> None:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        for command in COMMANDS:
            subprocess.run(["ip", *command.split()], check=True)
        body()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(run).result()


class Odd(HeldSockets):
    def __init__(self, family: int, host: str, options: dict[int, bytes | int]) -> None:
        super().__init__({}, 0)
        for _ in range(4):
            sock = socket.socket(family)
            self._sockets.append(sock)
            self._names.append("ws")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for number, value in options.items():
                level = socket.IPPROTO_IP if number == IP_FREEBIND else socket.SOL_SOCKET
                sock.setsockopt(level, number, value)
            sock.setblocking(False)
            scope = socket.if_nametoindex("v0") if host == LINK else 0
            sock.bind((host, PORT, 0, scope) if family == V6 else (host, PORT))
            sock.listen(100)

    def adopted(self) -> TcpPool:
        return adopt("ws", [os.dup(sock.fileno()) for sock in self._sockets])


@pytest.fixture
def own(settings: Settings) -> Settings:
    path = settings.releases.root / "server.py"
    path.write_text(GREETS)
    return replace(
        settings,
        command=(sys.executable, str(path)),
        workers=1,
        listeners=("ws",),
        with_addresses=False,
        ready_timeout="4s",
    )


@needs_root
@pytest.mark.parametrize("case", CASES)
def test_sockets_bound_to_a_link_or_a_device_are_measured_and_probed(
    own: Settings, case: str
) -> None:
    def body() -> None:
        with Odd(*CASES[case]) as sockets, Daemon(own, sockets=sockets) as daemon:
            daemon.start()
            assert daemon.ctl("reload").status == 0
            assert "not probed" not in daemon.log()
            pool = sockets.adopted()
            reach = pool.reach
            pool.close()
            for _ in range(10):
                with socket.socket(reach.family) as client:
                    client.settimeout(HANG_SECONDS)
                    if reach.device:
                        client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, reach.device)
                        client.bind(reach.source)
                    client.connect(reach.target)
                    assert client.recv(100) == b"generation 2"
            assert daemon.stop() == 0

    elsewhere(body)


@needs_root
def test_an_address_that_is_not_here_yet_is_served_without_probes(own: Settings) -> None:
    def body() -> None:
        with (
            Odd(V4, ABSENT, {IP_FREEBIND: 1}) as sockets,
            Daemon(own, sockets=sockets) as daemon,
        ):
            daemon.start()
            assert "slots cannot be measured" in daemon.log()
            assert daemon.ctl("reload").status == 0
            assert "worker is not probed" in daemon.log()
            subprocess.run(["ip", "addr", "add", f"{ABSENT}/24", "dev", "v0"], check=True)
            for _ in range(10):
                with socket.create_connection((ABSENT, PORT), HANG_SECONDS) as client:
                    assert client.recv(100) == b"generation 2"
            unprobed = daemon.log().count("worker is not probed")
            assert daemon.ctl("reload").status == 0
            assert daemon.log().count("worker is not probed") == unprobed

    elsewhere(body)


@needs_root
def test_another_device_is_not_in_the_way() -> None:
    def body() -> None:
        with (
            Odd(V4, "0.0.0.0", {SO_BINDTODEVICE: b"v0"}) as one,
            Odd(V4, "0.0.0.0", {SO_BINDTODEVICE: b"lo"}),
        ):
            pool = one.adopted()
            pool.check_alone()
            pool.close()

    elsewhere(body)
