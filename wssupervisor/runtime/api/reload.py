"""reload: a new generation, and the cutover to it."""

from wssupervisor.control.verbs import Attempted, AttemptEvent, ReloadRequest
from wssupervisor.fleet.events import ReloadRequested
from wssupervisor.runtime.api.attempt import RELOAD_SECONDS, attempt
from wssupervisor.runtime.api.call import Call, limit


async def answer(call: Call[ReloadRequest, AttemptEvent]) -> Attempted:
    timeout = limit("timeout", call.request.get("timeout"))
    call.log("reload requested")
    request = call.next_request()
    event = ReloadRequested(
        request,
        RELOAD_SECONDS if timeout is None else timeout,
        call.request.get("wait", True),
        call.request.get("make_room", False),
        call.requester,
    )
    return await attempt(call, request, event)
