"""join: back into the load balancer."""

from wssupervisor.control.verbs import Empty, Join
from wssupervisor.fleet.actions import Joined
from wssupervisor.fleet.events import JoinRequested
from wssupervisor.runtime.api.call import Call


async def answer(call: Call[Empty, Empty]) -> Join:
    call.log("join requested")
    request = call.next_request()
    outcome = await call.ask(request, JoinRequested(request, call.requester))
    if not isinstance(outcome, Joined):
        raise call.failure(outcome)
    return {"was_out": outcome.seconds is not None, "seconds": outcome.seconds}
