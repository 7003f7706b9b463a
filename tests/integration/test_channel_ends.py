"""Both ends of the channel: lines cut anywhere, descriptors, full buffers, upgrades, deaths."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from wssupervisor.runtime.workers.channel import (
    MESSAGES_PER_LOOK,
    READ_BYTES,
    READS_PER_LOOK,
    Channel,
    after_death,
)
from wssupervisor.worker import Worker
from wssupervisor.worker.lines import DESCRIPTORS_MAX, LINE_BYTES
from wssupervisor.worker.link import SUPERVISOR, VARIABLE, Link
from wssupervisor.worker.protocol import (
    Alive,
    Bad,
    Counts,
    Drain,
    FromSupervisor,
    FromWorker,
    Ready,
    Refused,
    Resume,
    Stay,
    encode,
)

SOON = 20.0
SEED = 18
FILL_MAX = 10_000
"""More messages than any socket's buffer holds."""
SMALL_BUFFER = 1
"""The kernel makes the smallest of it that it allows: a long line does not fit at once."""
LONG = Drain(("x" * 15_000,))


@dataclass
class Ends:
    """The supervisor's end, and the worker's as a plain socket."""

    channel: Channel
    theirs: socket.socket

    def heard(self) -> list[FromWorker | Bad]:
        found = list[FromWorker | Bad]()
        while more := self.channel.receive():
            found += more
        return found

    def read(self) -> bytes:
        """All that the worker has not read; it does not wait for more."""
        found = b""
        with suppress(BlockingIOError):
            while piece := self.theirs.recv(1 << 20, socket.MSG_DONTWAIT):
                found += piece
        return found

    def upgraded(self) -> None:
        state = replace(self.channel.save(), descriptor=os.dup(self.channel.fileno()))
        self.channel.close()
        self.channel = Channel.restore(state)

    def succeeded(self) -> None:
        """Another supervisor takes over from one that died: what that one had read is lost."""
        state = after_death(os.dup(self.channel.fileno()), closed=False)
        self.channel.close()
        self.channel = Channel.restore(state)


@pytest.fixture
def ends() -> Iterator[Ends]:
    channel = Channel.create()
    found = Ends(channel, socket.socket(fileno=os.dup(channel.theirs)))
    channel.passed_on()
    yield found
    found.channel.close()
    found.theirs.close()


# -- from the worker ------------------------------------------------------------------------------


def test_a_worker_may_send_in_pieces_of_any_size(ends: Ends) -> None:
    random = Random(SEED)
    said = [random.choice((Ready(), Alive(), Counts(random.randrange(9)))) for _ in range(300)]
    stream = b"".join(encode(one) for one in said)
    heard = []
    while stream:
        size = random.choice((1, 7, 100, 3000))
        ends.theirs.sendall(stream[:size])
        stream = stream[size:]
        heard += ends.channel.receive()

    assert heard + ends.heard() == said


def test_a_flood_waits_for_the_next_look(ends: Ends) -> None:
    ends.theirs.sendall(encode(Alive()) * 200 + b"\n" * 2 * READ_BYTES * READS_PER_LOOK)
    first = ends.channel.receive()

    assert MESSAGES_PER_LOOK <= len(first) < 200
    assert ends.channel.is_behind
    looks = 0
    while ends.channel.is_behind:
        first += ends.channel.receive()
        looks += 1
    assert (len(first), looks) == (200, pytest.approx(5, abs=2))


def test_a_line_without_end_closes_the_channel_and_the_worker_learns_why(ends: Ends) -> None:
    ends.theirs.sendall(b"x" * LINE_BYTES)
    assert (ends.heard(), ends.channel.closed) == ([], False)
    ends.theirs.sendall(b"x")
    [bad] = ends.heard()

    assert str(bad) == f"a line of more than {LINE_BYTES} bytes"
    assert ends.channel.closed
    assert ends.read() == encode(Refused(str(bad)))
    assert ends.theirs.recv(1) == b"", "the end of the stream"
    with pytest.raises(BrokenPipeError):
        ends.theirs.send(b"\n")


def test_another_version_of_the_protocol_is_refused_with_both(ends: Ends) -> None:
    ends.theirs.sendall(b'{"type": "hello", "version": 7}\n{"type": "ready"}\n')
    [bad] = ends.heard()

    assert str(bad) == "hello: found version 7, expected version 1"
    assert ends.read() == encode(Refused(str(bad)))


def test_the_last_words_of_a_worker_are_heard_although_it_had_not_read(ends: Ends) -> None:
    assert ends.channel.send(Stay())
    ends.theirs.sendall(encode(Counts(3)))
    ends.theirs.close()

    assert (ends.heard(), ends.channel.closed) == ([Counts(3)], True)


# -- to the worker --------------------------------------------------------------------------------


def small(ends: Ends) -> None:
    own = socket.socket(fileno=os.dup(ends.channel.fileno()))
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    own.close()


def fill(ends: Ends, message: FromSupervisor) -> int:
    """Send until the worker's buffer is full; how many were taken."""
    for count in range(FILL_MAX):
        if not ends.channel.send(message):
            return count
    raise AssertionError("its buffer has no bound")


def test_the_supervisor_does_not_wait_for_a_worker_that_reads_nothing(ends: Ends) -> None:
    taken = fill(ends, Stay())
    assert taken > 100
    assert not ends.channel.send(Stay())
    assert ends.read() == encode(Stay()) * taken
    assert ends.channel.send(Resume())
    assert ends.read() == encode(Resume())


def test_the_rest_of_a_line_is_sent_when_the_worker_has_read(ends: Ends) -> None:
    small(ends)
    assert ends.channel.send(LONG)
    assert not ends.channel.send(Stay())
    read = ends.read()
    assert 0 < len(read) < len(encode(LONG))
    while not ends.channel.flush():
        read += ends.read()
    assert ends.channel.send(Stay())

    assert read + ends.read() == encode(LONG) + encode(Stay())


# -- upgrades and deaths --------------------------------------------------------------------------


def test_an_upgrade_in_the_middle_of_lines_loses_none(ends: Ends) -> None:
    small(ends)
    said = encode(Counts(12, 3))
    ends.theirs.sendall(said[:9])
    assert ends.heard() == []
    assert ends.channel.send(LONG)
    read = b""
    while len(read) < len(encode(LONG)):
        ends.upgraded()
        read += ends.read()
        ends.channel.flush()
    ends.theirs.sendall(said[9:])

    assert ends.heard() == [Counts(12, 3)]
    assert read == encode(LONG)


def test_after_a_death_in_the_middle_of_lines_both_find_the_next_ones(ends: Ends) -> None:
    small(ends)
    ends.theirs.sendall(encode(Counts(1))[:9])
    assert ends.heard() == []
    assert ends.channel.send(LONG)
    ends.succeeded()
    ends.theirs.sendall(encode(Counts(1))[9:] + encode(Counts(2)))
    read = b""
    while not ends.channel.send(Stay()):
        read += ends.read()
    read += ends.read()

    assert ends.heard() == [Counts(2)]
    torn, *rest = read.split(b"\n")
    assert 0 < len(torn) < len(encode(LONG))
    assert rest == [encode(Stay()).rstrip(), b""]


def test_after_a_death_between_lines_none_is_lost(ends: Ends) -> None:
    ends.succeeded()
    ends.theirs.sendall(encode(Ready()))
    assert ends.heard() == [Ready()]
    assert ends.channel.send(Stay())
    assert ends.read() == b"\n" + encode(Stay())
    ends.theirs.sendall(b"only the first line may lack its beginning\n")
    [bad] = ends.heard()

    assert "not JSON" in str(bad)


# -- descriptors, and the library's end ----------------------------------------------------------


@dataclass
class Heard:
    """What a Link passed on; it takes the descriptors of `Stay`, and fails at `Resume`."""

    messages: list[FromSupervisor] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def __call__(self, message: FromSupervisor, descriptors: list[int]) -> None:
        self.messages.append(message)
        if message == Resume():
            raise RuntimeError("at resume")
        if message == Stay():
            self.taken += descriptors
            descriptors.clear()

    def close(self) -> None:
        for descriptor in self.taken:
            os.close(descriptor)


def linked(ends: Ends, act: Callable[[Link, Heard], Awaitable[None]]) -> tuple[Heard, list[Any]]:
    """Run a Link at the worker's end; what it heard, and the errors of its loop."""
    heard, errors = Heard(), list[Any]()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        link = Link(socket.socket(fileno=os.dup(ends.theirs.fileno())), heard)
        await act(link, heard)
        link.close()

    asyncio.run(run())
    return heard, errors


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.005)


def link_of(descriptor: int | str) -> str:
    with suppress(FileNotFoundError):
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    return ""


def open_as(link: str) -> int:
    """How many descriptors of this process are this file."""
    return sum(link_of(one) == link for one in os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_descriptors_come_with_their_message_and_others_are_closed(ends: Ends) -> None:
    read, write = os.pipe()
    pipe = link_of(read)

    async def act(_: Link, heard: Heard) -> None:
        for message, rights in (
            (Drain(("ws",)), []),
            (Stay(), [read]),
            (Drain(("raw",)), [read, write]),
            (Stay(), []),
            (Stay(), [read] * (DESCRIPTORS_MAX + 1)),
            (Stay(), [read] * DESCRIPTORS_MAX),
        ):
            assert ends.channel.send(message, rights)
        await until(lambda: len(heard.messages) == 6)

    heard, errors = linked(ends, act)
    os.close(read)
    os.close(write)
    assert [link_of(one) for one in heard.taken] == [pipe] * (1 + DESCRIPTORS_MAX)
    assert errors == []
    heard.close()

    assert open_as(pipe) == 0


def test_a_worker_that_reads_without_descriptors_still_reads_lines(ends: Ends) -> None:
    read, write = os.pipe()
    pipe = link_of(read)
    assert ends.channel.send(Stay(), [read])
    assert ends.channel.send(Resume())
    os.close(read)
    os.close(write)

    assert ends.read() == encode(Stay()) + encode(Resume())
    assert open_as(pipe) == 0


def test_a_message_that_fails_does_not_take_the_next_one_along(ends: Ends) -> None:
    async def act(_: Link, heard: Heard) -> None:
        ends.channel.send(Resume())
        ends.channel.send(Drain())
        await until(lambda: len(heard.messages) == 2)

    heard, errors = linked(ends, act)

    assert heard.messages == [Resume(), Drain()]
    assert [str(error) for error in errors] == ["at resume"]


def test_the_library_ignores_an_incomplete_line_and_reads_on(ends: Ends) -> None:
    async def act(_: Link, heard: Heard) -> None:
        assert ends.channel.send(Drain())
        own = socket.socket(fileno=os.dup(ends.channel.fileno()))
        own.send(encode(Stay())[:7])
        own.close()
        ends.succeeded()
        assert ends.channel.send(Resume())
        await until(lambda: len(heard.messages) == 2)

    heard, _ = linked(ends, act)

    assert heard.messages == [Drain(), Resume()]


def test_the_library_drops_what_a_supervisor_does_not_read_and_completes_what_it_began(
    ends: Ends,
) -> None:
    counts = Counts(7, 3)

    async def act(link: Link, _: Heard) -> None:
        link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        sent = 0
        while link.say(counts):
            sent += 1
        assert sent < FILL_MAX
        heard: list[Any] = []

        def all_heard() -> bool:
            heard.extend(ends.channel.receive())
            return len(heard) == sent

        await until(all_heard)
        assert link.say(Ready())
        assert [*heard, *ends.heard()] == [counts] * sent + [Ready()]

    linked(ends, act)


# -- the worker of the library --------------------------------------------------------------------


def given_to_us(monkeypatch: pytest.MonkeyPatch, descriptor: int, supervisor: int) -> None:
    monkeypatch.setenv(VARIABLE, str(descriptor))
    monkeypatch.setenv(SUPERVISOR, f"{supervisor}:1")


async def close(_code: int, _reason: str) -> None:
    pass


def test_ready_and_counts_are_repeated_until_the_supervisor_has_room(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def report() -> list[Any]:
        async with Worker(owns_process=False) as worker:
            with suppress(BlockingIOError):
                while True:
                    ends.theirs.send(b"\n" * 4096, socket.MSG_DONTWAIT)
            heard: list[Any] = []

            def all_heard() -> bool:
                heard.extend(ends.channel.receive())
                return {Ready(), Counts(1)} <= set(heard)

            worker.ready()
            with worker.track(close):
                await until(all_heard)
            return heard

    given_to_us(monkeypatch, os.dup(ends.theirs.fileno()), os.getpid())

    assert asyncio.run(report()).count(Ready()) == 1


def test_the_library_logs_why_it_was_refused(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Worker(owns_process=False):
            ends.channel.refuse("hello: found version 1, expected version 2")
            await until(lambda: caplog.records)

    given_to_us(monkeypatch, os.dup(ends.theirs.fileno()), os.getpid())
    with caplog.at_level(logging.WARNING, "wssupervisor.worker"):
        asyncio.run(run())

    assert caplog.messages == [
        "the supervisor closed the channel: hello: found version 1, expected version 2"
    ]


@pytest.mark.parametrize(
    "kind", ["file", "stream of another", "datagrams", "slot", "not connected", "none"]
)
def test_a_number_that_belongs_to_something_else_is_left_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a child of a worker, whose event loop has its own pair of sockets there."""
    given_to_us(monkeypatch, 0, os.getpid() if kind == "slot" else os.getppid())
    with ExitStack() as stack:
        pairs = {"stream of another": socket.SOCK_STREAM, "datagrams": socket.SOCK_DGRAM}
        descriptor = 10_000
        if kind in pairs:
            one, other = socket.socketpair(socket.AF_UNIX, pairs[kind])
            stack.enter_context(other)
            descriptor = stack.enter_context(one).fileno()
        elif kind == "file":
            descriptor = stack.enter_context(open(os.devnull)).fileno()  # noqa: PTH123
        elif kind != "none":
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            if kind == "slot":
                unix.bind("")
                unix.listen()
            descriptor = unix.fileno()
        monkeypatch.setenv(VARIABLE, str(descriptor))

        assert Link.from_environment(Heard()) is None
        assert kind == "none" or os.fstat(descriptor)
