"""Process trees: how a worker is started, who belongs to it, and how it ends."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.written import Written
from wssupervisor.fleet.model import Exit
from wssupervisor.runtime.kernel.descent import become_subreaper, reap_orphans
from wssupervisor.runtime.kernel.descriptors import keep_descriptors
from wssupervisor.runtime.workers.process import Process

Start = Callable[..., Process]


@pytest.fixture
def output() -> Iterator[Written]:
    found = Written()
    yield found
    found.close()


@pytest.fixture
def start(output: Written, tmp_path: Path) -> Iterator[Start]:
    """Starts Python code as a worker; whatever is left of it is killed at the end."""
    started: list[Process] = []

    def launch(code: str, *descriptors: int, **variables: str) -> Process:
        (tmp_path / "code.py").write_text(code)
        environment = {"PATH": os.environ["PATH"], "WSSUPERVISOR_GENERATION": "1", **variables}
        command = [sys.executable, str(tmp_path / "code.py")]
        process = Process.spawn(command, str(tmp_path), environment, descriptors, output.descriptor)
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        ended(process)
        gone(process)
        process.close()
    reap_orphans(frozenset())


def ended(process: Process) -> Exit:
    wait_until(lambda: process.reap() is not None, what="the end of the process")
    assert process.exit is not None
    return process.exit


def gone(process: Process) -> None:
    wait_until(lambda: not process.members(), what="the end of the whole tree")


def lines_of(output: Written, count: int = 1) -> list[str]:
    found: list[str] = []

    def enough() -> bool:
        found.extend(output.poll())
        return len(found) >= count

    wait_until(enough, what=f"{count} lines")
    return found


FACTS = """
import json, os, signal, sys
fds = {int(n): os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
       if os.path.exists(f"/proc/self/fd/{n}")}
print(json.dumps({
    "pid": os.getpid(), "listen_pid": os.environ["LISTEN_PID"], "cwd": os.getcwd(),
    "group": os.getpgid(0), "fds": sorted(fds), "null": fds[0],
    "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    "hup": signal.getsignal(signal.SIGHUP) == signal.SIG_DFL,
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "environment": sorted(os.environ), "watchdog": os.environ.get("WATCHDOG_PID"),
}))
"""


def test_a_worker_starts_in_a_clean_place(start: Start, output: Written, tmp_path: Path) -> None:
    keep_descriptors()
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with socket.create_server(("127.0.0.1", 0)) as first, socket.socket() as second:
            process = start(FACTS, second.fileno(), first.fileno(), WATCHDOG_USEC="5")
            facts = json.loads(lines_of(output)[0])
    finally:
        signal.signal(signal.SIGHUP, old)

    assert facts["pid"] == process.pid
    assert facts["listen_pid"] == str(process.pid)
    assert facts["watchdog"] == str(process.pid)
    assert facts["cwd"] == str(tmp_path)
    assert facts["group"] == process.pid
    assert facts["fds"] == [0, 1, 2, 3, 4]
    assert facts["null"] == "/dev/null"
    assert facts["term"] is True
    assert facts["hup"] is True
    assert facts["blocked"] == []
    assert "HOME" not in facts["environment"]


def test_descriptors_are_placed_in_order_whatever_their_numbers(
    start: Start, output: Written
) -> None:
    with socket.socket() as first, socket.socket() as second:
        wanted = [os.fstat(second.fileno()).st_ino, os.fstat(first.fileno()).st_ino]
        start(
            "import os; print(os.fstat(3).st_ino, os.fstat(4).st_ino)",
            second.fileno(),
            first.fileno(),
        )

        assert lines_of(output)[0].split() == [str(inode) for inode in wanted]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(3)", Exit(status=3)),
        ("import os; os.kill(os.getpid(), 9)", Exit(signal="SIGKILL")),
    ],
)
def test_the_end_of_a_worker_is_told(start: Start, code: str, how: Exit) -> None:
    assert ended(start(code)) == how


FAMILY = """
import os, signal, sys, time
def child():
    if os.fork() == 0:
        return True
    return False
if child():
    if child():
        print("grandchild", os.getpid(), flush=True)
    else:
        print("child", os.getpid(), flush=True)
    signal.pause()
if child():
    os.setsid()
    if os.fork():
        os._exit(0)
    print("daemon", os.getpid(), flush=True)
    signal.pause()
print("main", os.getpid(), flush=True)
signal.pause()
"""


def family(output: Written) -> dict[str, int]:
    pairs = (line.split() for line in lines_of(output, 4))
    return {name: int(pid) for name, pid in pairs}


def test_children_grandchildren_and_daemons_belong_to_the_tree(
    start: Start, output: Written
) -> None:
    become_subreaper()
    process = start(FAMILY)
    pids = family(output)
    members = process.members()

    assert {pids["main"], pids["child"], pids["grandchild"]} <= members

    process.signal(signal.SIGKILL)
    ended(process)

    assert {pids["child"], pids["grandchild"], pids["daemon"]} == process.members()


def test_killing_a_tree_leaves_nobody_not_even_the_stopped(start: Start, output: Written) -> None:
    become_subreaper()
    process = start(FAMILY)
    pids = family(output)
    os.kill(pids["child"], signal.SIGSTOP)
    process.members()
    process.kill()
    ended(process)
    process.kill()

    gone(process)


def test_the_sockets_of_the_whole_tree_are_seen(start: Start, output: Written) -> None:
    code = """
import os, socket, signal
parent = socket.socket()
if os.fork() == 0:
    child = socket.socket()
    print(os.fstat(child.fileno()).st_ino, os.fstat(parent.fileno()).st_ino, flush=True)
    signal.pause()
signal.pause()
"""
    process = start(code)
    inodes = {int(one) for one in lines_of(output)[0].split()}

    assert inodes <= process.socket_inodes()


def test_a_program_that_cannot_be_executed_ends_with_126_or_127(
    output: Written, tmp_path: Path
) -> None:
    process = Process.spawn(["/nonexistent"], str(tmp_path), {}, [], output.descriptor)
    try:
        assert ended(process) == Exit(status=127)
    finally:
        process.close()
