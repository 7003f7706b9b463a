"""Files that others wrote, or could have written, decide nothing and hold nothing up."""

import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from wssupervisor.commands.cli import main
from wssupervisor.config.model import Listen, UnixAddress
from wssupervisor.errors import ListenFailed
from wssupervisor.fleet.snapshot import plain
from wssupervisor.runtime.handover import state_file
from wssupervisor.runtime.listeners.unix_pool import bind_unix
from wssupervisor.runtime.workers.notify_socket import NotifySocket

OTHER = 65534
AT = "2026-11-25T00:00:00.000Z"
LITTLE = 100 << 20
"""Bytes that the daemon may have in memory, all in all."""


# -- the directory of the control socket


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_control_socket_is_refused_where_others_may_write(
    settings: Settings, short_directory: Path, mode: int
) -> None:
    place = short_directory / "run"
    place.mkdir()
    place.chmod(mode)
    with Daemon(settings, control=place / "c.sock") as daemon:
        assert daemon.run_to_its_end() == 1
        assert f"other users may write to {place} (mode {mode:04o})" in daemon.log()
        assert (
            "Leave --control out, or give it a path in a directory that only this" in daemon.log()
        )
        assert list(place.iterdir()) == []

        place.chmod(0o755)
        assert daemon.start().stop() == 0


def test_without_control_it_starts_where_the_temporary_directory_has_no_sticky_bit(
    settings: Settings, short_directory: Path
) -> None:
    """As an emptyDir volume of Kubernetes at /tmp."""
    short_directory.chmod(0o777)
    variables = {"TMPDIR": str(short_directory), "RUNTIME_DIRECTORY": ""}
    control = short_directory / f"wssupervisor-{os.geteuid()}/{settings.name}/control.sock"
    relative = ["--config", str(settings.path), "--control", str(control)]
    with Daemon(settings, control=control, variables=variables, relative=relative) as daemon:
        daemon.start()
        assert control.parent.parent.stat().st_mode & 0o022 == 0
        assert daemon.stop() == 0


def test_wssctl_does_not_recommend_a_place_that_the_daemon_refuses(
    short_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    control = short_directory / "c.sock"

    def advice() -> str:
        assert main(["--control", str(control), "status"]) == 69
        return capsys.readouterr().err

    assert f"`wssupervisor --control {control} --config FILE`" in advice()
    short_directory.chmod(0o777)
    assert "`wssupervisor --config FILE`" in advice()


@needs_root
def test_a_state_that_another_user_planted_runs_nothing(
    settings: Settings, short_directory: Path
) -> None:
    """It names a program; a worker that died meanwhile would be started from it."""
    planted, marker = short_directory / "planted", short_directory / "marker"
    planted.write_text(f"#!/bin/sh\ntouch {marker}\nexec sleep 60\n")
    planted.chmod(0o755)
    with FdStore() as store, Daemon(settings, sockets=store) as daemon:
        victim = daemon.start().active_pids()[0]
        daemon.die()
        file = state_file.StateFile(f"{daemon.control}{state_file.SUFFIX}")
        found = file.read(settings.name)
        assert found is not None
        data = plain(found)
        for one in data["document"]["fleet"]["state"]["generations"].values():
            one["release"]["command"] = [str(planted)]
        file.write_plain(data)
        file.close()
        for path in daemon.control.parent.glob("*.state.*"):
            os.chown(path, OTHER, -1)
        send(victim, signal.SIGKILL)
        daemon.start()

        assert "the file belongs to another user (uid 65534)" in daemon.log()
        assert daemon.reload().generation == 2
        assert not marker.exists()
        assert daemon.stop() == 0


# -- the files in the state directory, where workers may write


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def said(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text + "\n")

    return write


def lines(*entries: dict[str, Any]) -> Callable[[Path], None]:
    return said("\n".join(json.dumps({"at": AT, **one}) for one in entries))


NESTED = json.dumps({"at": AT, "kind": "x", "y": json.loads("[" * 400 + "]" * 400)})
HUGE = f'{{"ws": {{"address": "x", "slots": 1e999}}, "at": {"9" * 5000}}}'
WRONG = {"kind": "cutover", "reload": ["r1"], "attempt": 7, "generation": {}, "replaced": 1}
LONG = {"kind": "reload-failed", "reload": "r2", "attempt": "reload", "seconds": "long"}
HOSTILE = {
    "nested": said("[" * 200_000),
    "nested a little less": said(NESTED),
    "fifo": fifo,
    "device": endless,
    "missing keys": lines(
        {"kind": "reload-begun"}, {"kind": "cutover"}, {"kind": "generation-retired"}
    ),
    "wrong values": lines(WRONG, LONG, {"kind": "started", "at": "0001-01-01T00:00:00"}),
    "huge numbers": said(HUGE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_workers_write_into_the_state_directory_it_starts_and_answers(
    settings: Settings, tmp_path: Path, what: str
) -> None:
    """Also in the supervisor's own part of it, which workers of the same user can write."""
    state = tmp_path / "state"
    (state / "supervisor").mkdir(parents=True)
    for place in (state, state / "supervisor"):
        for name in ("events.jsonl", "reloads.jsonl", "slots.json", "slots.new"):
            HOSTILE[what](place / name)
    with Daemon(settings, variables={"STATE_DIRECTORY": str(state)}) as daemon:
        daemon.start()
        daemon.reload()

        for verb in ("events", "history"):
            for options in ((), ("--json",)):
                answer = daemon.ctl(verb, *options)
                assert answer.status == 0, answer
        assert "internal error" not in daemon.log()
        assert "Traceback" not in daemon.log()
        assert psutil.Process(daemon.pid()).memory_info().rss < LITTLE
        assert daemon.stop() == 0


@needs_root
def test_a_directory_that_a_worker_of_another_user_made_is_not_believed(
    settings: Settings, tmp_path: Path
) -> None:
    own = tmp_path / "state/supervisor"
    own.mkdir(parents=True)
    forged = {"at": AT, "kind": "cutover", "reload": "r9", "attempt": "reload", "generation": 9}
    for name in ("events.jsonl", "reloads.jsonl"):
        lines({**forged, "replaced": 8, "seconds": 1.0})(own / name)
        lines({**forged, "replaced": 8, "seconds": 1.0})(own.parent / name)
    os.chown(own, OTHER, -1)
    os.chown(own.parent, OTHER, -1)
    with Daemon(settings, variables={"STATE_DIRECTORY": str(own.parent)}) as daemon:
        daemon.start()

        assert daemon.ctl("history").out == "no reload yet\n"
        assert "the directory belongs to another user (uid 65534)" in daemon.log()


# -- sockets in directories where others may write


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o600)
    return path


@pytest.fixture
def swapped(victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the worst moment, right after bind, another user puts a link to our file there."""

    class Swapped(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            if isinstance(address, str) and address.startswith("/"):
                Path(address).unlink()
                Path(address).symlink_to(victim)

    monkeypatch.setattr(socket, "socket", Swapped)


def identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid


@pytest.mark.usefixtures("swapped")
@pytest.mark.parametrize("owner", [None, pytest.param(str(OTHER), marks=needs_root)])
def test_mode_and_owner_of_a_socket_are_not_given_to_what_a_link_leads_to(
    short_directory: Path, victim: Path, owner: str | None
) -> None:
    before = identity(victim)
    address = UnixAddress(str(short_directory / "s"))
    listen = Listen("ws", address, socket_mode=0o666, socket_user=owner, socket_group=owner)
    try:
        bind_unix(listen).close()
        refused = None
    except ListenFailed as error:
        refused = str(error)

    assert before == identity(victim)
    assert (refused is None) == (owner is None)
    assert refused is None or "another program has put its own file there" in refused


@pytest.mark.usefixtures("swapped")
def test_a_notify_socket_s_mode_is_not_given_to_what_a_link_leads_to(
    short_directory: Path, victim: Path
) -> None:
    before = identity(victim)
    NotifySocket.create(str(short_directory / "n")).close()

    assert before == identity(victim)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("owner", [None, pytest.param(str(OTHER), marks=needs_root)])
def test_a_socket_has_its_mode_and_owner_whatever_the_umask(
    short_directory: Path, mode: int, owner: str | None
) -> None:
    path = short_directory / "s"
    mask = os.umask(0o077)
    try:
        listen = Listen("ws", UnixAddress(str(path)), socket_mode=mode, socket_user=owner)
        pool = bind_unix(listen)
    finally:
        os.umask(mask)

    assert path.stat().st_mode & 0o7777 == mode
    assert path.stat().st_uid == (os.geteuid() if owner is None else OTHER)
    pool.close()


# -- environment files and configurations


def large(path: Path) -> None:
    with path.open("w") as file:
        file.truncate((1 << 20) + 1)


BAD_FILES = {
    "fifo": (fifo, "not a regular file"),
    "device": (endless, "not a regular file"),
    "large": (large, "larger than 1 MiB"),
}


@pytest.mark.parametrize("what", BAD_FILES)
@pytest.mark.parametrize("optional", ["", "-"])
def test_an_environment_file_that_is_none_fails_the_reload_at_once_and_the_next_one_works(
    settings: Settings, tmp_path: Path, what: str, optional: str
) -> None:
    make, reason = BAD_FILES[what]
    path = tmp_path / "env"
    path.write_text("A=1\n")
    own = replace(settings, extra_app=f'environment_files = ["{optional}{path}"]')
    with Daemon(own) as daemon:
        daemon.start()
        path.unlink()
        make(path)
        answer = daemon.ctl("reload")
        assert answer.status == 1
        assert f"environment_files: {path}: {reason}" in answer.err
        assert psutil.Process(daemon.pid()).memory_info().rss < LITTLE

        path.unlink()
        path.write_text("A=2\n")
        assert daemon.reload().generation == 2
        assert daemon.stop() == 0


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_configuration_that_is_no_file_is_bad_configuration_at_once(
    settings: Settings, what: str
) -> None:
    make, reason = BAD_FILES[what]
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.config.unlink()
        make(daemon.config)
        answer = daemon.ctl("reload")
        assert (answer.status, reason in answer.err) == (1, True)
        assert daemon.ctl("check", str(daemon.config)).status == 78
        assert daemon.stop() == 0
        assert daemon.run_to_its_end() == 78
