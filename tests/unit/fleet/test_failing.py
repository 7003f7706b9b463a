"""A worker that fails: it takes its seat or its reload with it."""

from collections.abc import Callable

import pytest

from tests.unit.fleet.driven import Driven, serving, starting, steered, worker
from wssupervisor.fleet.actions import Action, Steer
from wssupervisor.fleet.events import CensusTaken, Recovered
from wssupervisor.fleet.notes import NoteKind


def counts(fleet: Driven, now: float, *slots: int) -> list[Action]:
    """A census: which slots the tree of the first worker holds; the second one has its own."""
    listening = {worker(1, 0): frozenset(slots), worker(1, 1): frozenset({11})}
    return fleet.handle(CensusTaken(dict.fromkeys(listening, 3), 0, now, listening), now)


def test_two_censuses_that_find_a_ready_worker_without_its_slot_take_it_out() -> None:
    fleet = serving()
    once = counts(fleet, 10)
    twice = counts(fleet, 11)

    assert once == []
    assert fleet.fields(NoteKind.WORKER_STALLED)[0]["reason"] == "it closed its listening socket"
    assert [one.table for one in twice if isinstance(one, Steer)] == [steered(11)]


def found_again(fleet: Driven) -> None:
    counts(fleet, 10, 10)


def not_counted(fleet: Driven) -> None:
    fleet.handle(CensusTaken({worker(1, 0): 3}, 0, 10), 10)


def recovered(fleet: Driven) -> None:
    running = {worker(1, 0): 100, worker(1, 1): 101}
    fleet.handle(Recovered("0.2.0", "0.1.0", running, {}), 10)


@pytest.mark.parametrize("between", [found_again, not_counted, recovered])
def test_they_have_to_follow_each_other(between: Callable[[Driven], None]) -> None:
    fleet = serving()
    counts(fleet, 9)
    between(fleet)
    counts(fleet, 11)

    assert fleet.fields(NoteKind.WORKER_STALLED) == []


def test_a_worker_that_starts_has_no_slots_to_miss() -> None:
    fleet = starting()
    for now in (3, 4, 5):
        counts(fleet, now)
    fleet.make_ready(1, 6)
    counts(fleet, 7)

    assert fleet.fields(NoteKind.WORKER_STALLED) == []
