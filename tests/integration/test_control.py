"""The control socket: the real server and the real client, with a handler that we know."""

import asyncio
import fcntl
import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from wssupervisor.commands.cli import main
from wssupervisor.control import client as client_module
from wssupervisor.control.client import Client, DaemonError, Gone, Silence
from wssupervisor.control.control_socket import ControlSocket
from wssupervisor.control.paths import make_directory, running
from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import LEFT_OUT, LINE_BYTES, Object
from wssupervisor.control.server import ControlServer, SendEvent
from wssupervisor.errors import Busy, InstanceRunning, ListenFailed, NotRunning, OperationFailed

LONG: Object = {"rows": [{"number": n, "text": 'é"\\' * 40} for n in range(2000)]}
"""Ten times what a line may have."""

STATUS: Object = {
    "name": "alive", "version": "0.1.0", "pid": 1, "executions": 1, "state": "serving",
    "uptime_seconds": 1.0, "workers_wanted": 1, "workers_configured": 1, "waits_for": None,
    "out_of_rotation": None, "listeners": [], "generations": [], "last_reload": None,
}  # fmt: skip


class Running:
    """A server in a thread of its own, as the daemon has it in its process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cancelled = threading.Event()
        self.asked: list[tuple[Peer, str, Object]] = []
        self.answers: dict[str, Callable[[], Awaitable[Object]]] = {}
        """Instead of those it has."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(HANG_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(HANG_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        control = ControlSocket.claim(str(self.path))
        control.listen()
        server = ControlServer(control, self._handle)
        self._ready.set()
        await self._stop.wait()
        await server.close()

    async def _handle(self, peer: Peer, method: str, params: Object, send: SendEvent) -> Object:
        self.asked.append((peer, method, params))
        answers: dict[str, Callable[[], Awaitable[Object]]] = {
            "status": self._status,
            "reload": lambda: self._reload(send),
            "stop": self._forever,
            "rollback": self._at_the_end,
            "drain": self._busy,
            "events": self._stumble,
            "history": self._flood,
            "why": self._long,
            **self.answers,
        }
        return await answers[method]()

    async def _status(self) -> Object:
        return dict(STATUS)

    async def _reload(self, send: SendEvent) -> Object:
        await send({"reload": "r1"})
        return {"ok": True}

    async def _busy(self) -> Object:
        raise Busy("a reload is under way", lines=["one", "two"])

    async def _flood(self) -> Object:
        raise OperationFailed(
            "it wrote a lot", lines=[f"line {n} \udcff" * 100 for n in range(200)]
        )

    async def _long(self) -> Object:
        return LONG

    async def _at_the_end(self) -> Object:
        """Known when the server closes, and some turns of the loop later with the client."""
        await self._stop.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        return {"ok": True}

    async def _stumble(self) -> Object:
        raise RuntimeError("a bug")

    async def _forever(self) -> Object:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "control.sock") as running:
        yield running


async def never(*_: object) -> Object:
    raise AssertionError


def raw(server: Running, data: bytes) -> list[Object]:
    """Send bytes, and all that is answered until the server closes or HANG_SECONDS has passed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG_SECONDS)
        connection.connect(str(server.path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            return [json.loads(line) for line in file]


def test_a_request_is_answered_after_its_events(server: Running) -> None:
    events: list[Object] = []
    answer = Client(str(server.path)).call("reload", {"timeout": "5s"}, events.append)

    assert answer == {"ok": True}
    assert events == [{"reload": "r1"}]
    assert server.asked[0][1:] == ("reload", {"timeout": "5s"})


def test_an_error_comes_with_its_code_exit_status_and_lines(server: Running) -> None:
    with pytest.raises(DaemonError) as caught:
        Client(str(server.path)).call("drain")

    assert (caught.value.code, caught.value.exit_status) == ("busy", 75)
    assert str(caught.value) == "a reload is under way"
    assert caught.value.lines == ("one", "two")


def test_an_answer_too_long_for_a_line_comes_whole(server: Running) -> None:
    lines = raw(server, b'{"id": 7, "method": "why"}\n')

    assert len(lines) > 1
    assert {one["id"] for one in lines} == {7}
    assert Client(str(server.path)).call("why") == LONG


def test_of_too_many_lines_of_a_worker_the_newest_are_told(server: Running) -> None:
    with pytest.raises(DaemonError, match="it wrote a lot") as caught:
        Client(str(server.path)).call("history")

    assert caught.value.lines[0] == LEFT_OUT
    assert caught.value.lines[-1].startswith("line 199 ")
    assert len(caught.value.lines) > 20


def test_a_bug_in_a_handler_is_told_and_harms_nobody_else(server: Running) -> None:
    with pytest.raises(DaemonError, match=r"internal error in the daemon.*a bug"):
        Client(str(server.path)).call("events")

    assert Client(str(server.path)).call("status") == STATUS


def test_several_requests_on_one_connection_are_answered_in_order(server: Running) -> None:
    request = b'{"id": %d, "method": "status"}\n'

    assert [one["id"] for one in raw(server, request % 1 + request % 2 + request % 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "data", [b"nonsense\n", b'{"id": "x"}\n', b"y" * (LINE_BYTES + 100) + b"\n", b"no newline"]
)
def test_a_bad_line_gets_an_error_and_closes_only_that_connection(
    server: Running, data: bytes
) -> None:
    answers = raw(server, data)

    assert [one["error"]["code"] for one in answers] == ["protocol-error"]
    assert Client(str(server.path)).call("status") == STATUS


@pytest.mark.parametrize(
    "begun", [b'{"id": 1, "method": "drain"}', b'{"id": 1, "method": "dr', b" "]
)
def test_a_line_that_is_cut_off_is_not_obeyed_and_its_connection_ends(
    server: Running, begun: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG_SECONDS)
        connection.connect(str(server.path))
        connection.sendall(begun)
        connection.shutdown(socket.SHUT_WR)

        with connection.makefile("rb") as answers:
            codes = [json.loads(line)["error"]["code"] for line in answers]

    assert codes == ["protocol-error"]
    assert server.asked == []


def test_a_client_that_goes_away_cancels_what_it_waited_for(server: Running) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.path))
        connection.sendall(b'{"id": 1, "method": "stop"}\n')
        wait_until(lambda: server.asked, what="the request")

        assert not server.cancelled.is_set()

    assert server.cancelled.wait(HANG_SECONDS)


def test_a_waiting_client_hears_something_at_least_every_two_seconds(server: Running) -> None:
    async def two_seconds() -> Object:
        await asyncio.sleep(2.0)
        return {"ok": True}

    server.answers["rollback"] = two_seconds
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG_SECONDS)
        connection.connect(str(server.path))
        connection.sendall(b'{"id": 1, "method": "rollback"}\n')
        with connection.makefile("rb") as lines:
            said = [json.loads(lines.readline()) for _ in range(2)]

    assert said == [
        {"id": 1, "event": {"keepalive": True}},
        {"id": 1, "result": {"ok": True}},  # after two seconds of the server's own clock
    ]


def test_the_socket_is_for_the_owner_and_the_group(server: Running) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


def test_the_peer_is_known_from_the_kernel(server: Running) -> None:
    Client(str(server.path)).call("status")
    peer = server.asked[0][0]

    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())


def test_nothing_is_left_when_it_closes(tmp_path: Path) -> None:
    with Running(tmp_path / "sub" / "control.sock"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_who_waits_when_it_closes_is_answered(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as others:
        with Running(tmp_path / "control.sock") as server:
            client = Client(str(server.path))
            answer = others.submit(client.call, "rollback")
            no_answer = others.submit(client.call, "stop")
            wait_until(lambda: len(server.asked) == 2, what="the requests")

        assert answer.result(HANG_SECONDS) == {"ok": True}
        with pytest.raises(Gone):
            no_answer.result(HANG_SECONDS)


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


def test_a_stale_socket_is_not_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning, match="left over from a daemon that died"):
        Client(str(path)).call("status")

    with Running(path):
        assert Client(str(path)).call("status") == STATUS


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
