"""What reload, rollback and verdict share: a cutover is requested, reported and answered."""

import asyncio
from typing import Any

from wssupervisor.control.verbs import Attempted, AttemptEvent
from wssupervisor.fleet.actions import Accepted, CutOver, Outcome
from wssupervisor.fleet.events import ReloadRequested, RollBackRequested
from wssupervisor.fleet.model import RequestId
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.state import Verdict
from wssupervisor.runtime.api.call import PROGRESS_SECONDS, Call
from wssupervisor.runtime.api.followed import Events, followed
from wssupervisor.runtime.supervisor import Supervisor

RELOAD_SECONDS = 60.0
"""Default limit of a reload or rollback."""


async def attempt(
    call: Call[Any, AttemptEvent], request: RequestId, event: ReloadRequested | RollBackRequested
) -> Attempted:
    """Request a cutover, report its progress and return its verdict. Raises WssError."""
    pending = call.supervisor.answers
    with followed(call.supervisor.history) as events:
        try:
            # Named before anything else runs: an upgrade can cut the requester off at any time.
            answer = pending.request(request, event)
            if (reload := pending.reload_of(request)) is not None:
                await call.send({"reload": reload_name(reload)})
            await _report(call, answer, events)
            outcome = await answer
        finally:
            pending.cancel(request)
    match outcome:
        case Accepted(reload=number):
            return {"reload": reload_name(number), "accepted": True}
        case CutOver():
            return done(call.supervisor, outcome)
    raise call.failure(outcome)


async def _report(
    call: Call[Any, AttemptEvent], answer: "asyncio.Future[Outcome]", events: Events
) -> None:
    """Pass events on until there is an answer, and each second what the reload waits for."""
    while not answer.done():
        getting = asyncio.ensure_future(events.get())
        await asyncio.wait(
            (answer, getting), timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        getting.cancel()
        waits_for = call.supervisor.view().waits_for
        if getting.done() and not getting.cancelled():
            await call.send({"note": getting.result(), "waits_for": waits_for})
        elif not answer.done():
            await call.send({"waits_for": waits_for})
    while not events.empty():
        await call.send({"note": events.get_nowait(), "waits_for": None})


def done(supervisor: Supervisor, cutover: CutOver | Verdict) -> Attempted:
    """The answer for a cutover that succeeded."""
    name = reload_name(cutover.reload)
    moment = supervisor.cut_over_at.get(name)
    return {
        "reload": name,
        "ok": True,
        "generation": cutover.generation,
        "replaced": cutover.replaced,
        "seconds": round(cutover.seconds, 3),
        "cutover_begun_monotonic": None if moment is None else moment.begun,
        "cutover_monotonic": None if moment is None else moment.done,
        "warnings": supervisor.warnings_of(cutover.reload),
    }
