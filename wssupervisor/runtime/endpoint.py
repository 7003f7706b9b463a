"""What the instance shows by HTTP, where [http] says so: its listening socket, and its pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from wssupervisor.config import Http, Listen, UnixAddress
from wssupervisor.errors import ListenFailed
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.metrics import CONTENT_TYPE
from wssupervisor.runtime.carried import CarriedListener
from wssupervisor.runtime.history import wall
from wssupervisor.runtime.pool import Pool
from wssupervisor.runtime.scrape import Scrape
from wssupervisor.runtime.slots import SlotPool, bind_pool
from wssupervisor.runtime.supervisor import Supervisor
from wssupervisor.runtime.unix_listener import UnixPool, bind_unix

if TYPE_CHECKING:
    from wssupervisor.runtime.http import HttpServer, Pages

log = structlog.get_logger()

NAME = "[http]"
WHY_ONE = "it serves no workers"
BACKLOG = 64
UNIX_MODE = 0o660
"""Like the control socket's: its group may look."""
BIND_AGAIN_SECONDS = 2.0


class Endpoint:
    """Owns the listening socket, once there is one."""

    def __init__(self, http: Http, supervisor: Supervisor, scrape: Scrape) -> None:
        self._http = http
        self._supervisor = supervisor
        self._scrape = scrape
        self._pool: Pool | None = None
        self._server: HttpServer | None = None
        self._retry: asyncio.TimerHandle | None = None

    def begin(self, before: CarriedListener | None, *, anew: bool) -> None:
        """Listen, if there is an address; `before`: the socket of the program before us.

        Raises ListenFailed where nobody is served yet who would be worth more than this.
        """
        if before is not None:
            kind = SlotPool if before.path is None else UnixPool
            self._serve(kind.take_over(before))
        elif anew:
            self._bind()
        else:
            self._bind_at_last()

    def _bind(self) -> None:
        """Raises ListenFailed."""
        address = self._http.address
        if isinstance(address, UnixAddress):
            listen = Listen(NAME, address, backlog=BACKLOG, socket_mode=UNIX_MODE)
            self._serve(bind_unix(listen))
        elif address is not None:
            family, host, port = address.family, address.host, address.port
            self._serve(
                bind_pool(NAME, family, host, port, count=1, backlog=BACKLOG, why_shared=WHY_ONE)
            )

    def _bind_at_last(self) -> None:
        """Where workers serve already: they are not ended for this."""
        self._retry = None
        try:
            self._bind()
        except ListenFailed as error:
            log.error("http is not served yet", why=str(error))  # noqa: TRY400 - no traceback
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(BIND_AGAIN_SECONDS, self._bind_at_last)

    def carry(self) -> CarriedListener | None:
        return None if self._pool is None else self._pool.carry()

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Meanwhile nobody is answered; who has been accepted was before, who comes now waits."""
        if self._server is None:
            yield
            return
        await self._server.pause()
        try:
            yield
        finally:
            self._server.resume()

    async def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        if self._server is not None:
            await self._server.close()
        if self._pool is not None:
            self._pool.close()

    def _serve(self, pool: Pool) -> None:
        from wssupervisor.runtime.http import HttpServer, accepted_hosts  # noqa: PLC0415 - h11

        self._pool = pool
        self._server = HttpServer(pool.slots[0].socket, accepted_hosts(self._http), self._pages())

    def _pages(self) -> "Pages":
        from wssupervisor.runtime.http import Reply  # noqa: PLC0415 - only where it is asked for

        def livez() -> Reply:
            return Reply(HTTPStatus.OK, "ok\n")

        def readyz() -> Reply:
            state = self._supervisor.fleet.state
            why = why_not_ready(state)
            if why is None:
                return Reply(HTTPStatus.OK, "ready\n")
            if state.out is not None:
                why += f"; out since {wall(state.out.since)}"
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n")

        def metrics() -> Reply:
            return Reply(HTTPStatus.OK, self._scrape.text(), CONTENT_TYPE)

        return {"/livez": livez, "/readyz": readyz, "/metrics": metrics}


def prepare(http: Http) -> None:
    """Load now what it will need, while nothing depends on its being there. Raises ImportError."""
    if http.address is not None:
        import wssupervisor.runtime.http  # noqa: F401, PLC0415
