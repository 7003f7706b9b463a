"""A worker that crashes or hangs is replaced, and only what it held itself is lost."""

import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.load.storm import Note
from examples.load.verdict import judge
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings
from tests.harness.starts import start_times

RATE = 800.0
SUPERVISOR_REPLACES_WITHIN = 0.3
ANSWERS_BEFORE = 1_000
ANSWERS_AFTER = 1_500
STALL = 0.5
STEERED_WITHIN = 0.5  # after the status shows the stall
CONTINUED_FOR = 1_000


def pids_in(status: dict[str, Any]) -> list[int]:
    """Of the ready workers."""
    return [
        worker["pid"]
        for shown in status["generations"]
        for worker in shown["workers"]
        if worker["state"] == "ready"
    ]


def states_in(status: dict[str, Any]) -> list[str]:
    return [worker["state"] for shown in status["generations"] for worker in shown["workers"]]


def first_answer_by(notes: Sequence[Note], pid: int) -> Note:
    return min((note for note in notes if note.pid == pid), key=lambda note: note.end)


@pytest.mark.alone
def test_a_killed_worker_is_replaced_and_nobody_who_comes_later_notices(
    settings: Settings, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    starts.mkdir()
    pinned = settings.releases.current.readlink()
    settings = replace(settings, environment={"STARTS": str(starts)}, accept_stall="10s")
    with Daemon(settings) as daemon, load(daemon.start(), held=100, rate=RATE) as clients:
        victim, survivor = daemon.active_pids()
        settings.releases.install("newer", "fails_at_once")
        clients.more(ANSWERS_BEFORE)

        send(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        daemon.wait_for(
            lambda status: status["state"] == "serving" and victim not in pids_in(status),
            what="a replacement",
        )
        clients.more(ANSWERS_AFTER)
        [replacement] = [pid for pid in daemon.active_pids() if pid != survivor]
        where = Path(f"/proc/{replacement}/cwd").readlink()
        notes, held = clients.finish()

        later = [note for note in notes if note.start > killed_at]
        answered = first_answer_by(notes, replacement).end
        begun, serving = start_times(starts, replacement)
        print(f"storm: {judge(notes)}\nheld:  {held}")
        print(
            f"replaced after {answered - killed_at:.3f} s, of which the app took "
            f"{serving - begun:.3f} s; lost of those begun before: "
            f"{judge(notes).lost - judge(later).lost}"
        )

        assert [note for note in later if note.pid == victim] == []
        assert judge(later).reasons == {}
        assert answered - killed_at < SUPERVISOR_REPLACES_WITHIN + (serving - begun)
        assert where == pinned
        assert {broken.pid for broken in held.broken} <= {victim}
        assert len(held.broken) == held.by_worker[1, victim]
        assert daemon.active() == 1


def test_a_stopped_worker_is_steered_away_from_and_its_queue_is_served(
    settings: Settings,
) -> None:
    stall = f"{int(STALL * 1000)}ms"
    settings = replace(settings, accept_stall=stall, replace_after=stall)
    with Daemon(settings) as daemon, load(daemon.start(), held=100, rate=RATE) as clients:
        stopped, survivor = daemon.active_pids()
        clients.more(ANSWERS_BEFORE)

        stopped_at = time.monotonic()
        send(stopped, signal.SIGSTOP)
        try:
            daemon.wait_for(
                lambda status: "stalled" in states_in(status),
                what="word of the stall",
            )
            noticed_at = time.monotonic() + STEERED_WITHIN
            daemon.wait_for(
                lambda status: (
                    status["state"] == "serving"
                    and len({pid for pid in daemon.active_pids() if pid != stopped}) >= 2
                ),
                what="a replacement",
            )
            clients.more(ANSWERS_AFTER)
        finally:
            send(stopped, signal.SIGCONT)
        continued_at = time.monotonic()
        clients.more(CONTINUED_FOR)
        replacements = set(daemon.active_pids()) - {stopped, survivor}
        notes = clients.assert_unnoticed()

        queued = [note for note in notes if stopped_at < note.start < noticed_at < note.end]
        waited = max(note.end - note.start for note in notes if note.start > noticed_at)
        print(
            f"stopped for {continued_at - stopped_at:.2f} s; {len(queued)} waited in the queue; "
            f"later ones at most {waited:.3f} s"
        )

        assert continued_at > noticed_at
        assert [note for note in notes if note.start > noticed_at and note.pid == stopped] == []
        assert any(note.pid in replacements for note in notes)
        # What was queued did not have to wait until the stopped one continued.
        assert [note for note in queued if note.pid != stopped and note.end > continued_at] == []


def test_a_crashing_release_backs_off_and_the_other_worker_serves(settings: Settings) -> None:
    with Daemon(replace(settings, accept_stall="10s")) as daemon:
        with load(daemon.start(), held=20) as clients:
            run = settings.releases.current.readlink() / "app.py"
            victim, survivor = daemon.active_pids()
            run.write_text("raise SystemExit('the disk is full')\n")
            send(victim, signal.SIGKILL)
            daemon.wait_for(
                lambda status: any(
                    worker["state"] == "waiting" and worker["retry_at"]
                    for shown in status["generations"]
                    for worker in shown["workers"]
                ),
                what="a worker that waits for its next respawn",
            )
            noticed_at = time.monotonic()
            state = daemon.state()
            clients.more(50)
            notes, held = clients.finish()

        assert state == "degraded"
        assert survivor in daemon.active_pids()
        assert {broken.pid for broken in held.broken} <= {victim}
        # What arrived at the dead worker's slot before it was noticed waits for a release that
        # starts; no worker can serve it until then.
        assert {note.pid for note in notes if note.start > noticed_at} == {survivor}


@pytest.mark.parametrize("mode", ["steered", "shared"])
def test_a_slot_that_a_worker_shut_down_serves_again_with_its_replacement(
    settings: Settings, mode: str
) -> None:
    """The kernel puts another slot in its place; and a server that starts calls listen() itself."""
    own = replace(settings.shared, mode=mode, workers=1)
    own.releases.install("careless", "shuts_down")
    with Daemon(own) as daemon:
        daemon.start()
        with socket.create_connection(own.target("raw"), timeout=HANG_SECONDS) as careless:
            careless.recv(100)
        wait_until(
            lambda: "slot was shut down by a worker" in daemon.log(),
            what="word of it",
        )
        daemon.wait_for(
            lambda status: status["state"] == "serving",
            what="a replacement",
        )
        with socket.create_connection(own.target("raw"), timeout=HANG_SECONDS) as second:
            answered = second.recv(100)

        assert b"generation 1" in answered
