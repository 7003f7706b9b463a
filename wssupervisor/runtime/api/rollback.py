"""rollback: the cutover to the generation that was active before."""

from wssupervisor.control.verbs import Attempted, AttemptEvent, RollbackRequest
from wssupervisor.fleet.events import RollBackRequested
from wssupervisor.runtime.api.attempt import RELOAD_SECONDS, attempt
from wssupervisor.runtime.api.call import Call, limit


async def answer(call: Call[RollbackRequest, AttemptEvent]) -> Attempted:
    timeout = limit("timeout", call.request.get("timeout"))
    call.log("rollback requested")
    request = call.next_request()
    event = RollBackRequested(
        request, RELOAD_SECONDS if timeout is None else timeout, call.requester
    )
    return await attempt(call, request, event)
