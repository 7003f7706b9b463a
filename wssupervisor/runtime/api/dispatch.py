"""The handler of the control server: finds the module of a method and checks the request."""

from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from wssupervisor.control.fitting import Misfit, fit
from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import Object
from wssupervisor.control.server import SendEvent
from wssupervisor.control.verbs import VERBS
from wssupervisor.errors import BadRequest, UnknownMethod
from wssupervisor.runtime.api.call import Call, Services

METHODS = frozenset(name for name, row in VERBS.items() if row.right is not None)


class Method(Protocol):
    """The `answer` of a method's module. Raises WssError; is cancelled if the client closes."""

    async def __call__(self, call: Call[Any, Any], /) -> object: ...


class Requests:
    """Loads all methods when it is built: after an upgrade the disk may hold another version."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._methods = {name: method(name) for name in METHODS}

    async def handle(self, peer: Peer, name: str, params: Object, send_event: SendEvent) -> Object:
        """The control server's handler. Raises WssError."""
        if name not in self._methods:
            raise UnknownMethod(
                f"unknown method {name!r}: the running daemon is older or newer than this wssctl"
            )
        try:
            request = fit(VERBS[name].request, params)
        except Misfit as error:
            raise BadRequest(str(error)) from None
        call: Call[Any, Any] = Call(peer, request, self._services, send_event)
        return cast(Object, await self._methods[name](call))


@cache
def method(name: str) -> Method:
    """The `answer` of `runtime/api/NAME.py`."""
    return cast(Method, import_module(f"wssupervisor.runtime.api.{name}").answer)
