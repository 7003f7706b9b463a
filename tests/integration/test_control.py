"""The control server: requests and answers on real connections, with a handler that we know."""

import asyncio
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.control_server import LONG, STATUS, Running, server
from wssupervisor.control.client import Client, DaemonError, Gone
from wssupervisor.control.protocol import LEFT_OUT, LINE_BYTES, Object

__all__ = ["server"]


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


def test_the_peer_is_known_from_the_kernel(server: Running) -> None:
    Client(str(server.path)).call("status")
    peer = server.asked[0][0]

    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())


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
