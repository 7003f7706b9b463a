"""Clients around a test: held ones and a storm, and the assertion that none noticed anything."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from examples.load.clients import HeldClient, HeldVerdict, StormClient
from examples.load.storm import Note
from examples.load.verdict import Cutover, judge
from tests.harness.daemon import Daemon

FIRST_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class Load:
    held: HeldClient
    storm: StormClient

    def more(self, count: int) -> None:
        """Wait until `count` more new connections have been answered."""
        self.storm.wait_answered(count)

    def finish(self) -> tuple[list[Note], HeldVerdict]:
        return self.storm.finish(), self.held.finish()

    def assert_unnoticed(self, cutovers: Sequence[Cutover] = ()) -> list[Note]:
        """End all clients; not one of them was lost, broken or misrouted."""
        notes, held = self.finish()
        verdict = judge(notes, cutovers)
        print(f"storm: {verdict}\nheld:  {held}")

        assert (verdict.lost, verdict.reasons) == (0, {})
        assert verdict.misrouted == 0
        assert held.broken == ()
        assert held.wrong == 0
        assert sum(held.by_worker.values()) == held.count
        return notes


@contextmanager
def load(daemon: Daemon, *, held: int = 50, rate: float = 300.0) -> Iterator[Load]:
    """Held clients that are open and a storm that is answered."""
    directory = daemon.settings.releases.root
    with (
        daemon.held(directory, held) as holding,
        daemon.storm(directory, rate=rate) as storm,
    ):
        around = Load(holding.wait_open(), storm)
        around.more(FIRST_ANSWERS)
        yield around
