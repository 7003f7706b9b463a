"""Messages and descriptors between two workers, through a real pair of sockets."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import pytest

from tests.unit.handoff.examples import WEBSOCKETS
from wssupervisor.worker.handoff.claim import create_claim, win_claim
from wssupervisor.worker.handoff.exchange import (
    DESCRIPTORS_MAX,
    End,
    Received,
    pair,
    read_states,
    write_states,
)
from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.messages import (
    BESIDE,
    CONNECTIONS_MAX,
    Batch,
    Done,
    FromGiver,
    FromTaker,
    Hello,
    Kind,
    Taken,
)
from wssupervisor.worker.handoff.states import websockets_state

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def giver(ends: tuple[End[FromTaker], End[FromGiver]]) -> End[FromTaker]:
    return ends[0]


@pytest.fixture
def taker(ends: tuple[End[FromTaker], End[FromGiver]]) -> End[FromGiver]:
    return ends[1]


@pytest.fixture
def ends() -> Iterator[tuple[End[FromTaker], End[FromGiver]]]:
    given, taken = pair()
    before = count_open()
    yield End.of_giver(given), End.of_taker(taken)
    given.close()
    taken.close()

    assert count_open() <= before, "a descriptor was kept"


def count_open() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@contextmanager
def batch(count: int) -> Iterator[tuple[Batch, list[int]]]:
    """A message with its descriptors: sockets, each with its inode."""
    connections = [socket.socket() for _ in range(count)]
    claim = create_claim()
    states = write_states([WEBSOCKETS] * count)
    try:
        yield Batch(7, count), [claim, states, *(one.fileno() for one in connections)]
    finally:
        os.close(claim)
        os.close(states)
        for one in connections:
            one.close()


def receive(end: End[FromGiver]) -> Received[FromGiver]:
    found = end.receive()
    assert found is not None
    return found


def inodes(descriptors: list[int]) -> list[int]:
    return [os.fstat(one).st_ino for one in descriptors]


@pytest.mark.parametrize("count", [1, CONNECTIONS_MAX])
def test_a_batch_arrives_with_its_claim_its_states_and_its_connections(
    giver: End[FromTaker], taker: End[FromGiver], count: int
) -> None:
    with batch(count) as (message, descriptors):
        giver.send(message, descriptors)
        sent = inodes(descriptors)
    with receive(taker) as found:
        read = [websockets_state(one, "states") for one in found.states()]
        taken = [found.take_connection(at) for at in range(count)]

        assert (found.message, found.cut_off) == (message, False)
        assert inodes([found.claim, found.descriptors[1], *taken]) == sent
        assert read == [WEBSOCKETS] * count
        assert not any(os.get_inheritable(one) for one in taken)
    for one in taken:
        os.close(one)


def test_what_was_not_taken_is_closed(giver: End[FromTaker], taker: End[FromGiver]) -> None:
    before = count_open()
    with batch(3) as (message, descriptors):
        giver.send(message, descriptors)
    with receive(taker) as found:
        claim = found.take_claim()

    assert count_open() == before + 1
    os.close(claim)


def test_nothing_comes_from_a_quiet_giver_and_the_end_is_reported(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    quiet = taker.receive()
    giver.send(Done())
    giver.close()
    last = receive(taker)

    assert (quiet, last.message, taker.ended) == (None, Done(), False)
    assert (taker.receive(), taker.ended) == (None, True)


def test_the_last_words_of_a_taker_that_died_are_heard_behind_the_reset(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    """docs/internals/platform.md#a-reset-overtakes-the-last-words."""
    giver.send(Done())  # which it never reads
    taker.send(Taken(1))
    taker.close()
    heard = giver.receive()

    assert heard is not None
    assert (heard.message, giver.receive(), giver.ended) == (Taken(1), None, True)


def fill(end: End[FromGiver]) -> None:
    for _ in range(100_000):
        end.send(Hello(Kind.ASGI, 1))


def test_a_full_queue_and_a_closed_end_are_errors(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    with pytest.raises(BlockingIOError):
        fill(taker)
    giver.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        taker.send(Taken(1))


def test_messages_of_an_unknown_type_are_left_out_with_their_descriptors(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    before = count_open()
    with socket.socket(fileno=os.dup(giver.fileno())) as raw, batch(1) as (_, descriptors):
        socket.send_fds(raw, [b'{"type": "teleport"}'], descriptors)
    giver.send(Done())

    assert receive(taker).message == Done()
    assert count_open() == before


@pytest.mark.parametrize(
    ("data", "count", "error"),
    [
        (b"nothing", 3, "message: not JSON"),
        (b'{"type": "batch", "id": 1, "count": 2, "more": false}', 3, "batch: found 3 descriptors"),
        (b'{"type": "batch", "id": 1, "count": 2, "more": false}', 0, "batch: found 0 descriptors"),
        (b'{"type": "batch", "id": 1, "count": 2, "more": false}', 9, "batch: found 9 descriptors"),
        (b'{"type": "done"}', 1, "done: found 1 descriptors, expected 0"),
    ],
)
def test_a_wrong_message_is_refused_and_its_descriptors_are_closed(
    giver: End[FromTaker], taker: End[FromGiver], data: bytes, count: int, error: str
) -> None:
    before = count_open()
    with socket.socket(fileno=os.dup(giver.fileno())) as raw:
        socket.send_fds(raw, [data], [0] * count)
    with pytest.raises(Malformed, match=f"^{error}"):
        taker.receive()

    assert count_open() == before


def test_descriptors_that_this_process_may_not_open_are_cut_off(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    """docs/internals/platform.md#descriptors-in-flight."""
    with batch(20) as (message, descriptors):
        giver.send(message, descriptors)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit_for(6), limits[1]))
    try:
        found = receive(taker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert found.cut_off
    assert len(found.descriptors) < message.descriptors
    found.close()


def limit_for(more: int) -> int:
    """The limit under which this process may open that many more."""
    taken = {int(one) for one in os.listdir("/proc/self/fd")}  # noqa: PTH208
    free = (one for one in range(10_000) if one not in taken)
    return list(islice(free, more))[-1] + 1


def test_the_kernel_sends_at_most_253_descriptors_at_once(
    giver: End[FromTaker], taker: End[FromGiver]
) -> None:
    """docs/internals/platform.md#descriptors-in-flight."""
    with socket.socket(fileno=os.dup(giver.fileno())) as raw:
        with pytest.raises(OSError, match="Invalid argument"):
            socket.send_fds(raw, [b"{}"], [0] * (DESCRIPTORS_MAX + 1))
        socket.send_fds(raw, [b'{"type": "x"}'], [0] * DESCRIPTORS_MAX)

    assert taker.receive() is None
    assert BESIDE + CONNECTIONS_MAX <= DESCRIPTORS_MAX


def test_states_longer_than_a_datagram_arrive() -> None:
    states = [WEBSOCKETS] * CONNECTIONS_MAX * 10
    descriptor = write_states(states)
    data = read_states(descriptor)
    os.close(descriptor)

    assert len(data) > 500_000


@pytest.mark.parametrize("path", ["/dev/null", "/"])
def test_states_are_read_from_a_file_alone(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(Malformed, match=r"^states: expected a file of at most"):
        read_states(descriptor)
    os.close(descriptor)


# -- the claim --------------------------------------------------------------------------------


def test_a_claim_is_won_once() -> None:
    claim = create_claim()
    found = [win_claim(claim), win_claim(claim)]
    os.close(claim)

    assert found == [True, False]


def test_what_is_no_claim_is_never_won() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"\1")
    with ExitStack() as stack:
        stack.enter_context(theirs)
        paths = [Path(one) for one in ("/dev/null", "/dev/zero")]
        files = [stack.enter_context(one.open("rb")) for one in paths]
        numbers = [stack.enter_context(ours).fileno(), *(one.fileno() for one in files)]
        found = [win_claim(one) for one in numbers]

    assert found == [False, False, False]


RACE = """
import os, socket, sys
from wssupervisor.worker.handoff.claim import win_claim
sock = socket.socket(fileno=int(sys.argv[1]))
won = []
while True:
    _, descriptors, _, _ = socket.recv_fds(sock, 1, 200)
    if not descriptors:
        break
    sock.send(b"r")
    won.append("".join("1" if win_claim(one) else "0" for one in descriptors))
    for one in descriptors:
        os.close(one)
print("".join(won), end="")
"""


def test_of_two_processes_that_read_a_claim_exactly_one_wins() -> None:
    """docs/internals/platform.md#an-eventfd-has-one-reader."""
    rounds, claims_each = 20, 100
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(theirs.fileno())],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
        for _, theirs in pairs
    ]
    for _ in range(rounds):
        claims = [create_claim() for _ in range(claims_each)]
        for ours, _ in pairs:
            socket.send_fds(ours, [b"g"], claims)
        for ours, _ in pairs:
            ours.recv(1)
        for one in claims:
            os.close(one)
    for ours, theirs in pairs:
        theirs.close()
        ours.close()
    results = [one.communicate(timeout=30)[0].decode() for one in racers]
    winners = [int(first) + int(second) for first, second in zip(*results, strict=True)]

    assert winners == [1] * rounds * claims_each
    assert all("1" in one for one in results), "they did not race"
