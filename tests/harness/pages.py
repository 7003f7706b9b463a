"""Asking an instance over HTTP, as a scraper or a load balancer does."""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.harness.settings import HOST

WITHIN = 10.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    headers: Mapping[str, str]


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WITHIN)
        self.sock.connect(str(self._path))


def get(
    at: int | Path, path: str, *, method: str = "GET", headers: Mapping[str, str] = NO_HEADERS
) -> Answer:
    """From a port of this machine, or an AF_UNIX socket. Raises OSError."""
    own = _Unix(at) if isinstance(at, Path) else http.client.HTTPConnection(HOST, at, WITHIN)
    try:
        own.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            own.putheader(name, value)
        own.endheaders()
        found = own.getresponse()
        return Answer(found.status, found.read().decode(), dict(found.getheaders()))
    finally:
        own.close()


def status_of(at: int | Path, path: str) -> int | None:
    """None while no process listens there."""
    try:
        return get(at, path).status
    except (ConnectionRefusedError, FileNotFoundError):
        return None
