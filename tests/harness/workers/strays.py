"""A server that leaves a process behind: forked twice, in its own session, with no environment.

Its first argument says what that one keeps: "accepts" (from the listening socket), "holds" (the
socket alone), "nothing". It ignores SIGTERM. With a second argument, "none", no process is left;
with "relay" it has the variable of a relay of output in its environment.
"""

import contextlib
import os
import select
import socket
import sys

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


def leave_a_stray(keeps: str, variables: dict[str, str]) -> None:
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        os.waitpid(child, 0)
        print("stray", os.read(reading, 20).decode(), flush=True)
        os.close(reading)
        return
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


def serve() -> None:
    listening = socket.socket(fileno=FIRST_DESCRIPTOR)
    while True:
        select.select([listening], [], [])
        with contextlib.suppress(BlockingIOError), listening.accept()[0] as client:
            client.sendall(b"worker\n")


if __name__ == "__main__":
    if sys.argv[2:] != ["none"]:
        own = {"WSSUPERVISOR_RELAY": os.environ["WSSUPERVISOR_INSTANCE"]}
        leave_a_stray(sys.argv[1], own if sys.argv[2:] == ["relay"] else {})
    serve()
