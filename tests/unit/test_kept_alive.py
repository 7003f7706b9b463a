"""Which connections `wssctl why` calls idle keep-alive connections, and how it prints them."""

from dataclasses import replace

import pytest

from wssupervisor.commands.why import render
from wssupervisor.control.documents import Why
from wssupervisor.fleet.model import (
    GenerationState,
    Listener,
    Policy,
    ReadyBy,
    Release,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.state import Generation, SlotWatch, State, Worker
from wssupervisor.fleet.view import view
from wssupervisor.runtime.kernel.inet_diag import Held
from wssupervisor.runtime.observe.why_document import (
    KEEP_ALIVE,
    KEEP_ALIVE_SECONDS,
    Seen,
    SeenConnection,
    document,
    looks_kept_alive,
)

WORKER = WorkerId(1, 0, 1)
IDLE = Held(
    inode=7, cookie=1, peer="127.0.0.7", port=40_001, idle=75.0, unread=0, unsent=0,
    received=310, sent=4_200, answered=True,
)  # fmt: skip
PROXY = "idle keep-alive connections of a proxy or a scraper"


def test_an_answered_connection_that_is_silent_for_long_looks_kept_alive() -> None:
    assert looks_kept_alive(IDLE)
    assert looks_kept_alive(replace(IDLE, idle=KEEP_ALIVE_SECONDS))
    assert looks_kept_alive(replace(IDLE, idle=2.0), after=2.0)


@pytest.mark.parametrize(
    "other",
    [
        replace(IDLE, idle=KEEP_ALIVE_SECONDS - 0.1),
        replace(IDLE, unread=1),
        replace(IDLE, unsent=1),
        replace(IDLE, answered=False),
    ],
    ids=["not idle for long", "data to be read", "data to be sent", "no answer yet"],
)
def test_any_other_connection_does_not(other: Held) -> None:
    assert not looks_kept_alive(other)


def serving(*held: Held) -> Why:
    """The document of an active generation whose only worker has these connections."""
    worker = Worker(WORKER, {"ws": 3}, WorkerState.READY, spawned_at=0.0, connections=len(held))
    generation = Generation(
        1,
        Release(("chat",), "/srv/41"),
        Policy(workers=1, ready_by=ReadyBy.NOTIFY),
        GenerationState.ACTIVE,
        started_at=0.0,
        workers={WORKER: worker},
    )
    state = State({"ws": Listener("ws", (3, 4))}, generations={1: generation})
    state.slots = {3: SlotWatch(), 4: SlotWatch()}
    (shown,) = view(state, 1.0).generations
    return document(shown, Seen(tuple(SeenConnection(WORKER, one, None) for one in held)))


def test_why_prints_how_many_connections_look_kept_alive_and_from_where() -> None:
    busy = replace(IDLE, inode=8, peer="127.0.0.8", idle=0.5)
    found = serving(busy, IDLE, replace(IDLE, inode=9, idle=61.0, received=90, sent=800))

    assert [row["looks_like"] for row in found["longest_idle"]] == [KEEP_ALIVE, KEEP_ALIVE, None]
    [line] = [one for one in render(found) if PROXY in one]
    assert line.startswith(
        f"  reason: among them, probably 2 {PROXY} (from 127.0.0.7): answered, then silent for at"
        " least 1min 1s, with 400 bytes received and 5000 sent in total. "
    )


def test_why_prints_nothing_of_them_where_there_are_none() -> None:
    assert not any(PROXY in one for one in render(serving(replace(IDLE, idle=0.5))))
