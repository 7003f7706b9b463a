"""When too many generations drain, and what an operator may do about a drain."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.daemon import Daemon
from tests.harness.load import Load, load
from tests.harness.settings import Settings

HELD = 20
ANSWERS_AFTER = 100


@pytest.fixture
def full(settings: Settings) -> Iterator[tuple[Daemon, Load]]:
    """Generation 1 drains with held clients, and only one generation may."""
    with (
        Daemon(replace(settings, max_draining=1)) as daemon,
        load(daemon.start(), held=HELD) as own,
    ):
        daemon.reload()
        # The storm's last ones of generation 1 may still be closing.
        wait_connections(daemon, 1, HELD)
        yield daemon, own


def wait_connections(daemon: Daemon, generation: int, count: int) -> None:
    def counted(status: dict[str, Any]) -> bool:
        found = {one["number"]: one["connections"] for one in status["generations"]}
        return bool(found[generation] == count)

    daemon.wait_for(counted, what=f"{count} connections")


def numbers(daemon: Daemon) -> list[int]:
    return [one["number"] for one in daemon.status()["generations"]]


def wait_numbers(daemon: Daemon, expected: list[int]) -> None:
    daemon.wait_for(lambda _: numbers(daemon) == expected, what=f"{expected}")


def test_a_full_house_refuses_and_names_the_way_out(full: tuple[Daemon, Load]) -> None:
    daemon, clients = full
    refused = daemon.ctl("reload")

    assert refused.status == 1
    assert "generation 1 still drains" in refused.err
    assert f"`{daemon.hint('drain 1 --within 0s')}`" in refused.err
    assert f"`{daemon.hint('reload --make-room')}`" in refused.err

    ended = daemon.ctl("drain", "1", "--within", "0s")
    wait_numbers(daemon, [2])

    assert (ended.status, ended.out) == (
        0,
        f"generation 1 (2 workers, {HELD} connections): ending now\n",
    )
    assert daemon.reload().generation == 3
    assert clients.held.bad == HELD


def test_generations_that_are_only_kept_warm_give_way_and_no_connection_is_closed(
    settings: Settings,
) -> None:
    """Six reloads within `keep`, where two generations may drain: one holds all the clients."""
    own = replace(settings, workers=1, max_draining=2, keep="10min")
    with Daemon(own) as daemon, load(daemon.start(), held=HELD) as clients:
        for _ in range(2):
            daemon.reload()
        for number in (4, 5, 6):
            wait_reloaded(daemon, number)
        assert daemon.ctl("reload", "--make-room").status == 0
        hurried = [
            (one["generation"], one["connections"])
            for one in map(json.loads, daemon.ctl("events", "--json").out.splitlines())
            if one["kind"] == "drain-cut-short"
        ]

        assert 1 in numbers(daemon)
        assert hurried[:3] == [(2, 0), (3, 0), (4, 0)]
        assert [number for number, _ in hurried[3:]] == [5]
        clients.assert_unnoticed()


def wait_reloaded(daemon: Daemon, number: int) -> None:
    """The generation before the active one gives way as soon as censuses prove it empty."""
    daemon.wait_for(
        lambda _: daemon.ctl("reload").status == 0 and numbers(daemon)[0] == number,
        what=f"generation {number}",
    )


def test_make_room_ends_the_oldest_and_no_other(full: tuple[Daemon, Load]) -> None:
    daemon, clients = full
    with daemon.held(daemon.settings.releases.root, HELD) as second:
        second.wait_open()
        cutover = daemon.reload("--make-room")
        clients.more(ANSWERS_AFTER)
        wait_numbers(daemon, [3, 2])

        assert cutover.generation == 3
        assert clients.held.bad == HELD
        assert second.finish().broken == ()


def test_a_bad_release_with_make_room_costs_nobody_anything(full: tuple[Daemon, Load]) -> None:
    daemon, clients = full
    daemon.settings.releases.install("bad", "fails_at_once")
    answer = daemon.ctl("reload", "--make-room")
    clients.more(ANSWERS_AFTER)

    assert answer.status == 1
    assert numbers(daemon) == [2, 1]
    clients.assert_unnoticed()


def test_a_paused_drain_is_left_as_it_is_until_it_is_resumed(full: tuple[Daemon, Load]) -> None:
    daemon, clients = full
    paused = daemon.ctl("drain", "1", "--pause")
    refused = daemon.ctl("reload", "--make-room")
    clients.held.finish()
    # Without a connection, it would have ended by the time a second census has been taken.
    daemon.wait_for(lambda status: status["generations"][1]["connections"] == 0, what="zero")
    clients.more(5 * ANSWERS_AFTER)

    assert f"paused until: {daemon.hint('drain 1 --resume')}" in paused.out
    assert refused.status == 1
    assert f"`{daemon.hint('drain 1 --resume')}`" in refused.err
    assert numbers(daemon) == [2, 1]
    assert daemon.status()["generations"][1]["drain"]["paused"] is True

    resumed = daemon.ctl("drain", "1", "--resume")
    wait_numbers(daemon, [2])

    assert "when its last connection has closed" in resumed.out


def test_a_limit_can_be_set_and_taken_away(full: tuple[Daemon, Load]) -> None:
    daemon, clients = full
    limited = daemon.ctl("drain", "1", "--within", "10min")
    deadline = daemon.status()["generations"][1]["drain"]["deadline"]
    unlimited = daemon.ctl("drain", "1", "--within", "infinity")

    assert "or in 10min" in limited.out
    assert deadline is not None
    assert "no limit" in unlimited.out
    assert daemon.status()["generations"][1]["drain"]["deadline"] is None
    clients.assert_unnoticed()
