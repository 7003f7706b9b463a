"""The status fits its screen, and what matters most is always on it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.local_time import local_time
from wssupervisor.commands import screen as screen_module
from wssupervisor.commands.screen import Size, screen
from wssupervisor.commands.sentences import sentence
from wssupervisor.commands.terminal import Line, length, plain
from wssupervisor.control.documents import Event, Status
from wssupervisor.control.fitting import fit

Document = dict[str, Any]
SMALL = Size(80, 24)
SIZES = [Size(60, 10), Size(80, 22), SMALL, Size(100, 30), Size(120, 40), Size(250, 70)]


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """At noon UTC, one hour east of it."""
    monkeypatch.setattr(screen_module, "time", SimpleNamespace(time=NOW.timestamp))
    with local_time(monkeypatch, "XYZ-1"):
        yield


def stamp(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


def worker(index: int, state: str) -> Document:
    return {
        "index": index, "pid": 4000 + index, "slots": {"ws": index}, "state": state,
        "connections": 1234, "queued": 0, "reported": None, "library": False,
        "unresponsive_seconds": None, "rss_bytes": 300 << 20, "cpu_seconds": 5.0,
        "cpu_percent": 99.6, "uptime_seconds": 7199.0, "restarts": 3, "sweeper": False,
        "still_listens": False,
    }  # fmt: skip


def generation(number: int, state: str, workers: int = 2, **more: Any) -> Document:
    found: Document = {
        "number": number, "state": state, "release": f"/srv/chat/releases/{number}/of-long-names",
        "started_at": stamp(3 * 3600), "active_since": None, "connections": 1234 * workers,
        "shares_slots": False,
        "workers": [worker(index, "ready" if state == "active" else state)
                    for index in range(workers)],
    }  # fmt: skip
    if state == "draining":
        found["drain"] = {
            "since": stamp(3600), "connections_at_start": 4 * 1234 * workers, "deadline": None,
            "paused": False, "keep_until": stamp(3000),
            "estimate": {"empty_in_seconds": 5400, "half_life_seconds": 900, "unknown": None,
                         "method": ""},
        }  # fmt: skip
    return found | more


def document(*generations: Document, **more: Any) -> Document:
    return {
        "name": "chat", "version": "0.1.0", "pid": 4021, "executions": 1, "state": "serving",
        "uptime_seconds": 3 * 3600, "workers_wanted": 2, "workers_configured": 2,
        "waits_for": None, "out_of_rotation": None, "generations": list(generations),
        "listeners": [{
            "name": "ws", "address": "127.0.0.1:8765", "mode": "steered", "mode_reason": None,
            "balance": "random", "source": "self", "survives_supervisor": False, "slots": 22,
            "slots_before": None, "free_slots": 18, "queued": 0,
        }],
        "last_reload": {
            "id": "r12", "kind": "reload", "ok": True, "generation": 7, "reason": None,
            "started_at": stamp(60), "seconds": 0.31,
        },
    } | more  # fmt: skip


def events(count: int) -> list[Document]:
    return [
        {"at": "2026-11-24T09:00:00.000Z", "kind": "worker-ready", "generation": 1,
         "worker": "1.0.1", "pid": number, "seconds": 0.1}
        for number in range(count)
    ]  # fmt: skip


def many(old: int, workers: int = 4) -> Document:
    drains = (generation(number, "draining", workers) for number in range(old, 0, -1))
    return document(generation(old + 1, "active", workers), *drains)


def lines_of(what: Document, noted: int, size: Size) -> list[Line]:
    return screen(fit(Status, what), [fit(Event, one) for one in events(noted)], size)


def shown(what: Document, size: Size, noted: int = 30) -> list[str]:
    return [plain(one) for one in lines_of(what, noted, size)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("old", [0, 1, 3, 9])
@pytest.mark.parametrize("workers", [1, 4, 32])
def test_it_fits_every_screen_and_says_the_most_important(
    size: Size, old: int, workers: int
) -> None:
    what = many(old, workers)
    lines = lines_of(what, 30, size)
    text = "\n".join(map(plain, lines))

    assert size.lines is not None
    assert len(lines) <= size.lines
    assert max(map(length, lines)) <= size.columns
    assert text.startswith("chat  serving  pid 4021")
    assert f"generation {old + 1}  active" in text
    assert "last reload r12, 1min ago: generation 7 is active" in text


def test_two_generations_of_two_workers_are_shown_whole_on_80_by_24() -> None:
    lines = shown(many(1, workers=2), SMALL)
    text = "\n".join(lines)

    assert text.count(" draining ") == 3
    assert "generation 1  draining for 1h: 9872 -> 2468 connections" in text
    assert f"    {'█' * 19}{'░' * 7}  75%  empty in about 1h 30min" in lines
    assert "    0 ready     4000  1234       0  300 MB  100%  1h 59min         3" in lines
    assert lines[-1] == "  2026-11-24 10:00:00  worker 0 of generation 1 is ready after 100ms"
    assert "  RECENT EVENTS (UTC+01:00)" in lines


def test_a_wider_and_higher_screen_shows_more() -> None:
    what = many(3)
    small, wide = shown(what, SMALL), shown(what, Size(120, 50))

    assert sum("worker 0 of generation 1 is ready" in one for one in small) >= 3
    assert sum("worker 0 of generation 1 is ready" in one for one in wide) > 10
    assert "█" * 30 in "\n".join(wide)
    assert sum("draining  " in one for one in wide) > sum("draining  " in one for one in small)
    assert "/srv/chat/releases/1/of-long-names" in "\n".join(wide)


def test_what_is_left_out_is_counted_and_who_is_not_well_is_not_left_out() -> None:
    bad = generation(10, "active", 32)
    bad["workers"][7] |= {"state": "stalled", "reason": "its queue has not moved for 2 s"}
    drains = (generation(number, "draining", 4) for number in range(9, 0, -1))
    text = "\n".join(shown(document(bad, *drains), Size(80, 18)))

    assert "31 workers ready" in text
    assert "    7 stalled" in text
    assert "worker 7 of generation 10: its queue has not moved for 2 s" in text
    assert " more, with " in text


def test_a_generation_is_active_since_its_cutover_and_not_since_its_start() -> None:
    active = generation(7, "active", active_since=stamp(120))

    assert "  generation 7  active for 2min: 2468 connections  " in "\n".join(
        shown(document(active), SMALL)
    )


def test_the_last_reload_is_as_old_as_its_end() -> None:
    last = {
        "id": "r13", "kind": "reload", "ok": True, "generation": 8, "started_at": stamp(63),
        "seconds": 60.0, "reason": None,
    }  # fmt: skip

    assert "  last reload r13, 3s ago: generation 8 is active (took 1min)" in shown(
        document(generation(8, "active"), last_reload=last), SMALL
    )


def test_a_failed_reload_is_shown_in_lines_that_fit() -> None:
    last = {
        "id": "r13", "kind": "reload", "ok": False, "generation": 8, "started_at": stamp(5),
        "seconds": 1.0, "reason": "worker 0 of generation 8 exited with status 1 " * 20,
    }  # fmt: skip
    lines = shown(document(generation(7, "active"), last_reload=last), SMALL)
    (first,) = [at for at, one in enumerate(lines) if "FAILED" in one]

    assert lines[first].startswith("  last reload r13, 4s ago, FAILED: worker 0 of generation 8")
    assert lines[first + 2].endswith("[...]")
    assert max(map(len, lines)) <= SMALL.columns


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"paused": True}, "paused"),
        ({"deadline": 600}, "empty in about 1h 30min, limit in 10min"),
        (
            {"estimate": {"empty_in_seconds": None, "unknown": "too early", "method": ""}},
            "no estimate yet",
        ),
    ],
)
def test_a_drain_says_how_it_will_end(change: Document, said: str) -> None:
    old = generation(6, "draining")
    old["drain"] |= change
    if old["drain"]["deadline"] is not None:
        old["drain"]["deadline"] = stamp(-old["drain"]["deadline"])

    assert f"  75%  {said}\n" in "\n".join(shown(document(generation(7, "active"), old), SMALL))


def test_an_empty_generation_says_how_long_it_is_kept() -> None:
    old = generation(6, "draining", connections=0)
    old["drain"]["keep_until"] = stamp(-20)

    text = "\n".join(shown(document(generation(7, "active"), old), SMALL))

    assert " 100%  empty, kept for 20s more\n" in text


def test_a_pipe_gets_all_of_it_however_long() -> None:
    lines = [plain(one) for one in lines_of(many(9, 32), 30, Size())]

    assert sum(" draining  " in one and "generation" not in one for one in lines) == 9 * 32
    assert sum("worker 0 of generation 1 is ready" in one for one in lines) == 5


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = "\n".join(shown(many(1), Size(80, 24, unicode=False)))

    assert text.isascii()
    assert f"{'#' * 19}{'-' * 7}  75%" in text


def test_an_event_of_an_unknown_kind_or_without_its_fields_is_described() -> None:
    assert sentence({"at": "", "kind": "moved-house", "to": 7}) == "moved house        to=7"
    assert sentence({"at": "", "kind": "cutover"}) == "cutover"


def test_one_worker_is_not_counted_as_several() -> None:
    scaled = {"at": "", "kind": "scaled", "before": 4, "workers": 1}
    recovered = {"at": "", "kind": "recovered", "workers": 1, "gone": 0}

    assert [sentence(scaled), sentence(recovered)] == [
        "scaled from 4 to 1 worker",
        "a supervisor took over from one that died: 1 worker still running, 0 gone",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "12 connections, asked to close in 1min 30s (requested by alice)"),
        ({"closes_from": -5.0}, "12 connections, asked to close (requested by alice)"),
        (
            {"waited_for": 5},
            "12 connections, asked to close in 1min 30s, except 5 (requested by alice)",
        ),
        (
            {"waited_for": 12},
            "12 connections, which no worker can be asked to close (requested by alice)",
        ),
        ({"connections": 0}, "no connection is left (requested by alice)"),
        ({"by": None, "connections": 0}, "no connection is left"),
    ],
)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_that_it_is_out_of_its_load_balancer_is_always_shown(
    more: Document, expected: str, size: Size
) -> None:
    out: Document = {
        "since": 30.0,
        "by": "alice",
        "closes_from": 90.0,
        "connections": 12,
        "limit": None,
        "waited_for": 0,
        "emptied_at": None,
    }
    out |= more
    out["since"], out["closes_from"] = stamp(30), stamp(-float(out["closes_from"]))
    whole = f"  out of its load balancer for 30s: {expected}"
    lines = shown(many(3) | {"out_of_rotation": out}, size)

    assert whole in lines or f"{whole[: size.columns - 1]}…" in lines


@pytest.mark.parametrize(
    ("via", "by", "who"),
    [
        ("systemd", "wssupervisor", "systemd (systemctl reload)"),
        ("wssctl", "alice", "alice"),
        ("SIGHUP", None, "SIGHUP"),
        (None, None, "an unknown requester"),
    ],
)
def test_a_reload_names_its_requester(via: str | None, by: str | None, who: str) -> None:
    """systemd's own client runs as the service's user, which requested nothing."""
    note = {"at": "-", "kind": "reload-begun", "reload": "r1", "via": via, "by": by, "by_pid": 7}

    assert sentence(note) == f"reload r1 begins, requested by {who}"
