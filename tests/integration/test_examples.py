"""The examples keep what they promise their users, with a deploy in the middle."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from examples.feed.client import events
from examples.load.waiting import HANG_SECONDS
from tests.conftest import unique_name
from tests.harness.daemon import Daemon
from tests.harness.releases import ROOT, Releases
from tests.harness.settings import HOST, Settings

T = TypeVar("T")
RESTART, POLICY_VIOLATION = 1012, 1008
READERS = 10
EVENTS = 300


@dataclass(frozen=True, slots=True)
class Example(Settings):
    """The example's own file, on another address, and with times that a test can wait for."""

    example: str = ""
    limit: str = "infinity"
    release: str = "first"

    def text(self) -> str:
        found = (ROOT / "examples" / self.example / f"{self.example}.toml").read_text()
        for own, other in (
            ("[app]\n", f'[app]\ndirectory = "{ROOT}/examples/{self.example}"\n'),
            ('["python3"', f'["{sys.executable}"'),
            ('["uvicorn"', f'["{sys.executable}", "-m", "uvicorn"'),
            ("[app.environment]\n", f'[app.environment]\nPYTHONPATH = "{ROOT}"\n'),
            ("127.0.0.1:8765", f"{HOST}:{self.ws_port}"),
            ('keep = "30s"', 'keep = "0s"'),
            ('close_over = "30s"', 'close_over = "1s"'),
            ('RELEASE = "first"', f'RELEASE = "{self.release}"'),
        ):
            found = found.replace(own, other)
        lines = [
            f'timeout = "{self.limit}"' if line.startswith("timeout =") else line
            for line in found.splitlines()
        ]
        return "\n".join(lines) + "\n"

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.ws_port}"


def example(name: str, tmp_path: Path, limit: str = "infinity") -> Example:
    return Example(unique_name(), Releases(tmp_path), example=name, limit=limit)


def running(settings: Example) -> Daemon:
    """Its data are the test's own."""
    return Daemon(settings, variables={"TMPDIR": str(settings.releases.root)})


async def within(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(HANG_SECONDS):
        return await awaitable


# -- signalling ------------------------------------------------------------------------------


class Person:
    """A client that sets up a call, and returns when it is asked to."""

    def __init__(self, url: str, who: str) -> None:
        self._url, self._who = url, who
        self._connection: ClientConnection | None = None
        self.after = 0
        self.generations: list[int] = []

    async def come(self) -> None:
        url = f"{self._url}?me={self._who}&after={self.after}"
        self._connection = await connect(url)
        hello = await self._receive()
        assert hello["type"] == "hello"
        self.generations.append(hello["generation"])

    async def say(self, kind: str, **more: str) -> None:
        assert self._connection is not None
        await self._connection.send(json.dumps({"type": kind, **more}))

    async def hear(self) -> dict[str, Any]:
        """The next message, over however many connections."""
        while True:
            found: dict[str, Any] | None
            try:
                found = await within(self._receive())
            except ConnectionClosed:
                found = None
            if found is not None:
                self.after = found["id"]
                return found
            assert await self.closed() == RESTART
            await self.come()

    async def _receive(self) -> dict[str, Any]:
        assert self._connection is not None
        found: dict[str, Any] = json.loads(await self._connection.recv())
        return found

    async def closed(self) -> int:
        assert self._connection is not None
        await within(self._connection.wait_closed())
        assert self._connection.close_code is not None
        return self._connection.close_code

    async def go(self) -> None:
        if self._connection is not None:
            await self._connection.close()


async def in_thread(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


def test_a_call_is_set_up_though_a_deploy_comes_between_offer_and_answer(tmp_path: Path) -> None:
    settings = example("signalling", tmp_path)

    async def calling(daemon: Daemon) -> None:
        ann, bob = Person(f"{settings.url}/blue", "ann"), Person(f"{settings.url}/blue", "bob")
        async with AsyncExitStack() as leaving:
            for one in (ann, bob):
                leaving.push_async_callback(one.go)
            await ann.come()
            await ann.say("offer", sdp="v=0 of ann")
            await in_thread(daemon.reload)
            await bob.come()
            offer = await bob.hear()
            await bob.say("answer", sdp="v=0 of bob")
            answer = await ann.hear()
            await ann.say("candidate", candidate="192.0.2.1")
            candidate = await bob.hear()

        assert (offer["from"], offer["sdp"]) == ("ann", "v=0 of ann")
        assert (answer["from"], answer["sdp"]) == ("bob", "v=0 of bob")
        assert candidate["candidate"] == "192.0.2.1"
        assert (ann.generations, bob.generations) == ([1], [2])

    with running(settings) as daemon:
        daemon.start()
        asyncio.run(calling(daemon))


def test_at_a_drains_limit_who_waits_for_an_answer_is_let_wait_and_then_comes_back(
    tmp_path: Path,
) -> None:
    settings = example("signalling", tmp_path, limit="0s")

    async def calling(daemon: Daemon) -> None:
        ann, bob = Person(f"{settings.url}/blue", "ann"), Person(f"{settings.url}/blue", "bob")
        idle = Person(f"{settings.url}/red", "tim")
        async with AsyncExitStack() as leaving:
            for one in (ann, bob, idle):
                leaving.push_async_callback(one.go)
                if one is not bob:
                    await one.come()
            await ann.say("offer", sdp="of ann")
            await bob.come()
            assert (await bob.hear())["sdp"] == "of ann"  # so her worker knows of it
            await in_thread(daemon.reload)

            assert await idle.closed() == RESTART
            await idle.come()
            assert idle.generations == [1, 2]

            await bob.say("answer", sdp="of bob")
            assert (await ann.hear())["sdp"] == "of bob"
            assert ann.generations == [1]
            assert await ann.closed() == RESTART
            await ann.come()
            assert await bob.closed() == RESTART
            await bob.come()
            await bob.say("candidate", candidate="of bob")
            assert (await ann.hear())["candidate"] == "of bob"
            assert (ann.generations, bob.generations) == ([1, 2], [1, 2])

    with running(settings) as daemon:
        daemon.start()
        asyncio.run(calling(daemon))


def test_a_third_is_turned_away_and_a_seat_is_free_after_a_goodbye(tmp_path: Path) -> None:
    settings = example("signalling", tmp_path)

    async def calling() -> None:
        url = f"{settings.url}/blue"
        async with connect(f"{url}?me=ann") as ann, connect(f"{url}?me=bob") as bob:
            await ann.recv()
            await bob.recv()
            async with connect(f"{url}?me=tim") as third:
                await within(third.wait_closed())
                assert third.close_code == POLICY_VIOLATION
            await ann.send('{"type": "bye"}')
            await within(ann.wait_closed())
            async with connect(f"{url}?me=tim") as third:
                assert json.loads(await third.recv())["type"] == "hello"

    with running(settings) as daemon:
        daemon.start()
        asyncio.run(calling())


# -- the feed --------------------------------------------------------------------------------


class Reader:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.generations: list[int] = []

    async def read(self, url: str, until: str) -> None:
        # Otherwise the loop might end, and cancel the generator, before its connection is closed.
        async with aclosing(events(url)) as found:
            async for event in found:
                if "hello" in event:
                    self.generations.append(event["generation"])
                    continue
                self.texts.append(event["text"])
                if event["text"] == until:
                    return


async def publish(url: str, texts: list[str], done: Callable[[int], None]) -> int:
    """Say each until it is answered; returns how often it was cut off."""
    cut_off = 0
    left = list(enumerate(texts))
    while left:
        try:
            async with connect(f"{url}publish") as connection:
                while left:
                    number, text = left[0]
                    await connection.send(json.dumps({"key": f"event-{number}", "text": text}))
                    await connection.recv()
                    left.pop(0)
                    done(number)
                    await asyncio.sleep(0.01)  # the pace of what happens in the world
        except ConnectionClosed:
            cut_off += 1
    return cut_off


def test_no_event_is_lost_or_doubled_over_deploys_at_which_all_are_asked_to_come_back(
    tmp_path: Path,
) -> None:
    settings = example("feed", tmp_path, limit="0s")
    texts = [f"event {number}" for number in range(EVENTS)]

    async def feeding(daemon: Daemon) -> tuple[list[Reader], int]:
        readers = [Reader() for _ in range(READERS)]
        published = asyncio.Queue[int]()
        url = f"{settings.url}/"
        async with asyncio.TaskGroup() as tasks:
            for one in readers:
                tasks.create_task(within(one.read(url, texts[-1])))
            publishing = tasks.create_task(within(publish(url, texts, published.put_nowait)))
            for reload_at in (EVENTS // 5, EVENTS // 2):
                while await within(published.get()) < reload_at:
                    pass
                await in_thread(daemon.reload)
        return readers, publishing.result()

    with running(settings) as daemon:
        daemon.start()
        readers, cut_off = asyncio.run(feeding(daemon))
    print([one.generations for one in readers], cut_off)

    assert [one.texts for one in readers] == [texts] * READERS
    assert all(one.generations[0] == 1 and len(one.generations) > 1 for one in readers)
    assert cut_off >= 1


def test_without_a_limit_readers_stay_and_hear_what_the_new_generation_takes(
    tmp_path: Path,
) -> None:
    settings = example("feed", tmp_path)

    async def feeding(daemon: Daemon) -> Reader:
        reader, url = Reader(), f"{settings.url}/"
        await within(publish(url, ["before"], lambda _: None))
        reading = asyncio.create_task(within(reader.read(url, "after")))
        while not reader.texts:
            await asyncio.sleep(0.01)
        await in_thread(daemon.reload)
        async with connect(f"{url}publish") as connection:
            await connection.send('{"key": "later", "text": "after"}')
            await connection.recv()
        await reading
        return reader

    with running(settings) as daemon:
        daemon.start()
        reader = asyncio.run(feeding(daemon))

    assert reader.texts == ["before", "after"]
    assert reader.generations == [1]


# -- an ASGI application that knows nothing of us --------------------------------------------------


def test_a_long_job_is_finished_by_the_release_that_began_it(tmp_path: Path) -> None:
    settings = example("asgi", tmp_path)
    steps = 100  # five seconds and more: both reloads come in the middle

    async def working(daemon: Daemon) -> tuple[list[str], str]:
        async with connect(settings.url) as old:
            await old.send(str(steps))
            said = [str(await within(old.recv()))]
            for release in ("second", "third"):
                replace(settings, release=release).write()
                await in_thread(daemon.reload)
            before = len(said)
            async with connect(settings.url) as new:
                await new.send("1")
                newest = str(await within(new.recv()))
            while len(said) < steps:
                said.append(str(await within(old.recv())))
        assert before < steps
        return said, newest

    with running(settings) as daemon:
        daemon.start()
        said, newest = asyncio.run(working(daemon))

    assert said == [f"step {one} of {steps} by the first release" for one in range(1, steps + 1)]
    assert newest == "step 1 of 1 by the third release"
