"""What a client reports of a daemon that answers wrongly, falls silent or goes away."""

import json
import socket
import threading
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.control_server import Running, server
from wssupervisor.commands.cli import main
from wssupervisor.control import client as client_module
from wssupervisor.control.client import Client, Silence
from wssupervisor.control.protocol import Object
from wssupervisor.errors import OperationFailed

__all__ = ["server"]


def test_a_command_in_a_hint_reaches_the_instance_that_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def done() -> Object:
        return {"reload": "r1", "ok": True, "generation": 2, "replaced": 1, "seconds": 1.3}

    async def refused() -> Object:
        raise OperationFailed("no room. End it with `wssctl drain 1 --within 0s`")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("WSSUPERVISOR_CONTROL", raising=False)
    root = tmp_path / "wssupervisor"
    with (
        Running(root / "chat" / "control.sock") as chat,
        Running(root / "game" / "control.sock"),
    ):
        chat.answers = {"reload": done, "scale": refused}
        assert main(["-i", "chat", "reload"]) == 0
        assert main(["-i", "chat", "scale", "4"]) == 1
        by_name = capsys.readouterr()
        monkeypatch.setenv("WSSUPERVISOR_CONTROL", str(chat.path))
        assert main(["reload"]) == 0
        by_environment = capsys.readouterr().out

    assert "Follow the drain with: wssctl -i chat status --watch\n" in by_name.out
    assert "End it with `wssctl -i chat drain 1 --within 0s`" in by_name.err
    assert "Follow the drain with: wssctl -i chat status --watch\n" in by_environment


@pytest.mark.parametrize("verb", [("history",), ("why", "3"), ("scale", "2")])
def test_an_answer_that_cannot_be_read_is_one_sentence(
    server: Running, verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    async def nonsense() -> Object:
        return {"state": ["serving"], "workers": None}

    server.answers = {verb[0]: nonsense}

    assert main(["--control", str(server.path), *verb]) == 1
    assert f"cannot read the answer of the daemon at {server.path} (" in capsys.readouterr().err


def test_a_daemon_that_goes_away_without_an_answer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.create_server(str(path), family=socket.AF_UNIX) as listening:

        def hang_up() -> None:
            for _ in range(2):  # a status is asked for again: it may have been an upgrade
                connection, _ = listening.accept()
                with connection:
                    connection.recv(100)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OperationFailed, match="closed the connection without an answer"):
            Client(str(path)).call("status")
        thread.join(HANG_SECONDS)


def test_a_daemon_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.2)
    path = tmp_path / "control.sock"
    with (
        socket.create_server(str(path), family=socket.AF_UNIX),
        pytest.raises(Silence, match="Is it stopped or hung"),
    ):
        Client(str(path)).call("status")


def test_a_reload_whose_daemon_fell_silent_is_asked_for_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.5)
    path = tmp_path / "control.sock"
    asked: list[Object] = []

    def answer(listening: socket.socket) -> None:
        """First only the reload's id and then nothing; to the next client, the verdict."""
        first, _ = listening.accept()
        with first:
            asked.append(json.loads(first.recv(4096)))
            first.sendall(b'{"id": 1, "event": {"reload": "r7"}}\n')
            second, _ = listening.accept()
            with second:
                asked.append(json.loads(second.recv(4096)))
                second.sendall(b'{"id": 1, "result": {"reload": "r7", "generation": 8}}\n')

    with socket.create_server(str(path), family=socket.AF_UNIX) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        status = main(["--control", str(path), "reload", "--json"])
        thread.join(HANG_SECONDS)

    assert status == 0
    assert json.loads(capsys.readouterr().out) == {"reload": "r7", "generation": 8}
    assert [(one["method"], one["params"].get("reload")) for one in asked] == [
        ("reload", None),
        ("verdict", "r7"),
    ]
