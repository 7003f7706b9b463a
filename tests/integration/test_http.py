"""What an instance shows over HTTP: to which callers, within which bounds, and through its life."""

import select
import signal
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.conftest import unique_name
from tests.harness.census import own_clock
from tests.harness.daemon import Daemon
from tests.harness.pages import Answer, get, status_of
from tests.harness.releases import Releases
from tests.harness.settings import HOST, Settings, free_port
from wssupervisor.runtime.monitoring.http_server import CLIENTS_MAX, HEAD_BYTES, REQUEST_SECONDS

NAME = "metrics.example.org"
IMAGE, FRAME, DOCUMENT = ({"Sec-Fetch-Dest": one} for one in ("image", "iframe", "document"))
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def with_http(settings: Settings, port: int, more: str = "") -> Settings:
    return replace(settings, more=f'[http]\naddress = "{HOST}:{port}"\n{more}')


@pytest.fixture
def port() -> int:
    return free_port()


def test_nothing_listens_where_nothing_was_configured(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        found = [one for one in psutil.net_connections("tcp") if one.pid == daemon.pid()]
        listening = [one.laddr for one in found if one.status == psutil.CONN_LISTEN]

        assert set(listening) == {(HOST, settings.ws_port), (HOST, settings.raw_port)}


def test_a_probe_gets_one_line_and_a_foreign_path_those_there_are(
    settings: Settings, port: int
) -> None:
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()

        assert said(get(port, "/livez")) == (200, "ok\n")
        assert said(get(port, "/readyz?by=balancer")) == (200, "ready\n")
        assert get(port, "/livez").headers["Content-Type"] == "text/plain; charset=utf-8"
        missing = get(port, "/")
        assert missing.status == 404
        assert "/livez, /readyz" in missing.body
        refused = get(port, "/livez", method="POST")
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
        head = get(port, "/livez", method="HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, "", "3")


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:{port}"}, 200),
        ({"Host": "[::1]:{port}"}, 200),
        ({"Host": NAME}, 200),
        ({"Host": NAME + ":{port}"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "localhost:1"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://localhost:{port}"}, 200),
        ({"Origin": "https://" + NAME}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", **IMAGE}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "CROSS-SITE"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", **FRAME}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", **DOCUMENT}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://" + NAME}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", **DOCUMENT}, 200),
    ],
)
def test_only_who_asks_by_our_name_and_from_no_other_site_is_answered(
    http: int, headers: Mapping[str, str], status: int
) -> None:
    given = {name: value.format(port=http) for name, value in headers.items()}

    assert get(http, "/livez", headers=given).status == status


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The pid and the port of an instance that no test changes."""
    releases = Releases(tmp_path_factory.mktemp("http"))
    releases.install("one")
    found = free_port()
    settings = with_http(Settings(unique_name(), releases), found, f'hosts = ["{NAME}"]')
    with Daemon(settings) as daemon:
        daemon.start()
        yield daemon.pid(), found


@pytest.fixture(scope="module")
def http(served: tuple[int, int]) -> int:
    return served[1]


NO_REQUESTS = {
    "HTTP/1.0": (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", b"400"),
    "two hosts": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
    "a whole URL": (b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
    "words": (b"hello\r\n\r\n", b"400"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    "a long header": (
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * HEAD_BYTES,
        b"431",
    ),
    "many headers": (
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        b"431",
    ),
    "a long path": (b"GET /" + b"x" * 100_000, b"431"),
    "a body": (
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n123456789",
        b"200",
    ),
    "three at once": (REQUEST * 3, b"200"),
}


@pytest.mark.parametrize(("text", "status"), NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_of_ours_gets_an_answer_and_the_connection_ends(
    http: int, text: bytes, status: bytes
) -> None:
    with socket.create_connection((HOST, http), HANG_SECONDS) as client:
        client.sendall(text)
        answer = read_all(client)

    assert answer.split()[1] == status
    assert answer.count(b"HTTP/1.1 ") == 1


def read_all(client: socket.socket) -> bytes:
    """Until the other end closes."""
    found = b""
    while data := client.recv(65536):
        found += data
    return found


def test_who_is_slow_silent_or_does_not_go_is_closed(served: tuple[int, int]) -> None:
    """At its limit, by a clock that stands still while others have the processors."""
    pid, http = served
    texts = [b"", b"GET /livez HTTP/1.1\r\nHost:", REQUEST]
    with ExitStack() as stack:
        connect = partial(socket.create_connection, (HOST, http), HANG_SECONDS)
        silent, slow, stays = clients = [stack.enter_context(connect()) for _ in texts]
        begun = own_clock(pid)
        for client, text in zip(clients, texts, strict=True):
            client.sendall(text)
        assert read_all(stays)
        assert [ended(one) for one in (silent, slow)] == [False, False], "the answer took as long"

        assert [read_all(one) for one in (silent, slow)] == [b"", b""]
        wait_until(lambda: closed(stays), what="the end of the connection")

        assert own_clock(pid) - begun < 2 * REQUEST_SECONDS


def ended(client: socket.socket) -> bool:
    """Whether the other end has closed its sending half, and all it sent was read."""
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""


def closed(client: socket.socket) -> bool:
    """Whether the other end has closed it altogether, not only its sending half."""
    try:
        client.send(b"x")
    except OSError:
        return True
    return False


def test_whoever_is_slow_keeps_nobody_out(http: int) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((HOST, http), HANG_SECONDS))
            for _ in range(2 * CLIENTS_MAX)
        ]

        assert status_of(http, "/livez") == 200
        silent[0].settimeout(REQUEST_SECONDS / 2)
        assert ends(silent[0])


def ends(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_flood_of_clients_takes_no_descriptors_away(http: int) -> None:
    for _ in range(20):
        with ExitStack() as stack:
            for _ in range(CLIENTS_MAX // 2):
                client = stack.enter_context(socket.create_connection((HOST, http), HANG_SECONDS))
                client.sendall(REQUEST[:-2])

    assert status_of(http, "/readyz") == 200


def test_ready_is_who_can_be_served_and_says_why_not(settings: Settings, port: int) -> None:
    with Daemon(with_http(replace(settings, stable="2s"), port)) as daemon:
        process = daemon.launch()
        wait_until(lambda: status_of(port, "/livez") == 200, what="life")
        first = get(port, "/readyz")
        wait_until(lambda: status_of(port, "/readyz") == 200, what="readiness")
        assert daemon.state() == "serving"
        assert said(first) == (503, "starting: no generation serves yet\n")

        release = settings.releases.current.resolve()
        release.rename(release.with_name("gone"))  # nothing can be started in its place
        for pid in daemon.active_pids():
            daemon.end_worker(pid)
        wait_until(lambda: status_of(port, "/readyz") == 503, what="its end")
        assert said(get(port, "/readyz")) == (503, "no worker of generation 1 is ready\n")
        assert said(get(port, "/livez")) == (200, "ok\n")

        daemon.signal(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 0
        assert status_of(port, "/livez") is None


def test_one_that_stops_is_not_ready_and_says_so_until_its_end(
    settings: Settings, port: int
) -> None:
    settings.releases.install("deaf", "stubborn")
    with Daemon(with_http(replace(settings, kill_after="3s"), port)) as daemon:
        daemon.start()
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: status_of(port, "/readyz") == 503, what="its stop")

        assert said(get(port, "/readyz")) == (503, "stopping\n")
        assert said(get(port, "/livez")) == (200, "ok\n")
        assert daemon.wait_end() == 0


def test_it_can_be_an_ipv6_address(settings: Settings, port: int) -> None:
    settings = replace(settings, more=f'[http]\naddress = "[::1]:{port}"')
    with Daemon(settings) as daemon:
        daemon.start()
        with socket.create_connection(("::1", port), HANG_SECONDS) as client:
            client.sendall(f"GET /livez HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n".encode())

            assert read_all(client).endswith(b"\r\n\r\nok\n")


def test_an_upgrade_leaves_no_gap(settings: Settings, port: int) -> None:
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        assert daemon.ctl("upgrade").status == 0  # what a program opens only once is open now
        before = daemon.descriptors()
        silent = socket.create_connection((HOST, port), HANG_SECONDS)
        upgrading = daemon.launch_ctl("upgrade", "--json")
        statuses = set()
        while upgrading.poll() is None:
            statuses.add(get(port, "/readyz").status)
        upgrading.communicate()

        assert upgrading.returncode == 0
        assert statuses == {200}
        assert daemon.status()["executions"] == 3
        silent.close()
        wait_until(lambda: daemon.descriptors() == before, what="no more open files")
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_the_next_one_after_a_death_answers_at_the_same_address(
    settings: Settings, port: int
) -> None:
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        workers = daemon.active_pids()
        daemon.die()
        assert status_of(port, "/livez") is None
        daemon.start()

        assert said(get(port, "/readyz")) == (200, "ready\n")
        assert daemon.active_pids() == workers


def test_an_address_that_was_taken_meanwhile_costs_no_worker(settings: Settings, port: int) -> None:
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        workers = daemon.active_pids()
        daemon.die()
        with socket.create_server((HOST, port)):
            daemon.start()
            assert daemon.active_pids() == workers
            assert "cannot listen yet; retrying" in daemon.log()

        wait_until(lambda: status_of(port, "/readyz") == 200, what="its turn")


def test_a_taken_address_fails_the_start_and_says_whose_it_is(
    settings: Settings, port: int
) -> None:
    with socket.create_server((HOST, port)), Daemon(with_http(settings, port)) as daemon:
        assert daemon.run_to_its_end() == 1
        assert f"'[http] address': another process listens on {HOST}:{port}: pid " in daemon.log()
        assert daemon.leftovers() == []


def test_a_unix_socket_is_for_its_group_and_goes_with_the_instance(
    settings: Settings, short_directory: Path
) -> None:
    path = short_directory / "http.sock"
    settings = replace(settings, more=f'[http]\naddress = "unix:{path}"')
    with Daemon(settings) as daemon:
        daemon.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert said(get(path, "/readyz")) == (200, "ready\n")
        assert get(path, "/readyz", headers={"Host": "evil.example"}).status == 421

        assert daemon.ctl("upgrade").status == 0
        assert said(get(path, "/readyz")) == (200, "ready\n")
        daemon.die()
        with pytest.raises(ConnectionRefusedError):
            get(path, "/readyz")
        daemon.start()
        assert said(get(path, "/readyz")) == (200, "ready\n")
        assert daemon.stop() == 0
        assert list(short_directory.iterdir()) == []


def test_a_change_of_it_is_refused_by_a_reload(settings: Settings, port: int) -> None:
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        with_http(settings, free_port(), 'hosts = ["a"]').write()
        answer = daemon.ctl("reload")

        assert answer.status == 1
        assert "[http] address, [http] hosts changed, which needs a restart" in answer.err
        assert said(get(port, "/readyz")) == (200, "ready\n")
