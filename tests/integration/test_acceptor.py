"""Accepting on a socket of the daemon's own, where descriptors run out."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.load.waiting import HANG_SECONDS
from wssupervisor import acceptor
from wssupervisor.acceptor import Acceptor

RETRY = 0.05


@contextmanager
def no_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "RETRY_SECONDS", RETRY)


def test_who_came_while_there_were_no_descriptors_is_accepted_later() -> None:
    async def run() -> None:
        welcomed: asyncio.Queue[socket.socket] = asyncio.Queue()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            with socket.create_connection(listening.getsockname()) as client:
                with no_descriptors():
                    own = Acceptor(listening, welcomed.put_nowait)
                    await turns(10)
                    assert welcomed.empty()
                async with asyncio.timeout(HANG_SECONDS):
                    found = await welcomed.get()
                with found:
                    assert found.getpeername() == client.getsockname()
                    assert not found.getblocking()
                own.pause()

    asyncio.run(run())


def test_a_pause_is_not_ended_by_descriptors_that_come_back() -> None:
    """In an upgrade: who is accepted then would be lost."""

    async def run() -> None:
        welcomed: asyncio.Queue[socket.socket] = asyncio.Queue()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            with socket.create_connection(listening.getsockname()):
                with no_descriptors():
                    own = Acceptor(listening, welcomed.put_nowait)
                    await turns(10)
                own.pause()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(4 * RETRY):
                        await welcomed.get()
                own.resume()
                async with asyncio.timeout(HANG_SECONDS):
                    (await welcomed.get()).close()
                own.pause()

    asyncio.run(run())
