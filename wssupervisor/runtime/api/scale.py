"""scale: another number of workers."""

from wssupervisor.config.parsers import CLIENT_WORKERS_MAX, WORKERS_MAX
from wssupervisor.control.verbs import Empty, Scale, ScaleRequest
from wssupervisor.errors import BadRequest
from wssupervisor.fleet.actions import Scaled
from wssupervisor.fleet.events import ScaleRequested
from wssupervisor.runtime.api.call import Call


async def answer(call: Call[ScaleRequest, Empty]) -> Scale:
    workers = call.request["workers"]
    if not 1 <= workers <= WORKERS_MAX:
        raise BadRequest(f"workers: found {workers}, expected 1 to {WORKERS_MAX}")
    if call.supervisor.fleet.policy.by_client and workers > CLIENT_WORKERS_MAX:
        raise BadRequest(
            f"workers: found {workers}, expected at most {CLIENT_WORKERS_MAX} with [[listen]]"
            ' balance = "client"'
        )
    call.log("scale requested", workers=workers)
    request = call.next_request()
    outcome = await call.ask(request, ScaleRequested(request, workers))
    if not isinstance(outcome, Scaled):
        raise call.failure(outcome)
    view = call.supervisor.view()
    return {
        "workers": outcome.workers,
        "before": outcome.before,
        "workers_configured": view.workers_configured,
        "shares_slots": any(one.shares_slots for one in view.generations if one.drain is None),
    }
