"""verdict: how a reload ended, for a client that lost its connection during the reload."""

import asyncio
import re

from wssupervisor.control.verbs import Attempted, Empty, VerdictRequest
from wssupervisor.errors import BadRequest, OperationFailed
from wssupervisor.fleet.actions import Failed
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.runtime.api.attempt import done
from wssupervisor.runtime.api.call import Call

_RELOAD_ID = re.compile(r"r(\d{1,9})")


async def answer(call: Call[VerdictRequest, Empty]) -> Attempted:
    text = call.request["reload"]
    found = _RELOAD_ID.fullmatch(text)
    if found is None:
        raise BadRequest(f'reload: found {text!r}, expected the id of a reload, such as "r3"')
    number, fleet = int(found[1]), call.supervisor.view()
    if not 0 < number <= fleet.last_reload:
        raise BadRequest(f"there was no reload r{number}")
    pending = call.supervisor.answers
    waiting = pending.verdict_of(number)
    if waiting is None:
        raise OperationFailed(
            f"the result of reload r{number} is no longer known. See: wssctl history"
        )
    call.log("verdict requested", reload=reload_name(number))
    request = pending.wait_instead(fleet.reload, number, call.requester)
    try:
        verdict = await asyncio.shield(waiting)
    finally:
        if request is not None:
            pending.cancel(request)
    if verdict.ok:
        return done(call.supervisor, verdict)
    of = verdict.of if call.may_operate() else None  # what a worker wrote may be secret
    raise call.failure(Failed("reload-failed", verdict.reason or "", verdict.reload, of))
