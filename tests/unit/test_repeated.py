"""Reports that a worker repeats: the first at once, of the others the last at the next look."""

from wssupervisor.fleet.events import LibraryConnected, SlotReleased, WorkerReady
from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.workers.repeated import Repeated

WORKER = WorkerId(generation=1, index=0, incarnation=1)
READY, LET_GO = WorkerReady(WORKER), SlotReleased(WORKER)
CLOSES = LibraryConnected(WORKER, closes=True, releases_sockets=False)
PLAIN = LibraryConnected(WORKER, closes=False, releases_sockets=False)


def test_the_first_of_each_kind_is_posted_at_once() -> None:
    repeated = Repeated()

    assert [repeated.now(one) for one in (READY, LET_GO, CLOSES)] == [READY, LET_GO, CLOSES]
    assert repeated.waiting() == []


def test_of_those_that_follow_the_last_one_waits_for_the_look() -> None:
    repeated = Repeated()
    found = [repeated.now(one) for one in (CLOSES, PLAIN, CLOSES, PLAIN)]

    assert found == [CLOSES, None, None, None]
    assert repeated.waiting() == [PLAIN]
    assert repeated.now(CLOSES) is None  # one a look, and no more
    assert repeated.waiting() == [CLOSES]
    assert repeated.waiting() == []
    assert repeated.now(CLOSES) == CLOSES


def test_what_waits_is_forgotten_with_its_channel() -> None:
    repeated = Repeated()
    repeated.now(CLOSES)
    repeated.now(PLAIN)
    repeated.forget()

    assert repeated.waiting() == []
