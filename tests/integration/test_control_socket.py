"""The place of the control socket: who may use it, and what a dead daemon leaves there."""

import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from tests.harness.control_server import STATUS, Running, server
from wssupervisor.commands.cli import main
from wssupervisor.control.client import Client
from wssupervisor.control.control_socket import ControlSocket
from wssupervisor.control.paths import make_directory, running
from wssupervisor.errors import InstanceRunning, ListenFailed, NotRunning

__all__ = ["server"]


def test_the_socket_is_for_the_owner_and_the_group(server: Running) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


def test_nothing_is_left_when_it_closes(tmp_path: Path) -> None:
    with Running(tmp_path / "sub" / "control.sock"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_second_daemon_is_refused_and_the_first_one_named(server: Running) -> None:
    with pytest.raises(InstanceRunning, match=rf"pid {os.getpid()}\) is already running at"):
        ControlSocket.claim(str(server.path))

    assert Client(str(server.path)).call("status") == STATUS


def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("dear")
    with pytest.raises(ListenFailed, match=r"is not a socket\. Remove it, or choose"):
        ControlSocket.claim(str(path))

    assert path.read_text() == "dear"


def test_a_lock_that_its_owner_removes_in_that_moment_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control.sock"
    first = ControlSocket.claim(str(path))
    flock = fcntl.flock

    def end_the_first(descriptor: int, how: int) -> None:
        """The second has opened the lock file and the first closes before it is taken."""
        monkeypatch.setattr(fcntl, "flock", flock)
        first.release()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", end_the_first)
    second = ControlSocket.claim(str(path))
    with pytest.raises(InstanceRunning):
        ControlSocket.claim(str(path))
    second.release()

    assert list(tmp_path.iterdir()) == []


def test_a_private_directory_that_somebody_else_made_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    elsewhere = tmp_path / "elsewhere"
    private = tmp_path / f"wssupervisor-{os.geteuid()}"
    with Running(elsewhere / "bait" / "control.sock"):
        private.symlink_to(elsewhere)
        with pytest.raises(ListenFailed, match=r"belongs to another user\. Leave --control out"):
            make_directory(private / "chat")
        assert "bait" not in running()

        private.unlink()
        elsewhere.rename(private)
        assert "bait" in running()
        private.rename(elsewhere)


def test_a_socket_that_was_left_over_is_not_a_running_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("WSSUPERVISOR_CONTROL", raising=False)
    root = tmp_path / "wssupervisor"
    (root / "dead").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(root / "dead" / "control.sock"))
    with Running(root / "alive" / "control.sock"):
        found = {name for name, path in running().items() if path.startswith(str(root))}
        status = main(["-i", "dead", "status"])
        assert main(["-i", "alive", "status", "--json"]) == 0

    assert found == {"alive"}
    assert status == 69
    assert "left over from a daemon that died" in capsys.readouterr().err


def test_a_stale_socket_is_not_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning, match="left over from a daemon that died"):
        Client(str(path)).call("status")

    with Running(path):
        assert Client(str(path)).call("status") == STATUS
