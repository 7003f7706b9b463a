"""Clients of one measured server: held ones in several processes, new ones, and busy ones."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.load.clients import EchoClient, HeldClient, HeldVerdict, StormClient
from tests.harness.settings import HOST

PER_PROCESS = 5_000  # held clients: well below the usual limit of open files
OPEN_WITHIN = 120.0
MESSAGES_PER_SECOND = 50  # of all held clients together
SHORTEST_INTERVAL = 2.0
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """A measured server: its address, and the source addresses of its clients."""

    directory: Path
    port: int
    number: int
    """Not used for another server in this run."""

    def storm(self, rate: float) -> StormClient:
        return StormClient(
            self.directory,
            HOST,
            self.port,
            websocket=True,
            rate=rate,
            source_net=100 + self.number,
        )

    def busy(self, seconds: float) -> EchoClient:
        return EchoClient(
            self.directory, HOST, self.port, seconds=seconds, source=f"127.8.{self.number}.1"
        )

    @contextmanager
    def held(self, count: int) -> Iterator["Held"]:
        with ExitStack() as stack:
            interval = max(SHORTEST_INTERVAL, count / MESSAGES_PER_SECOND)
            clients = []
            for number, share in enumerate(_shares(count), start=1):
                client = HeldClient(
                    self.directory,
                    HOST,
                    self.port,
                    share,
                    interval=interval,
                    patience=PATIENCE,
                    source=f"127.9.{self.number}.{number}",
                )
                clients.append(stack.enter_context(client))
            yield Held(clients)


def _shares(count: int) -> list[int]:
    full, rest = divmod(count, PER_PROCESS)
    return [PER_PROCESS] * full + ([rest] if rest else [])


class Held:
    """Held clients of one server. They connect as soon as they are created."""

    def __init__(self, clients: list[HeldClient]) -> None:
        self._clients = clients

    def wait_open(self) -> None:
        for client in self._clients:
            client.wait_open(OPEN_WITHIN)

    def finish(self) -> list[HeldVerdict]:
        return [client.finish() for client in self._clients]


def broken(verdicts: list[HeldVerdict]) -> int:
    """Clients whose connection ended or failed, or that received something wrong."""
    return sum(len(verdict.broken) + verdict.wrong for verdict in verdicts)


def by_worker(verdicts: list[HeldVerdict]) -> Counter[int]:
    """pid -> clients."""
    found: Counter[int] = Counter()
    for verdict in verdicts:
        for (_, pid), clients in verdict.by_worker.items():
            found[pid] += clients
    return found
