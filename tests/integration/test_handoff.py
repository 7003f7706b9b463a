"""Two processes hand sockets over, and one is killed: each client has one owner, or none."""

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.harness.daemon import ROOT
from wssupervisor.worker.handoff.exchange import pair

CLIENTS = 8
WITHIN = 20.0
NEVER = -1
ACTIONS_OF_GIVER = 27
ACTIONS_OF_TAKER = 25
"""The actions at which they are killed: nearly all that they do if nothing fails."""


class Clients:
    """The clients' ends of the sockets. `answers`: what each was answered, "" at its end."""

    def __init__(self, stack: ExitStack) -> None:
        ends = [socket.socketpair() for _ in range(CLIENTS)]
        self.own = [stack.enter_context(own) for own, _ in ends]
        self.theirs = [stack.enter_context(theirs) for _, theirs in ends]

    def passed_on(self) -> None:
        for one in self.theirs:
            one.close()

    def answers(self) -> list[str]:
        found = []
        for sock in self.own:
            sock.settimeout(WITHIN)
            try:
                sock.send(b"?")
                found.append(sock.recv(100).decode())
            except (BrokenPipeError, ConnectionResetError):
                found.append("")
        return found


@contextmanager
def running(
    giver_dies: int, taker_dies: int, refused: tuple[int, ...] = ()
) -> Iterator[tuple[Clients, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    with ExitStack() as stack:
        ends = [stack.enter_context(one) for one in pair()]
        clients = Clients(stack)
        numbers = [one.fileno() for one in clients.theirs]
        giver = stack.enter_context(started("giver", ends[0], giver_dies, numbers, numbers))
        taker = stack.enter_context(started("taker", ends[1], taker_dies, refused, ()))
        clients.passed_on()
        for one in ends:
            one.close()
        yield clients, giver, taker


@contextmanager
def started(
    role: str,
    end: socket.socket,
    dies_at: int,
    numbers: Sequence[int],
    passed: Sequence[int],
) -> Iterator[subprocess.Popen[bytes]]:
    words = [role, end.fileno(), dies_at, *numbers]
    command = [sys.executable, "-m", "tests.harness.workers.handoff", *map(str, words)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[end.fileno(), *passed]
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def settled(*processes: subprocess.Popen[bytes]) -> None:
    """Wait until those that are to die have, and the others have done what they could."""
    for one in processes:
        assert one.wait(WITHIN) == -signal.SIGKILL


def owners(answers: list[str]) -> Counter[str]:
    """How many each worker answered. Each answer comes once, and carries the client's number."""
    for key, answer in enumerate(answers):
        assert answer in ("", f"g{key}", f"t{key}")
    return Counter(answer[:1] for answer in answers)


def moved(clients: Clients) -> Counter[str]:
    """Ask until the taker answers all, within a limit."""
    until = time.monotonic() + WITHIN
    while (found := owners(clients.answers()))["t"] < CLIENTS and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_all_connections_move() -> None:
    with running(NEVER, NEVER) as (clients, _, _):
        found = moved(clients)

    assert found == {"t": CLIENTS}


def test_refused_connections_stay_and_the_others_move() -> None:
    wanted = ["g0", "t1", "t2", "t3", "g4", "t5", "g6", "g7"]
    with running(NEVER, NEVER, refused=(0, 4, 6, 7)) as (clients, _, _):
        until = time.monotonic() + WITHIN
        while (found := clients.answers()) != wanted and time.monotonic() < until:
            time.sleep(0.01)  # one that was asked before its move answered before it
        still = clients.answers()

    assert found == still == wanted


@pytest.mark.parametrize("action", range(0, ACTIONS_OF_TAKER, 3))
def test_a_taker_that_is_killed_costs_only_what_it_claimed(action: int) -> None:
    with running(NEVER, action) as (clients, _, taker):
        settled(taker)
        found = owners(clients.answers())

    assert found["t"] == 0
    assert found["g"] + found[""] == CLIENTS, "each one is served, or its end was seen"
    if action < 3:
        assert found == {"g": CLIENTS}, "nothing was claimed"


@pytest.mark.parametrize("action", range(0, ACTIONS_OF_GIVER, 3))
def test_a_giver_that_is_killed_costs_only_what_it_had_not_sent(action: int) -> None:
    with running(action, NEVER) as (clients, giver, _):
        settled(giver)
        found = owners(clients.answers())

    assert found["g"] == 0
    assert found["t"] + found[""] == CLIENTS, "each one is served, or its end was seen"
