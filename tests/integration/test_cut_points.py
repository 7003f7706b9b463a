"""The supervisor is killed before each action of what it does, one after the other, under load.

The successor must come to rest where the dead one would have, or where it began, and the requester
must learn the truth about it.
"""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from examples.load.verdict import Cutover
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import send, workers_of
from tests.harness.daemon import ASK_EVERY, Ctl, Daemon
from tests.harness.fd_store import FdStore
from tests.harness.load import load
from tests.harness.settings import Settings
from wssupervisor.control.client import Client
from wssupervisor.errors import WssError

ANSWERS = 30
HELD = 30
RATE = 200.0
PATIENCE = 0.3
"""After this, a question is asked again: of a successor, if the daemon has died."""
CUTS_MAX = 120
"""Much more than any of the actions below has; reaching it is a failure."""


@dataclass
class Instance:
    """An instance that dies and is started again, and what it has done meanwhile."""

    daemon: Daemon
    file: Path
    cutovers: list[Cutover] = field(default_factory=list)
    released: Iterator[int] = field(default_factory=itertools.count)

    def dead(self) -> bool:
        return self.daemon.process.poll() is not None

    def ask(self, *words: str) -> Ctl:
        """A wssctl that is under way while the daemon dies, and is started again."""
        with self.daemon.launch_ctl(*words) as asking:
            wait_until(lambda: self.dead() or asking.poll() is not None, what="an answer")
            if self.dead():
                self.daemon.start()
            out, err = asking.communicate(timeout=HANG_SECONDS)
        return Ctl(asking.returncode, out, err)

    def cut_over(self, *words: str, cut: str | None = None) -> None:
        """A reload or roll back, whose answer must be the truth; killed before action `cut`."""
        before = self.active()
        if cut is not None:
            self.file.write_text(cut)
        answer = self.ask(*words, "--json")
        if answer.status == 0:
            self.cutovers.append(Cutover.from_verdict(answer.document))
        assert (answer.status == 0) == (self.active() != before), answer

    def active(self) -> int:
        """The number of the active generation, whether it dies meanwhile or not."""
        [found] = [
            one["number"] for one in self.status()["generations"] if one["state"] == "active"
        ]
        return int(found)

    def pids(self) -> set[int | None]:
        """Of all workers that the daemon knows."""
        generations = self.status()["generations"]
        return {worker["pid"] for shown in generations for worker in shown["workers"]}

    def status(self) -> dict[str, Any]:
        """Of the daemon, or of its successor if it dies meanwhile."""
        client, found = Client(str(self.daemon.control)), dict[str, Any]()
        client.patience = PATIENCE  # systemd holds the socket: the question would wait for longer

        def answered() -> bool:
            if self.dead():
                self.daemon.start()
            with suppress(WssError):
                found.update(client.call("status"))
            return bool(found)

        wait_until(answered, what="a status")
        return found

    def rest(self, generations: int = 2) -> None:
        """Alive again, and as it should be: the generation of the held clients may still drain."""

        def rests() -> bool:
            status = self.status()
            shown = status["generations"]
            workers = [one for one in shown[0]["workers"] if not one["sweeper"]]
            return (
                status["state"] == "serving"
                and len(shown) <= generations
                and len(shown[0]["workers"]) == len(workers) == status["workers_wanted"]
                and {one["state"] for one in workers} == {"ready"}
            )

        wait_until(rests, what="rest", every=ASK_EVERY)


@contextmanager
def instance(settings: Settings, tmp_path: Path) -> Iterator[Instance]:
    file = tmp_path / "die"
    with FdStore() as store, Daemon(settings, sockets=store, dies_at=file) as daemon:
        daemon.start()
        found = Instance(daemon, file)
        yield found
        file.unlink(missing_ok=True)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert store.names() == []


def reload(own: Instance) -> None:
    own.daemon.settings.releases.install(f"good-{next(own.released)}")
    own.cut_over("reload")


def bad_reload(own: Instance) -> None:
    own.daemon.settings.releases.install(f"bad-{next(own.released)}", "half_second")
    own.cut_over("reload")


def roll_back(own: Instance) -> None:
    """Of a reload that is not interrupted."""
    left = own.file.read_text()
    own.file.unlink()
    reload(own)
    own.cut_over("rollback", cut=left)


def scale(own: Instance) -> None:
    """There and back."""
    wanted = own.status()["workers_wanted"]
    own.ask("scale", str(3 if wanted == 2 else 2))


def every_cut(own: Instance, deed: Callable[[Instance], None]) -> int:
    """How many there were: the deed with its aftermath, killed before its 1st, 2nd, ... action."""
    for cut in range(CUTS_MAX):
        own.file.write_text(str(cut))
        deed(own)
        own.rest()
        if own.file.exists():  # it was not killed, so it has no more actions
            own.file.unlink()
            return cut
    raise AssertionError(f"more than {CUTS_MAX} actions")


@pytest.mark.storm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("deed", [reload, bad_reload, roll_back, scale])
def test_a_death_before_any_action_under_load(
    settings: Settings, tmp_path: Path, deed: Callable[[Instance], None]
) -> None:
    with instance(settings, tmp_path) as own:
        with load(own.daemon, held=HELD, rate=RATE) as clients:
            cuts = every_cut(own, deed)
            clients.more(ANSWERS)
            clients.assert_unnoticed(own.cutovers)
        print(f"{deed.__name__}: killed at {cuts} points, recovered at all")

        assert cuts > 0


def respawn(own: Instance) -> None:
    """A worker is killed."""
    pid = own.daemon.active_pids()[0]
    with suppress(ProcessLookupError):
        send(pid, signal.SIGKILL)
    wait_until(lambda: pid not in own.pids(), what="end of a worker, noticed", every=ASK_EVERY)


def drain_to_its_limit(own: Instance) -> None:
    """A generation with connections is ended, which costs them."""
    left = own.file.read_text()
    own.file.unlink()
    with own.daemon.held(own.daemon.settings.releases.root, 5) as held:
        held.wait_open()
        reload(own)
        own.file.write_text(left)
        own.ask("drain", str(own.daemon.active() - 1), "--within", "0s")
        held.wait_broken(5)


@pytest.mark.storm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("deed", [respawn, drain_to_its_limit])
def test_a_death_before_any_action(
    settings: Settings, tmp_path: Path, deed: Callable[[Instance], None]
) -> None:
    quick = replace(settings, more='[restart]\nbackoff_max = "1s"')  # it dies again and again
    with instance(quick, tmp_path) as own:
        cuts = every_cut(own, deed)
        print(f"{deed.__name__}: killed at {cuts} points, recovered at all")

        assert cuts > 0


@pytest.mark.storm
@pytest.mark.timeout(600)
def test_a_death_before_any_action_of_a_stop(settings: Settings, tmp_path: Path) -> None:
    """The next start ends what is left of it, and serves again."""
    file = tmp_path / "die"
    with FdStore() as store, Daemon(settings, sockets=store, dies_at=file) as daemon:
        for cut in range(CUTS_MAX):
            daemon.start()
            old = set(daemon.active_pids())
            file.write_text(str(cut))
            daemon.signal(signal.SIGTERM)
            if daemon.wait_end() == 0:
                break
            daemon.start()

            assert set(workers_of(settings.name)) == set(daemon.active_pids())
            assert not old & set(daemon.active_pids())
            assert daemon.stop() == 0
        file.unlink()
        print(f"stop: killed at {cut} points, served again after all")

        assert cut > 0
        assert daemon.leftovers() == []
        assert store.names() == []
