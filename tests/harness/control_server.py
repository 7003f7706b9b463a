"""A real control server in a thread, with a handler that we know."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from examples.load.waiting import HANG_SECONDS
from wssupervisor.control.control_socket import ControlSocket
from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import Object
from wssupervisor.control.server import ControlServer, SendEvent
from wssupervisor.errors import Busy, OperationFailed

LONG: Object = {"rows": [{"number": n, "text": 'é"\\' * 40} for n in range(2000)]}
"""Ten times what a line may have."""

STATUS: Object = {
    "name": "alive", "version": "0.1.0", "pid": 1, "executions": 1, "state": "serving",
    "uptime_seconds": 1.0, "workers_wanted": 1, "workers_configured": 1, "waits_for": None,
    "out_of_rotation": None, "listeners": [], "generations": [], "last_reload": None,
}  # fmt: skip


class Running:
    """A server in a thread of its own, as the daemon has it in its process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cancelled = threading.Event()
        self.asked: list[tuple[Peer, str, Object]] = []
        self.answers: dict[str, Callable[[], Awaitable[Object]]] = {}
        """Instead of those it has."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(HANG_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(HANG_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        control = ControlSocket.claim(str(self.path))
        control.listen()
        server = ControlServer(control, self._handle)
        self._ready.set()
        await self._stop.wait()
        await server.close()

    async def _handle(self, peer: Peer, method: str, params: Object, send: SendEvent) -> Object:
        self.asked.append((peer, method, params))
        answers: dict[str, Callable[[], Awaitable[Object]]] = {
            "status": self._status,
            "reload": lambda: self._reload(send),
            "stop": self._forever,
            "rollback": self._at_the_end,
            "drain": self._busy,
            "events": self._stumble,
            "history": self._flood,
            "why": self._long,
            **self.answers,
        }
        return await answers[method]()

    async def _status(self) -> Object:
        return dict(STATUS)

    async def _reload(self, send: SendEvent) -> Object:
        await send({"reload": "r1"})
        return {"ok": True}

    async def _busy(self) -> Object:
        raise Busy("a reload is under way", lines=["one", "two"])

    async def _flood(self) -> Object:
        raise OperationFailed(
            "it wrote a lot", lines=[f"line {n} \udcff" * 100 for n in range(200)]
        )

    async def _long(self) -> Object:
        return LONG

    async def _at_the_end(self) -> Object:
        """Known when the server closes, and some turns of the loop later with the client."""
        await self._stop.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        return {"ok": True}

    async def _stumble(self) -> Object:
        raise RuntimeError("a bug")

    async def _forever(self) -> Object:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "control.sock") as running:
        yield running
