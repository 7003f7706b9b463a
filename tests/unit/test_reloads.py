"""The history of reloads is assembled from events, over starts, gaps and rollbacks."""

from typing import Any, cast

from wssupervisor.control.documents import Event, PastReload, ReloadDrain
from wssupervisor.runtime.history.reloads import CUT_OFF, reloads

AT = "2026-11-25T00:00:00.000Z"


def note(kind: str, **fields: Any) -> Event:
    return cast(Event, {"at": AT, "kind": kind, **fields})


def drain(reload: PastReload) -> ReloadDrain:
    assert reload["drain"] is not None
    return reload["drain"]


def begun(number: int, kind: str = "reload") -> Event:
    return note(f"{kind}-begun", reload=f"r{number}", via="wssctl", by="deploy", by_pid=7)


def cutover(number: int, generation: int, replaced: int, attempt: str = "reload") -> Event:
    return note(
        "cutover", reload=f"r{number}", attempt=attempt, generation=generation,
        replaced=replaced, seconds=0.3, release="/srv/42",
    )  # fmt: skip


def test_a_drain_belongs_to_the_reload_that_began_it() -> None:
    first, second = reloads(
        [
            note("started", generation=1),
            begun(1), cutover(1, 2, 1), note("drain-begun", generation=1, connections=9),
            begun(2), cutover(2, 3, 2), note("drain-begun", generation=2, connections=4),
            note("generation-retired", generation=1, seconds=8, connections=9, forced=2, lost=1),
        ]
    )  # fmt: skip

    assert first["drain"] == {
        "state": "over", "seconds": 8, "connections": 9, "drained": 6, "forced": 2, "lost": 1
    }  # fmt: skip
    assert (drain(second)["state"], drain(second)["connections"]) == ("draining", 4)


def test_what_was_under_way_when_the_instance_ended_has_failed_and_new_numbers_are_others() -> None:
    first, second, third = reloads(
        [
            begun(1), cutover(1, 2, 1), begun(2),
            note("started", generation=1),
            begun(1), cutover(1, 2, 1), note("generation-retired", generation=1),
        ]
    )  # fmt: skip

    assert drain(first)["state"] == "cut-off"
    assert (second["ok"], second["reason"]) == (False, CUT_OFF)
    assert (third["ok"], drain(third)["state"]) == (True, "over")


def test_a_generation_that_is_rolled_back_to_no_longer_drains() -> None:
    first, second = reloads(
        [begun(1), cutover(1, 2, 1), begun(2, "rollback"), cutover(2, 1, 2, "rollback")]
    )

    assert drain(first)["state"] == "rolled-back-to"
    assert (second["kind"], drain(second)["state"]) == ("rollback", "draining")


def test_a_verdict_whose_beginning_is_forgotten_is_kept_and_a_running_reload_has_none() -> None:
    first, second = reloads([cutover(4, 5, 4), begun(5)])

    assert (first["id"], first["ok"], first["by"]) == ("r4", True, None)
    assert (second["ok"], second["by"]) == (None, "deploy")
