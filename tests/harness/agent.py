"""Asking an instance as HAProxy's agent-check does."""

import socket

from tests.harness.settings import HOST

WITHIN = 10.0


def ask(port: int, says: bytes = b"") -> str:
    """All that it says until it closes; `says`: HAProxy's agent-send. Raises OSError."""
    with socket.create_connection((HOST, port), WITHIN) as connection:
        connection.sendall(says)
        found = b""
        while data := connection.recv(100):
            found += data
        return found.decode()


def word(port: int) -> str | None:
    """None while no process listens there."""
    try:
        return ask(port).strip()
    except OSError:
        return None
