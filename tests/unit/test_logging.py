"""Stumbles are logged with their place and without values; a journal may come and go."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wssupervisor.logging import FORMATS

WITHIN = 30.0
STUMBLES = """
import sys, structlog
from wssupervisor import journal, logging
journal.SOCKET = sys.argv[2]
logging.configure(sys.argv[1], "info", "chat")

def deploy(token):
    raise RuntimeError("no such thing")

try:
    deploy("hunter2")
except RuntimeError:
    structlog.get_logger().exception("reload stumbled", reload="r1")
assert logging.flush(10.0) == 0
"""
SAYS = """
import sys, structlog
from wssupervisor import journal, logging
journal.SOCKET = sys.argv[1]
logging.configure("journal", "info", "chat")
log = structlog.get_logger()
for line in sys.stdin:
    log.info(line.strip(), generation=7, note="two\\nlines")
    logging.pass_on([(["cache is warm"], lambda: None)], worker="7.0.1", generation=7, pid=4100)
    print(logging.flush(0.2), flush=True)
log.info("large", text="x" * 300_000)
print(logging.flush(10.0), flush=True)
"""


NAMES = """
import sys, structlog
from wssupervisor import journal, logging
journal.SOCKET = sys.argv[2]
logging.configure(sys.argv[1], "info", "chat")
name = "\x1b]0;owned\x07\x1b[2J\u202e"
structlog.get_logger().info(f"release {name}", release=f"/srv/{name}", reload="r1\x1b[2J")
try:
    raise RuntimeError(name)
except RuntimeError:
    structlog.get_logger().exception("reload stumbled")
assert logging.flush(10.0) == 0
"""


def journal_at(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.settimeout(WITHIN)
    found.bind(str(path))
    return found


def entry(journal: socket.socket) -> dict[str, str]:
    """The next one, read as the journal reads it."""
    data, files, _, _ = socket.recv_fds(journal, 1 << 20, 1)
    for file in files:
        data = os.pread(file, 1 << 20, 0)
        os.close(file)
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        found[name.decode()] = value.decode()
    return found


@pytest.mark.parametrize("form", [one for one in FORMATS if one != "auto"])
def test_an_exception_is_told_with_its_place_and_without_its_values(
    form: str, short_directory: Path
) -> None:
    path = short_directory / "journal"
    command = [sys.executable, "-c", STUMBLES, form, str(path)]
    with journal_at(path) as journal:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = entry(journal)["MESSAGE"] if form == "journal" else done.stdout
    text = json.loads(said)["exception"] if form == "json" else said

    assert "reload stumbled" in said
    assert "Traceback (most recent call last)" in text
    assert "in deploy" in text
    assert "RuntimeError: no such thing" in text
    assert "hunter2" not in text.replace('deploy("hunter2")', "")


@pytest.mark.parametrize("form", [one for one in FORMATS if one != "auto"])
def test_a_name_from_elsewhere_does_nothing_to_who_reads_the_log(
    form: str, short_directory: Path
) -> None:
    path = short_directory / "journal"
    command = [sys.executable, "-c", NAMES, form, str(path)]
    with journal_at(path) as journal:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        entries = [entry(journal) for _ in range(2)] if form == "journal" else []
    said = [done.stdout, *(text for one in entries for text in one.values())]

    assert r"owned" in "".join(said)
    assert [text for text in said if not text.replace("\n", "").isprintable()] == []


def test_a_journal_that_is_down_at_the_start_or_later_gets_all_when_it_is_back(
    short_directory: Path,
) -> None:
    path = short_directory / "journal"
    command = [sys.executable, "-c", SAYS, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None

        def say(what: str) -> int:
            """How many lines wait then."""
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(f"{what}\n")
            program.stdin.flush()
            return int(program.stdout.readline())

        waiting = say("one")
        with journal_at(path) as journal:
            first = [entry(journal) for _ in range(2)]
            assert say("two") == 0
            second = [entry(journal) for _ in range(2)]
        path.unlink()
        still_waiting = say("three")
        with journal_at(path) as journal:
            third = [entry(journal) for _ in range(2)]
            program.stdin.close()
            large = entry(journal)
        left = program.stdout.read()

    assert (waiting, still_waiting, left) == (2, 2, "0\n")
    assert [one["MESSAGE"] for one in first + second + third] == [
        "one generation=7 note=two\nlines",
        "7.0.1 | cache is warm",
        "two generation=7 note=two\nlines",
        "7.0.1 | cache is warm",
        "three generation=7 note=two\nlines",
        "7.0.1 | cache is warm",
    ]
    assert {(one["WSS_INSTANCE"], one["WSS_GENERATION"]) for one in first} == {("chat", "7")}
    assert first[1]["WSS_WORKER_PID"] == "4100"
    assert large["MESSAGE"] == f"large text={'x' * 300_000}"
