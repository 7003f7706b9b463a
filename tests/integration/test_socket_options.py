"""What a release leaves on its listening socket does not reach the next one, or the next start."""

import ctypes
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.settings import HOST, Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.runtime.listeners.socket_options import (
    FILTER,
    FLAGS,
    TABLE,
    options_of,
    original_options_of,
    restore,
)
from wssupervisor.runtime.listeners.tcp_pool import adopt

READY_SECONDS = 3
BEFORE_THE_RELOAD_FAILS = 2.0
"""Of `READY_SECONDS`: a client of a slot that blocked would be served after it."""
FAMILIES = [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]
OTHER_VALUES = (
    *(struct.pack("ii", 1, 0), struct.pack("ll", 5, 0), b"reno", b"lo"),
    *(struct.pack("i", number) for number in (1, 5, 600, 100_000)),
)
SO_ATTACH_FILTER = 26
SO_LOCK_FILTER = 44
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)

SPOILS = """
import asyncio, ctypes, os, socket, struct
slot = socket.socket(fileno=3)
linger = struct.unpack("ii", slot.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
print("got", os.get_blocking(3), linger,
      slot.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
      slot.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), flush=True)
async def served(reader, writer):
    writer.write(b"served"); writer.close()
def spoil():
    slot.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    slot.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    slot.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))
    slot.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    os.set_blocking(3, True)
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
    slot.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(drop)))
async def main():
    slot.setblocking(False)
    server = await asyncio.start_server(served, sock=slot, backlog=100)
    asyncio.get_running_loop().add_signal_handler(15, lambda: (spoil(), os._exit(0)))
    await server.serve_forever()
asyncio.run(main())
"""
LETS_BE = """
import asyncio, socket
slot = socket.socket(fileno=3)
slot.setblocking(False)
async def served(reader, writer):
    writer.write(b"served"); writer.close()
async def main():
    server = await asyncio.start_server(served, sock=slot, backlog=100)
    await server.serve_forever()
asyncio.run(main())
"""
HIDES_ITS_CLIENTS = SPOILS.replace(
    "async def main():",
    "slot.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)\nasync def main():",
)
BLOCKS = """
import os, time
os.set_blocking(3, True)
time.sleep(60)
"""


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    hosts: dict[int, object] = {socket.AF_INET: (HOST, 0), socket.AF_INET6: ("::1", 0)}
    with socket.socket(request.param) as sock:
        sock.setblocking(False)
        sock.bind(hosts.get(request.param, ""))  # type: ignore[arg-type]
        sock.listen(8)
        yield sock


def value(sock: socket.socket, level: int, number: int) -> bytes:
    return sock.getsockopt(level, number, 128)


def test_every_option_that_can_be_changed_is_set_back(listening: socket.socket) -> None:
    options, changed = options_of(listening), {FLAGS}
    for option in TABLE:
        if option.name not in options:
            continue
        before = value(listening, option.level, option.number)
        for other in OTHER_VALUES:
            try:
                listening.setsockopt(option.level, option.number, other)
            except OSError:
                continue
            if value(listening, option.level, option.number) != before:
                changed.add(option.name)
                break
    listening.setblocking(True)
    assert len(changed) >= min(len(options), 40)
    left = restore(listening, options)

    assert all(one.why is None for one in left)
    assert options == options_of(listening)
    assert not os.get_blocking(listening.fileno())
    assert restore(listening, options) == []


@pytest.mark.parametrize("locked", [False, True])
def test_a_filter_is_taken_off_or_named(locked: bool) -> None:
    with socket.create_server((HOST, 0)) as sock:
        sock.setblocking(False)
        code = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
        program = struct.pack("HP", 1, ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        if locked:
            sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
        (left,) = restore(sock, options_of(sock))

        assert left.option == FILTER
        assert (left.why is not None) == locked


def test_what_the_socket_unit_set_is_told_from_what_workers_left() -> None:
    made = [socket.create_server((HOST, 0)) for _ in range(4)]
    try:
        for sock in made:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for sock in made[:-1]:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made[0].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        made[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        found = original_options_of(made)

        assert "01000000" == found["SO_KEEPALIVE"]
        assert "00000000" == found["TCP_NODELAY"]
        assert found["TCP_KEEPCNT"] == options_of(made[0])["TCP_KEEPCNT"]
    finally:
        for sock in made:
            sock.close()


def program(settings: Settings, text: str, name: str = "server.py") -> Settings:
    path = settings.releases.root / name
    path.write_text(text)
    own = replace(settings, workers=1, listeners=("ws",), ready_timeout="6s")
    return replace(own, command=(sys.executable, str(path)))


def clean(daemon: Daemon, starts: int) -> None:
    def said() -> list[str]:
        return [line for line in daemon.log().splitlines() if "| got" in line]

    wait_until(lambda: len(said()) >= starts, what="what each start got, in the log")
    found = said()
    assert starts == len(found)
    assert all("got False (0, 0) 0 0" in line for line in found), found


def test_the_next_release_and_the_next_start_get_the_sockets_as_promised(
    settings: Settings,
) -> None:
    own = replace(program(settings, SPOILS), with_addresses=False)
    with HeldSockets({"ws": own.target("ws")}, slots=3) as sockets:
        with Daemon(own, sockets=sockets) as daemon:
            daemon.start()
            for _ in range(3):
                daemon.reload()
                daemon.wait_for(lambda status: len(status["generations"]) == 1, what="one left")
            clean(daemon, 4)
            assert "SO_LINGER" in daemon.log()
            assert "by=worker 0 of generation 1" in daemon.log().replace("'", "")
            assert daemon.stop() == 0
        with Daemon(own, sockets=sockets) as again:
            again.start()
            clean(again, 1)
            with socket.create_connection(own.target("ws"), HANG_SECONDS) as client:
                assert client.recv(100) == b"served"


def test_what_a_dead_supervisor_and_its_workers_left_is_set_back_at_the_next_start(
    settings: Settings,
) -> None:
    own = replace(program(settings, SPOILS), with_addresses=False)
    with HeldSockets({"ws": own.target("ws")}, slots=3) as sockets:
        names = [fd for _, fd in sockets.named()]
        with closing(socket.socket(fileno=os.dup(names[0]))) as slot:
            slot.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
            slot.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with Daemon(own, sockets=sockets) as daemon:
            daemon.start()

            clean(daemon, 1)
            assert "a worker of an earlier run left it" in daemon.log()


def test_a_server_that_hides_its_clients_itself_is_ready(settings: Settings) -> None:
    with Daemon(program(settings, HIDES_ITS_CLIENTS)) as daemon:
        daemon.start()


def test_a_socket_unit_that_hides_clients_is_told_so() -> None:
    with HeldSockets({"ws": (HOST, 0)}, slots=1, reuse_port=True) as one:
        ((_, fd),) = one.named()
        with closing(socket.socket(fileno=os.dup(fd))) as slot:
            slot.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
            made = [os.dup(fd) for _ in range(3)]
            with closing(adopt("ws", made)) as pool:
                assert all(one.defers() for one in pool.slots)
                pool.slots[0].show_clients()
                assert not any(one.defers() for one in pool.slots)


@pytest.mark.parametrize("unix", [False, True])
def test_a_release_that_makes_a_shared_socket_blocking_stops_nobody(
    settings: Settings,
    unix: bool,
) -> None:
    own = replace(settings.shared, unix=unix, mode="auto" if unix else "shared", workers=1)
    with Daemon(own) as daemon:
        daemon.start()
        bad = program(settings, BLOCKS, "blocks.py")
        replace(own, command=bad.command, ready_timeout=f"{READY_SECONDS}s").write()
        reloading = daemon.launch_ctl("reload")
        daemon.wait_for(lambda _: "blocking; it was reset" in daemon.log(), what="it")
        for _ in range(10):
            host, port = own.target("raw")
            family = socket.AF_UNIX if unix else socket.AF_INET
            with socket.socket(family) as client:
                client.settimeout(BEFORE_THE_RELOAD_FAILS)
                client.connect(host if unix else (host, port))
                assert client.recv(100).startswith(b"generation 1")
        assert reloading.wait(HANG_SECONDS) == 1
        reloading.communicate()
        assert "by=worker 0 of generation 2" in daemon.log().replace("'", "")


LOCK = "    slot.setsockopt(socket.SOL_SOCKET, 44, 1)\n"
ATTACH = (
    '    slot.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(drop)))\n'
)


def retired(daemon: Daemon) -> None:
    daemon.wait_for(lambda status: len(status["generations"]) == 1, what="one left")


def test_a_lock_without_a_filter_disturbs_no_reload(settings: Settings) -> None:
    """On every slot that a worker has had: the program is attached through another one."""
    locks = LETS_BE.replace("async def main():", f"{LOCK.strip()}\nasync def main():")
    own = replace(program(settings, locks), ready_timeout="3s")
    with (
        HeldSockets({"ws": own.target("ws")}, slots=4) as sockets,
        Daemon(replace(own, with_addresses=False), sockets=sockets) as daemon,
    ):
        daemon.start()
        for _ in range(4):
            assert daemon.ctl("reload").status == 0
            with socket.create_connection(own.target("ws"), HANG_SECONDS) as client:
                assert client.recv(100) == b"served"
            retired(daemon)
        assert "cannot be restored" not in daemon.log()


def test_slots_with_a_locked_filter_are_given_to_no_worker_and_said_when_none_is_left(
    settings: Settings,
) -> None:
    assert ATTACH in SPOILS
    locks = SPOILS.replace(ATTACH, ATTACH + LOCK)
    own = replace(program(settings, locks), ready_timeout="3s", with_addresses=False)
    with (
        HeldSockets({"ws": own.target("ws")}, slots=5) as sockets,
        Daemon(own, sockets=sockets) as daemon,
    ):
        daemon.start()
        for _ in range(3):
            assert daemon.ctl("reload").status == 0
            retired(daemon)
        with socket.create_connection(own.target("ws"), HANG_SECONDS) as client:
            assert client.recv(100) == b"served"
        done = daemon.ctl("reload")

        assert done.status == 1
        assert "on 3 slots a worker locked a packet filter (SO_LOCK_FILTER)" in done.err
        assert re.search(r"by='?worker 0 of generation 3", daemon.log())
