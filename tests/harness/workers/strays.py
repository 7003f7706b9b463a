"""A server that leaves a process behind: forked twice, in its own session, with no environment.

Its first argument says what that one keeps: "accepts" (from the listening socket), "holds" (the
socket alone), "nothing". It ignores SIGTERM. With a second argument, "none", no process is left;
with "relay" and a path it has the variables of a relay of output in its environment, and it is left
once the path is an empty file, which then gets its pid.
"""

import contextlib
import os
import select
import socket
import sys
from pathlib import Path

FIRST_DESCRIPTOR = 3
STRAY = """
import os, select, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1] == "nothing":
    os.closerange(0, 64)
elif sys.argv[1] == "accepts":
    listening = socket.socket(fileno=3)
    listening.setblocking(False)
    kept = []
    while True:
        select.select([listening], [], [])
        try:
            kept.append(listening.accept()[0])
            kept[-1].sendall(b"stray\\n")
        except OSError:
            pass
signal.pause()
"""


def leave_a_stray(keeps: str, variables: dict[str, str]) -> str:
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        os.waitpid(child, 0)
        stray_pid = os.read(reading, 20).decode()
        print("stray", stray_pid, flush=True)
        os.close(reading)
        return stray_pid
    become_the_stray(keeps, variables, reading, writing)
    raise AssertionError


def become_the_stray(keeps: str, variables: dict[str, str], reading: int, writing: int) -> None:
    os.setsid()
    if stray := os.fork():
        os.write(writing, str(stray).encode())
        os._exit(0)
    os.close(reading)
    os.close(writing)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.set_inheritable(FIRST_DESCRIPTOR, True)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", STRAY, keeps], variables)


def serve(asked_at: Path | None) -> None:
    listening = socket.socket(fileno=FIRST_DESCRIPTOR)
    while True:
        select.select([listening], [], [], 0.05)
        if asked_at is not None and asked_at.exists():
            asked_at.write_text(leave_a_stray(sys.argv[1], as_a_relay()))
            asked_at = None
        with contextlib.suppress(BlockingIOError), listening.accept()[0] as client:
            client.sendall(b"worker\n")


def as_a_relay() -> dict[str, str]:
    return {
        "WSSUPERVISOR_RELAY": os.environ["WSSUPERVISOR_INSTANCE"],
        "WSSUPERVISOR_RELAY_OF": os.environ["WSSUPERVISOR_SUPERVISOR"],
    }


if __name__ == "__main__":
    if len(sys.argv) == 2:
        leave_a_stray(sys.argv[1], {})
    serve(Path(sys.argv[3]) if sys.argv[2:3] == ["relay"] else None)
