"""The library for applications: how a worker reports to its supervisor and takes its orders.

    from wssupervisor.worker import serve           the `websockets` library
    from wssupervisor.worker import Worker          plain asyncio
    from wssupervisor.worker import Supervised      around an ASGI application

An application can be supervised without it. With it a worker reports when it is ready and alive,
can notify its users when a new release has taken over, and closes its connections politely.
"""

from typing import TYPE_CHECKING, Any

from wssupervisor.worker.asgi import Supervised
from wssupervisor.worker.sockets import NotGiven, adopt, release_sockets
from wssupervisor.worker.worker import Connection, Worker

if TYPE_CHECKING:
    from wssupervisor.worker.serving import serve

__all__ = ["Connection", "NotGiven", "Supervised", "Worker", "adopt", "release_sockets", "serve"]


def __getattr__(name: str) -> Any:
    """Load `websockets` only if it is used."""
    if name == "serve":
        from wssupervisor.worker.serving import serve as found  # noqa: PLC0415

        return found
    raise AttributeError(name)
