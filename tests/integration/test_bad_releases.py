"""A bad release changes nothing: it fails in time, says why, and no client notices."""

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.conftest import unique_name
from tests.harness.census import send, workers_of
from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.releases import Releases
from tests.harness.settings import HOST, Settings, free_port
from tests.harness.sockets import HeldSockets

NEVER = "1h"
"""Limit of what must not be waited for: a test that does wait for it hangs."""
NEVER_READY_TIMEOUT = "1s"
ANSWERS_AFTER = 200


@dataclass(frozen=True, slots=True)
class BadRelease:
    """How to break it, the words that the reason must have, and a line the worker wrote."""

    name: str
    install: Callable[[Settings, str], Settings]
    words: tuple[str, ...]
    line: str | None = None


def a_worker(variant: str) -> Callable[[Settings, str], Settings]:
    def install(settings: Settings, name: str) -> Settings:
        settings.releases.install(name, variant)
        return replace(settings, ready_timeout=NEVER, stable="300ms")

    return install


def never_ready(settings: Settings, name: str) -> Settings:
    settings.releases.install(name, "never_ready")
    return replace(settings, ready_timeout=NEVER_READY_TIMEOUT)


def invalid_config(settings: Settings, name: str) -> Settings:
    settings.releases.install(name)
    return replace(settings, extra_app="wrokers = 3")


def command_missing(settings: Settings, name: str) -> Settings:
    (settings.releases.install(name) / "run").unlink()
    return settings


def not_executable(settings: Settings, name: str) -> Settings:
    (settings.releases.install(name) / "run").chmod(0o644)
    return settings


def directory_missing(settings: Settings, name: str) -> Settings:
    settings.releases.switch(f"{name}-was-never-unpacked")
    return settings


def needs_a_restart(settings: Settings, name: str) -> Settings:
    settings.releases.install(name)
    return replace(settings, raw_port=free_port())


BAD = [
    BadRelease("config-invalid", invalid_config, ("wrokers", "[app]", "workers")),
    BadRelease("command-missing", command_missing, ("command", "/run")),
    BadRelease("not-executable", not_executable, ("/run", "execut")),
    BadRelease("directory-missing", directory_missing, ("director", "/current")),
    BadRelease(
        "traceback",
        a_worker("fails_at_once"),
        ("exited with status 1", "before"),
        "RuntimeError: no such table: users",
    ),
    BadRelease(
        "half-a-second",
        a_worker("half_second"),
        ("exited with status 1", "before"),
        "cannot reach the database",
    ),
    BadRelease(
        "exit-zero", a_worker("exit_zero"), ("exited with status 0", "before"), "nothing to do"
    ),
    BadRelease("never-ready", never_ready, ("ready", "1s"), "waiting for the database"),
    BadRelease(
        "dead-within-stable",
        a_worker("ready_then_dead"),
        ("exited with status 4",),
        "the cache is corrupt",
    ),
    BadRelease("needs-a-restart", needs_a_restart, ("listen", "restart")),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all bad releases: none may leave a trace for the next."""
    releases = Releases(tmp_path_factory.mktemp("bad"))
    releases.install("good")
    with Daemon(Settings(unique_name(), releases, ready_timeout=NEVER)) as running:
        yield running.start()


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_bad_release_fails_with_its_reason_and_nobody_notices(
    daemon: Daemon, bad: BadRelease
) -> None:
    generation, pids = daemon.active(), daemon.active_pids()
    good = daemon.settings.releases.current.readlink()
    try:
        with load(daemon) as clients:
            bad.install(daemon.settings, bad.name).write()
            answer = daemon.ctl("reload", "--timeout", NEVER)
            clients.more(ANSWERS_AFTER)
            notes = clients.assert_unnoticed()
    finally:
        daemon.settings.releases.switch(good.name)
        daemon.settings.write()
    print(answer.err)

    assert answer.status == 1
    assert [word for word in bad.words if word.lower() not in answer.err.lower()] == []
    if bad.line is not None:
        assert bad.line in answer.err
    assert daemon.active() == generation
    assert unchanged(pids, daemon.active_pids())
    assert {note.generation for note in notes} == {generation}
    last = daemon.status()["last_reload"]
    assert (last["ok"], bool(last["reason"])) == (False, True)
    daemon.wait_for(
        lambda status: len(status["generations"]) == 1,
        what="end of the failed generation",
    )
    assert sorted(workers_of(daemon.settings.name)) == pids


def test_after_all_of_them_a_good_release_still_goes_live(daemon: Daemon) -> None:
    before = daemon.active()
    with load(daemon) as clients:
        cutover = daemon.reload()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed([cutover])

    assert daemon.active() == cutover.generation > before


def test_without_room_for_one_more_draining_generation_a_reload_is_refused(
    settings: Settings,
) -> None:
    with Daemon(replace(settings, max_draining=1)) as daemon, load(daemon.start()) as clients:
        first = daemon.reload()
        assert_refused_for_want_of_room(daemon, holder=1)

        assert daemon.active() == first.generation
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed([first])


def test_without_a_free_slot_a_reload_is_refused(settings: Settings) -> None:
    # Two workers and a parking slot leave one slot, for both workers of the second generation.
    addresses = {"ws": (HOST, settings.ws_port), "raw": (HOST, settings.raw_port)}
    with HeldSockets(addresses, slots=4) as sockets:
        settings = replace(settings, with_addresses=False)
        with Daemon(settings, sockets=sockets) as daemon, load(daemon.start()) as clients:
            first = daemon.reload()
            assert_refused_for_want_of_room(daemon, holder=1)

            assert daemon.active() == first.generation
            clients.more(ANSWERS_AFTER)
            clients.assert_unnoticed([first])


def assert_refused_for_want_of_room(daemon: Daemon, holder: int) -> None:
    pids = daemon.active_pids()
    answer = daemon.ctl("reload", "--timeout", NEVER)  # which it does not wait for
    print(answer.err)

    assert answer.status == 1
    assert f"generation {holder}" in answer.err
    assert daemon.hint(f"drain {holder} --within 0s") in answer.err
    assert unchanged(pids, daemon.active_pids())


def test_a_first_start_is_judged_the_same_way(settings: Settings) -> None:
    settings.releases.install("bad", "fails_at_once")
    with Daemon(settings) as daemon:
        status = daemon.run_to_its_end()

        assert status == 1
        assert "exited with status 1" in daemon.log()
        assert "RuntimeError: no such table: users" in daemon.log()
        assert daemon.leftovers() == []


def test_an_invalid_config_keeps_the_daemon_from_starting(settings: Settings) -> None:
    with Daemon(replace(settings, extra_app="wrokers = 3")) as daemon:
        status = daemon.run_to_its_end()

        assert status == 78
        assert "wrokers" in daemon.log()
        assert daemon.leftovers() == []


def test_a_release_that_was_removed_under_its_workers_says_so_where_one_looks(
    settings: Settings,
) -> None:
    """What is kept alive by its workers cannot be started again: not only the log must say why."""
    with Daemon(settings) as daemon:
        pids = daemon.start().active_pids()
        gone = settings.releases.root / "releases" / "one"
        shutil.rmtree(gone)
        answer = daemon.ctl("reload")
        assert answer.status == 1
        assert f"no such directory (it leads to {gone})" in answer.err
        assert f"it leads to {gone}" in daemon.status()["last_reload"]["reason"]

        send(pids[0], signal.SIGKILL)
        why = f"the release directory {gone} is gone, or its user may not enter it"
        daemon.wait_for(
            lambda status: any(
                why in str(one.get("reason")) for one in status["generations"][0]["workers"]
            ),
            what="the reason in the status",
        )
        assert f"the last one exited with status 127: {why}" in daemon.ctl("status").out
        assert why in daemon.ctl("events").out
        assert pids[1] in daemon.active_pids()
