"""drain: another limit for a draining generation, or a pause."""

from wssupervisor.control.verbs import DrainChange, DrainRequest, Empty
from wssupervisor.errors import BadRequest
from wssupervisor.fleet.actions import DrainChanged
from wssupervisor.fleet.events import DrainLimited, DrainPaused, DrainResumed
from wssupervisor.runtime.api.call import Call, span


async def answer(call: Call[DrainRequest, Empty]) -> DrainChange:
    generation, request = call.request["generation"], call.next_request()
    within = span("within", call.request.get("within"))
    event: DrainLimited | DrainPaused | DrainResumed
    match within, call.request.get("pause", False), call.request.get("resume", False):
        case float(), False, False:
            change, event = "within", DrainLimited(request, generation, within)
        case None, True, False:
            change, event = "pause", DrainPaused(request, generation)
        case None, False, True:
            change, event = "resume", DrainResumed(request, generation)
        case _:
            raise BadRequest('give one of: within (such as "10min"), pause, resume')
    await call.watch.fresh_count()
    call.log("drain change requested", generation=generation, change=change)
    outcome = await call.ask(request, event)
    if not isinstance(outcome, DrainChanged):
        raise call.failure(outcome)
    return {
        "generation": outcome.generation,
        "workers": outcome.workers,
        "connections": outcome.connections,
        "paused": outcome.paused,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
    }
