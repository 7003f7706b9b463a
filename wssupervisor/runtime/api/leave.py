"""What a control client may ask about the load balancer: leave and join, and how it is answered."""

import asyncio

from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import Object
from wssupervisor.control.server import SendEvent
from wssupervisor.fleet.actions import Joined, Left
from wssupervisor.fleet.events import JoinRequested, LeaveRequested
from wssupervisor.runtime.api.requester import log_request, requester
from wssupervisor.runtime.observe.status import out_of_balancer
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.pending import error_of
from wssupervisor.runtime.supervisor import Supervisor

LEAD_SECONDS = 10.0
"""More than a load balancer takes to notice: HAProxy's agent-inter is 2 s as it comes, and a health
check fails after 3 of those."""
PROGRESS_SECONDS = 1.0


class Leaving:
    def __init__(self, supervisor: Supervisor, watch: Watch) -> None:
        self._supervisor = supervisor
        self._answers = supervisor.answers
        self._watch = watch

    async def leave(
        self, peer: Peer, lead: float, within: float, send_event: SendEvent, *, waits: bool
    ) -> Object:
        """Go out, and wait until nobody is connected, if that is wanted. Raises WssError."""
        await self._watch.count()
        log_request(peer, "leave requested")
        who = self._answers.next_request()
        event = LeaveRequested(who, lead, within, waits, requester(peer))
        try:
            asking = self._answers.request(who, event)
            while not asking.done():
                await send_event({"out_of_rotation": out_of_balancer(self._supervisor.view())})
                await asyncio.wait((asking,), timeout=PROGRESS_SECONDS)
            outcome = await asking
        finally:
            self._answers.cancel(who)
        if not isinstance(outcome, Left):
            raise error_of(outcome)
        return {
            "out_of_rotation": out_of_balancer(self._supervisor.view()),
            "empty": outcome.empty,
            "connections": outcome.connections,
            "seconds": round(outcome.seconds, 3),
            "closes_in_seconds": round(outcome.asks_in, 3),
        }

    async def join(self, peer: Peer) -> Object:
        """Come back in. Raises WssError."""
        log_request(peer, "join requested")
        who = self._answers.next_request()
        outcome = await self._answers.ask(who, JoinRequested(who, requester(peer)))
        if not isinstance(outcome, Joined):
            raise error_of(outcome)
        return {"was_out": outcome.seconds is not None, "seconds": outcome.seconds}
