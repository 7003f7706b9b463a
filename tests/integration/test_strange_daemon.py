"""wssctl against a socket behind which is no daemon of ours: whatever it sends, bounded memory."""

import contextlib
import itertools
import json
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import environment
from wssupervisor.control.protocol import ANSWER_CHARS, LINE_BYTES, PART_LENGTH

MEMORY_MAX = 150 << 20
SENT_MAX = 250 << 20
"""Bytes that are offered; a reader without a bound takes all."""


def parts_without_end() -> Iterator[bytes]:
    line = json.dumps({"id": 1, "part": "x" * PART_LENGTH}).encode() + b"\n"
    return itertools.repeat(line)


def many_small_values() -> Iterator[bytes]:
    """An answer within its length that would need thirty times as much memory."""
    text = '{"id": 1, "result": {"a": [' + "[]," * ((ANSWER_CHARS - 100) // 3) + "[]]}}"
    for at in range(0, len(text), PART_LENGTH):
        part = {"id": 1, "part": text[at : at + PART_LENGTH]}
        if at + PART_LENGTH >= len(text):
            part["last"] = True
        yield json.dumps(part).encode() + b"\n"


def events_without_end() -> Iterator[bytes]:
    """A status, and to the question after it: events, each as large as a line."""
    text = "x" * (LINE_BYTES - 1000)
    return (
        json.dumps({"id": 1, "event": {"note": {"kind": text, "n": n}}}).encode() + b"\n"
        for n in itertools.count()
    )


def new_keys_without_end() -> Iterator[bytes]:
    value = "x" * 1000
    return (
        json.dumps({"id": 1, "event": {f"{n}.{m}": value for m in range(50)}}).encode() + b"\n"
        for n in itertools.count()
    )


def a_line_without_end() -> Iterator[bytes]:
    return itertools.repeat(b"x" * LINE_BYTES)


STATUS = {
    "name": "a", "state": "serving", "pid": 1, "uptime_seconds": 1.0, "generations": [],
    "listeners": [], "workers_wanted": 1, "workers_configured": 1, "last_reload": None,
    "version": "0.1.0", "executions": 1, "waits_for": None, "out_of_rotation": None,
}  # fmt: skip
SENDS = {
    "parts": ("status", parts_without_end, 1),
    "values": ("status", many_small_values, 1),
    "line": ("history", a_line_without_end, 1),
    "events": ("status", events_without_end, 2),
    "keys": ("upgrade", new_keys_without_end, 1),
}


@contextmanager
def fake(path: Path, sends: Iterator[bytes], first: int) -> Iterator[None]:
    """Answers with a status until the `first` question, and to that with all of `sends`."""
    stop = threading.Event()

    def serve(listening: socket.socket) -> None:
        for number in itertools.count(1):
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    if stop.is_set():
                        return
                    connection.settimeout(HANG_SECONDS)
                    connection.recv(LINE_BYTES)
                    if number < first:
                        connection.sendall(json.dumps({"id": 1, "result": STATUS}).encode() + b"\n")
                        continue
                    sent = 0
                    for data in sends:
                        if stop.is_set() or sent > SENT_MAX:
                            break
                        connection.sendall(data)
                        sent += len(data)
            if stop.is_set():
                return

    with socket.create_server(str(path), family=socket.AF_UNIX) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join(HANG_SECONDS)


MEASURED = """
import atexit, sys
from pathlib import Path
to = Path(sys.argv.pop(1))
atexit.register(lambda: to.write_text(Path("/proc/self/status").read_text()))
from wssupervisor.commands import cli
sys.exit(cli.main())
"""
"""wssctl that leaves behind how it was at its end: its usage says what its parent had, too."""


def run_wssctl(path: Path, verb: str) -> tuple[int, int, str]:
    """Exit status, the most memory it had, and its error; it cannot have more than 2 GB."""
    limits = (2 << 30, 2 << 30)
    left = path.with_name("left")
    command = [sys.executable, "-c", MEASURED, str(left), "--control", str(path), verb]
    with subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        resource.prlimit(process.pid, resource.RLIMIT_AS, limits)
        assert process.stderr is not None
        error = process.stderr.read()
    peak = next(one for one in left.read_text().splitlines() if one.startswith("VmHWM:"))
    return process.returncode, int(peak.split()[1]) << 10, error


@pytest.mark.parametrize("what", SENDS)
def test_what_a_false_daemon_sends_takes_no_memory_without_bound(tmp_path: Path, what: str) -> None:
    verb, sends, first = SENDS[what]
    path = tmp_path / "control.sock"
    with fake(path, sends(), first):
        status, memory, error = run_wssctl(path, verb)

    assert memory < MEMORY_MAX
    assert status == 1
    assert error.startswith("wssctl: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 1, "result": {}},
        {"id": 1, "result": {"generations": 5, "listeners": [1]}},
        {"id": 1, "result": STATUS | {"uptime_seconds": "long"}},
        {"id": 1, "result": STATUS | {"last_reload": {"ok": 1, "kind": []}}},
        {"id": 1, "error": 5},
        {"id": 1, "error": {"code": [], "message": {}, "data": [1], "lines": 7}},
        {"id": 1, "event": "x"},
        {"id": 1},
    ],
)
def test_an_answer_of_another_shape_is_an_error_in_words(
    tmp_path: Path, answer: dict[str, object]
) -> None:
    path = tmp_path / "control.sock"
    with fake(path, iter([json.dumps(answer).encode() + b"\n"]), 1):
        status, _, error = run_wssctl(path, "status")

    assert status == 1
    assert error.startswith("wssctl: ")
    assert "Traceback" not in error
