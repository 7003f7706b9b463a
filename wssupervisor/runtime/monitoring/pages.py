"""The instance's HTTP pages on [http] address, and their listening socket."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from wssupervisor.config.model import Http
from wssupervisor.metrics import CONTENT_TYPE
from wssupervisor.runtime.clock import wall
from wssupervisor.runtime.listeners.daemon_socket import DaemonSocket
from wssupervisor.runtime.listeners.pool import PoolState
from wssupervisor.runtime.monitoring.scrape import Scrape
from wssupervisor.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from wssupervisor.runtime.monitoring.http_server import HttpServer, Pages

NAME = "[http] address"


class HttpPages:
    """Owns the listening socket and its server, if there are any."""

    def __init__(
        self,
        http: Http,
        supervisor: Supervisor,
        scrape: Scrape,
        *,
        may_wait: bool,
        saved: PoolState | None = None,
    ) -> None:
        """`may_wait`, `saved` and errors raised: as DaemonSocket."""
        self._http = http
        self._supervisor = supervisor
        self._scrape = scrape
        self._server: HttpServer | None = None
        self._listener = DaemonSocket(
            NAME, http.address, self._serve, may_wait=may_wait, saved=saved
        )

    def mend(self) -> bool:
        """Bind again a path that was swept away; True if it was. Raises OSError."""
        if not self._listener.is_swept():
            return False
        if self._server is not None:
            self._server.accept_nothing()
        self._listener.bind_again()
        return True

    def save(self) -> PoolState | None:
        return self._listener.save()

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Pause the server: accepted requests are answered first, new clients wait in the queue."""
        if self._server is None:
            yield
            return
        await self._server.pause()
        try:
            yield
        finally:
            self._server.resume()

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()
        self._listener.close()

    def _serve(self, listening: socket.socket) -> None:
        from wssupervisor.runtime.monitoring.http_server import HttpServer, accepted_hosts  # noqa: PLC0415 - h11

        if self._server is not None:
            self._server.accept_from(listening)
            return
        self._server = HttpServer(listening, accepted_hosts(self._http), self._pages())

    def _pages(self) -> "Pages":
        from wssupervisor.runtime.monitoring.http_server import Reply  # noqa: PLC0415 - h11

        def livez() -> Reply:
            return Reply(HTTPStatus.OK, "ok\n")

        def readyz() -> Reply:
            fleet = self._supervisor.view()
            why, out = fleet.why_not_ready, fleet.out_of_rotation
            if why is None:
                return Reply(HTTPStatus.OK, "ready\n")
            if out is not None:
                why += f"; out of rotation since {wall(out.since)}"
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n")

        def metrics() -> Reply:
            return Reply(HTTPStatus.OK, self._scrape.text(), CONTENT_TYPE)

        return {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


def prepare(http: Http) -> None:
    """Import what the pages need, before workers depend on it. Raises ImportError."""
    if http.address is not None:
        import wssupervisor.runtime.monitoring.http_server  # noqa: F401, PLC0415
