"""Files that do not answer cost the reload that reads them, and nothing else."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from examples.load.waiting import HANG_SECONDS
from wssupervisor.errors import OperationFailed, ReleaseInvalid
from wssupervisor.runtime.io_threads import IoThreads

SHORT = 0.2
LONG = 20.0


class Hung:
    """Work that does not end before the test does, unless that waits for it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.ended: list[bool] = []

    def __call__(self) -> None:
        self.ended.append(self.over.wait(HANG_SECONDS))


@pytest.fixture
def hung() -> Iterator[Hung]:
    work = Hung()
    yield work
    work.over.set()


def test_a_result_and_an_error_come_back() -> None:
    def bad() -> None:
        raise ReleaseInvalid("no such directory")

    async def ask() -> None:
        threads = IoThreads(1, LONG)
        for _ in range(3):  # one after the other there is always room
            assert await threads.do("reading", lambda: 7) == 7
        with pytest.raises(ReleaseInvalid, match="no such directory"):
            await threads.do("reading", bad)

    asyncio.run(ask())


def test_what_hangs_fails_within_its_limit_and_leaves_room_for_so_many_more(
    hung: Hung,
) -> None:
    async def ask() -> None:
        threads = IoThreads(2, SHORT)
        with pytest.raises(OperationFailed, match=r"reading took more than 0\.2 s"):
            await threads.do("reading", hung)
        assert await threads.do("reading", lambda: 7) == 7
        with pytest.raises(OperationFailed, match="took more than"):
            await threads.do("reading", hung)
        with pytest.raises(
            OperationFailed, match="2 earlier calls to the file system did not return"
        ):
            await threads.do("reading", lambda: 7)
        # The census has threads of its own.
        async with asyncio.timeout(LONG):
            assert await asyncio.to_thread(lambda: 8) == 8

    asyncio.run(ask())

    assert hung.ended == []  # what hangs was not waited for


def test_what_hung_and_ends_makes_room_again() -> None:
    over = threading.Event()

    async def ask() -> None:
        threads = IoThreads(1, SHORT)
        with pytest.raises(OperationFailed, match="took more than"):
            await threads.do("reading", lambda: over.wait(LONG))
        with pytest.raises(
            OperationFailed, match="1 earlier call to the file system did not return"
        ):
            await threads.do("reading", lambda: 7)
        over.set()
        async with asyncio.timeout(LONG):
            while await tried(threads) is None:
                await asyncio.sleep(0.01)

    async def tried(threads: IoThreads) -> int | None:
        try:
            return await threads.do("reading", lambda: 7)
        except OperationFailed:
            return None

    asyncio.run(ask())
