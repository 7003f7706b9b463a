"""Servers exactly as released, configured as in examples/servers: no client notices."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.machine import Machine
from tests.e2e.service import QUICK, Counts, Service

EXAMPLES = Path(__file__).parents[2] / "examples/servers"
MORE = 60
"""New connections that are answered after each cutover, at 100 a second."""
BIN = "/opt/servers/bin"


def installed(distribution: str) -> str:
    """What prints its version, ten times as fast as pip."""
    return f"{BIN}/python -c 'import importlib.metadata as m; print(m.version(\"{distribution}\"))'"


SERVERS = {
    "uvicorn": f"{BIN}/uvicorn --version",
    "uvicorn-polite": f"{BIN}/uvicorn --version",
    "gunicorn-uvicorn": f"{BIN}/gunicorn --version",
    "gunicorn-asgi": f"{BIN}/gunicorn --version",
    "hypercorn": installed("hypercorn"),
    "fastapi": installed("fastapi"),
    "quart": installed("quart"),
    "channels": installed("channels"),
    "socketio": installed("python-socketio"),
    "tornado": f"{BIN}/python -c 'import tornado; print(tornado.version)'",
    "sanic": f"{BIN}/sanic --version",
    "aiohttp": f"{BIN}/python -c 'import aiohttp; print(aiohttp.__version__)'",
    "websockets": f"{BIN}/python -c 'import websockets; print(websockets.__version__)'",
    "node-ws": "node -p 'require(\"/usr/share/nodejs/ws/package.json\").version'",
    "puma": "puma --version",
}
"""By their configuration in examples/servers; each with what prints its version."""


@pytest.fixture
def chat(server_machine: Machine, record: Callable[[Counts], None]) -> Service:
    """Two releases of the examples, and no configuration yet."""
    found = Service(server_machine, record)
    for release in ("one", "two"):
        place = f"/srv/chat/releases/{release}"
        for example in filter(Path.is_file, EXAMPLES.iterdir()):
            server_machine.write(f"{place}/{example.name}", example.read_text())
        for part in ("bin", "lib", "pyvenv.cfg"):  # as if it had a virtual environment of its own
            server_machine.run("ln", "-s", f"/opt/servers/{part}", f"{place}/{part}")
    found.switch("one")
    return found


def configure(service: Service, name: str) -> None:
    service.init(extra="")
    service.machine.write(service.config, (EXAMPLES / f"{name}.toml").read_text() + QUICK)


@pytest.mark.parametrize("name", SERVERS)
def test_a_reload_of_a_server_as_released(
    chat: Service, name: str, record_property: Callable[[str, object], None]
) -> None:
    said = chat.machine.run("sh", "-c", SERVERS[name]).stdout
    version = re.search(r"\d+\.\d[\w.]*", said)
    assert version is not None, said
    configure(chat, name)
    chat.start()
    with chat.load(held=40, rate=100.0) as clients:
        chat.switch("two")
        chat.reload()
        clients.more(MORE)
        chat.wait_connections(1, 40)  # of the whole process tree
        record_property("server", f"{name} {version[0]}")
        clients.assert_unnoticed(chat.cutovers)
    chat.wait_alone()


def test_granian_cannot_take_a_socket_and_is_refused_with_the_reason(chat: Service) -> None:
    """It has no option for it: it binds the port itself, and no new connection is steered to it."""
    options = chat.machine.run(f"{BIN}/granian", "--help").stdout
    assert "--fd" not in options
    configure(chat, "websockets")
    chat.start()
    with chat.load(held=10, rate=50.0) as clients:
        configured = chat.machine.read(chat.config)
        own = (EXAMPLES / "granian.toml").read_text()
        chat.machine.write(chat.config, own + QUICK.replace('timeout = "20s"', 'timeout = "5s"'))
        done = chat.systemctl("reload", check=False)
        chat.machine.write(chat.config, configured)
        clients.more(50)
        assert done.returncode == 1
        assert "Make the server use descriptor 3 instead" in chat.status()["last_reload"]["reason"]
        clients.assert_unnoticed()


def test_a_server_that_uses_the_library_is_told(chat: Service) -> None:
    configure(chat, "uvicorn-polite")
    chat.configure("")
    chat.start()
    with chat.load(held=10, rate=50.0) as clients:
        chat.reload()
        clients.more(50)
        chat.wait_said(1, "1.0.1 | a new version has taken over")
        workers = [one for shown in chat.status()["generations"] for one in shown["workers"]]
        clients.assert_unnoticed(chat.cutovers)

    assert all(one["library"] for one in workers)
