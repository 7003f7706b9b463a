"""A round of echoes and a round of new connections, the same for every server."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from examples.load.clients import EchoClient
from examples.load.storm import Note
from tests.bench.clients import Target
from tests.bench.cost import Meter, tree

FIRST_ANSWERS = 5
FIRST_WITHIN = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Echoes:
    per_second: float
    cpu_us: float
    """CPU of the server's processes, including the supervisor, for one message and its echo."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement: its address, and its processes with all their descendants."""

    target: Target
    roots: tuple[int, ...]


def echoes(servers: Sequence[Server], seconds: float, rounds: int) -> list[list[Echoes]]:
    """Run rounds of echoes of each server, which take turns, each round in another order.

    All connections stay open, so that two turns follow each other almost immediately.
    """
    found: list[list[Echoes]] = [[] for _ in servers]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.target.busy(seconds)) for server in servers]
        for client in clients:
            client.wait_open()
        for number in range(rounds):
            first = number % len(servers)
            for index in [*range(first, len(servers)), *range(first)]:
                found[index].append(_round(clients[index], servers[index]))
    return found


def _round(client: EchoClient, server: Server) -> Echoes:
    meter = Meter(tree(server.roots))
    verdict = client.go()
    spent = meter.read()
    return Echoes(verdict.echoes / verdict.seconds, 1e6 * spent.cpu_seconds / verdict.total)


@dataclass(frozen=True, slots=True)
class Around:
    """New connections by their start: before an event, or within a span after it."""

    begun_at: float
    before: list[Note]
    after: list[Note]
    failed: int


def around(
    target: Target,
    rate: float,
    before_seconds: float,
    after_seconds: float,
    event: Callable[[], Result],
) -> tuple[Around, Result]:
    """Run a stream of new connections, with an event in the middle."""
    with target.storm(rate) as storm:
        storm.wait_answered(FIRST_ANSWERS, FIRST_WITHIN)  # the client process has started
        steady_at = time.monotonic()
        time.sleep(before_seconds)
        begun_at = time.monotonic()
        result = event()
        until = begun_at + after_seconds
        time.sleep(max(0.0, until - time.monotonic()))
        notes = storm.finish()
    found = Around(
        begun_at,
        [note for note in notes if steady_at <= note.start < begun_at],
        [note for note in notes if begun_at <= note.start < until],
        sum(1 for note in notes if note.error),
    )
    return found, result
