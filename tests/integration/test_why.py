"""wssctl why: who keeps a generation alive, as the kernel sees it."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings


@contextmanager
def quiet_clients(settings: Settings, count: int, source: str) -> Iterator[None]:
    """They hear the greeting and say nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            client = socket.create_connection(settings.target("raw"), HANG_SECONDS, (source, 0))
            stack.enter_context(client)
            assert client.recv(100).startswith(b"generation")
        yield


def why(daemon: Daemon, generation: int) -> dict[str, object]:
    found = json.loads(daemon.ctl("why", str(generation), "--json").out)
    assert isinstance(found, dict)
    return found


def test_a_draining_generation_is_kept_alive_by_its_connections(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with (
            quiet_clients(settings, 12, "127.7.0.1"),
            daemon.held(settings.releases.root, 5, source="127.7.0.2", interval=0.2) as chatty,
        ):
            chatty.wait_open()
            daemon.reload()
            wait_until(lambda: idle(daemon, "127.7.0.1") > 3.0, what="idle time")
            found = why(daemon, 1)
            text = daemon.ctl("why", "1").out
            chatty.finish()

    peers = {str(one["address"]): one for one in found["peers"]}  # type: ignore[attr-defined]
    assert found["connections"] == 17
    assert peers["127.7.0.1"]["connections"] == 12
    assert peers["127.7.0.2"]["connections"] == 5
    assert peers["127.7.0.2"]["idle_seconds_max"] < peers["127.7.0.1"]["idle_seconds_min"]
    assert peers["127.7.0.1"]["oldest_seconds"] > 1.0
    assert "reason: 17 open connections" in text
    assert "limit: none; it ends when its last connection has closed" in text
    assert "empty: unknown (0 of 17 have closed in" in text
    assert f"to end it sooner: {daemon.hint('drain 1 --within 10min')}" in text


def idle(daemon: Daemon, peer: str) -> float:
    found = why(daemon, 1)
    values = [
        float(one["idle_seconds_min"])
        for one in found["peers"]  # type: ignore[attr-defined]
        if one["address"] == peer
    ]
    return values[0]


def test_an_active_or_warm_or_paused_generation_says_so(settings: Settings) -> None:
    with Daemon(replace(settings, keep="60s")) as daemon:
        daemon.start()
        assert "reason: it is active, so new connections go to it" in daemon.ctl("why", "1").out
        daemon.reload()
        assert "kept for a rollback for" in daemon.ctl("why", "1").out
        daemon.ctl("drain", "1", "--within", "5min")
        assert "limit: in 4min 5" in daemon.ctl("why", "1").out.replace("5min", "4min 59s")
        daemon.ctl("drain", "1", "--pause")
        assert "its drain is paused" in daemon.ctl("why", "1").out


def test_without_a_number_each_drain_is_explained(settings: Settings) -> None:
    with Daemon(replace(settings, keep="60s")) as daemon:
        daemon.start()
        nothing = daemon.ctl("why").out

        show = daemon.hint("why 1")
        assert nothing == f"no generation is draining. To show another one: {show}\n"
        assert daemon.ctl("why", "--json").out == "[]\n"
        with daemon.held(settings.releases.root, 1) as held:
            held.wait_open()
            daemon.reload()
            daemon.reload()
            text = daemon.ctl("why").out
            documents = json.loads(daemon.ctl("why", "--json").out)
            held.finish()

        assert [one["generation"] for one in documents] == [2, 1]
        empty, full = text.split("\n\ngeneration 1 ")
        assert empty.startswith("generation 2 ")
        assert "  empty: now, it has no connections\n" in empty
        assert ": 1 -> 1 connection\n" in full
        assert "  empty: unknown (" in full


def test_a_generation_that_is_not_there_is_an_error_that_names_those_that_are(
    settings: Settings,
) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        answer = daemon.ctl("why", "9")

        assert answer.status == 1
        assert "generation 9 does not exist (existing generations: 1)" in answer.err
        assert daemon.ctl("why", "x").status == 2


def test_thousands_of_peers_fit_into_an_answer(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with daemon.held(settings.releases.root, 2000) as held:
            held.wait_open()
            found = why(daemon, 1)
            assert found["connections"] == 2000
            assert len(found["longest_idle"]) == 50  # type: ignore[arg-type]
            held.finish()
