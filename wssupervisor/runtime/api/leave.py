"""leave: out of the load balancer, until no connection is left."""

import asyncio
import math

from wssupervisor.control.verbs import Leave, LeaveEvent, LeaveRequest
from wssupervisor.fleet.actions import Left
from wssupervisor.fleet.events import LeaveRequested
from wssupervisor.runtime.api.call import PROGRESS_SECONDS, Call, limit, span
from wssupervisor.runtime.observe.status_document import out_of_rotation

LEAD_SECONDS = 10.0
"""More than a load balancer needs to notice: HAProxy's agent-inter is 2 s by default, and a health
check fails after 3 of those."""


async def answer(call: Call[LeaveRequest, LeaveEvent]) -> Leave:
    lead = limit("lead", call.request.get("lead"))
    within = span("within", call.request.get("within"))
    await call.watch.count()
    call.log("leave requested")
    pending, request = call.supervisor.answers, call.next_request()
    event = LeaveRequested(
        request,
        LEAD_SECONDS if lead is None else lead,
        math.inf if within is None else within,
        call.request.get("wait", True),
        call.requester,
    )
    try:
        waiting = pending.request(request, event)
        while not waiting.done():
            await call.send({"out_of_rotation": out_of_rotation(call.supervisor.view())})
            await asyncio.wait((waiting,), timeout=PROGRESS_SECONDS)
        outcome = await waiting
    finally:
        pending.cancel(request)
    if not isinstance(outcome, Left):
        raise call.failure(outcome)
    return {
        "out_of_rotation": out_of_rotation(call.supervisor.view()),
        "empty": outcome.empty,
        "connections": outcome.connections,
        "seconds": round(outcome.seconds, 3),
        "closes_in_seconds": round(outcome.asks_in, 3),
    }
