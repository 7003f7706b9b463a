"""docs/reference/protocol.md: its messages are those of both ends, and its workers work."""

import json
import re
import shutil
import socket
import sys
from contextlib import ExitStack
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.runtime.workers.channel import MESSAGES_PER_LOOK, READ_BYTES, READS_PER_LOOK
from wssupervisor.worker.lines import DESCRIPTORS_MAX, LINE_BYTES
from wssupervisor.worker.protocol import (
    Capability,
    FromSupervisor,
    FromWorker,
    encode,
    from_supervisor,
    from_worker,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/protocol.md").read_text()
SAMPLES: dict[Any, Any] = {int: 1000, float: 1.0, str: "", bool: True, tuple[str, ...]: ()}
TYPES: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    tuple[str, ...]: "list of strings",
}
Fields = dict[str, tuple[str, bool]]
"""Name of a field -> its type, and whether it may be left out."""


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def shown(heading: str) -> dict[str, Fields]:
    """Type of message -> its fields, of the first table of a section."""
    found = {}
    for line in section(heading).partition("\n| capability")[0].splitlines():
        if row := re.match(r"^\| `(\w+)` \|(.*?)\| (.*) \|$", line):
            described = re.findall(r"`(\w+)`: (list of strings|\w+)([^`]*)", row[2])
            found[row[1]] = {name: (kind, "default" in rest) for name, kind, rest in described}
    return found


def real(kinds: Any) -> dict[str, Fields]:
    found = {}
    for kind in get_args(kinds):
        hints = get_type_hints(kind)
        message = kind(**{one.name: SAMPLES[hints[one.name]] for one in fields(kind)})
        found[json.loads(encode(message))["type"]] = {
            one.name: (TYPES[hints[one.name]], one.default is not MISSING) for one in fields(kind)
        }
    return found


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [("From the worker", FromWorker), ("From the supervisor", FromSupervisor)],
)
def test_messages_have_the_fields_of_the_page(heading: str, kinds: Any) -> None:
    assert shown(heading) == real(kinds)


def test_capabilities_are_those_of_the_page() -> None:
    table = section("From the worker").partition("| capability")[2]

    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {
        one.value for one in Capability
    }


def test_the_limit_of_a_message_is_that_of_the_page() -> None:
    assert f"a line of at most {LINE_BYTES} bytes" in PAGE


def test_the_other_limits_are_those_of_the_page() -> None:
    kibibytes = READS_PER_LOOK * READ_BYTES // 1024

    assert f"At most {DESCRIPTORS_MAX} descriptors come with a message" in PAGE
    assert f"more than {MESSAGES_PER_LOOK} messages or {kibibytes} KiB" in PAGE


def test_the_example_is_understood_at_the_other_end() -> None:
    lines = section("An example").splitlines()
    messages = [line.encode() for line in lines if line.startswith("{")]

    assert len(messages) > 5
    for message in messages:
        types = shown("From the worker")
        read = from_worker if json.loads(message)["type"] in types else from_supervisor
        assert read(message) is not None


CLIENTS = 6
SOON = 20.0
LINES_MAX = 30


def program(heading: str) -> str:
    text = section(heading).partition("\n```")[2].partition("\n")[2].partition("```")[0]
    assert 10 < sum(bool(line.strip()) for line in text.splitlines()) <= LINES_MAX
    return text


@pytest.mark.parametrize("language", ["Python", "Node"])
def test_its_worker_is_ready_drains_and_closes(settings: Settings, language: str) -> None:
    interpreter = sys.executable if language == "Python" else shutil.which("node")
    if interpreter is None:
        pytest.skip("needs node")
    name = "echo.py" if language == "Python" else "echo.cjs"
    release = settings.releases.install("echo")
    (release / name).write_text(program(f"A worker in {language}"))
    own = replace(
        settings,
        command=(interpreter, name),
        workers=1,
        listeners=("raw",),
        ready_by="notify",
        drain='timeout = "0s"\nclose_over = "2s"',
        keep="1s",
    )
    with Daemon(own) as daemon, ExitStack() as stack:
        daemon.start()
        clients = [
            stack.enter_context(socket.create_connection(own.target("raw"), SOON))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(9) == b"hello"
        assert daemon.reload().generation == 2
        assert [client.recv(9) for client in clients] == [b""] * CLIENTS, "closed in turn"
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")
        log = daemon.log()

    assert log.index("1.0.1 | drain") < log.index("1.0.1 | close")
    assert "worker killed" not in log
    assert "bad message" not in log
