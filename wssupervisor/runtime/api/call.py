"""One request of a control client, and what answering it may use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import Object
from wssupervisor.control.rights import Right
from wssupervisor.control.server import SendEvent
from wssupervisor.durations import parse_duration
from wssupervisor.errors import BadRequest, WssError
from wssupervisor.fleet.actions import Failed, Outcome
from wssupervisor.fleet.events import Event, Requester
from wssupervisor.fleet.model import RequestId
from wssupervisor.runtime.api.requester import log_request, requester
from wssupervisor.runtime.handover.upgrade import Upgrade
from wssupervisor.runtime.monitoring.scrape import Scrape
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.pending import error_of
from wssupervisor.runtime.supervisor import Supervisor

PROGRESS_SECONDS = 1.0
"""Interval of the events that report what a waiting request waits for."""

Request = TypeVar("Request")
Sent = TypeVar("Sent")


@dataclass(frozen=True, slots=True)
class Services:
    """What the methods work with."""

    supervisor: Supervisor
    watch: Watch
    upgrade: Upgrade
    scrape: Scrape


@dataclass(frozen=True, slots=True)
class Call(Generic[Request, Sent]):
    """`request` has the type of its row in the table of verbs."""

    peer: Peer
    request: Request
    services: Services
    send_event: SendEvent

    @property
    def supervisor(self) -> Supervisor:
        return self.services.supervisor

    @property
    def watch(self) -> Watch:
        return self.services.watch

    @property
    def requester(self) -> Requester:
        return requester(self.peer)

    def log(self, what: str, **details: Any) -> None:
        log_request(self.peer, what, **details)

    def may_operate(self) -> bool:
        group = self.supervisor.config.control.group_may_operate
        return self.peer.may(Right.OPERATE, group_may_operate=group)

    def next_request(self) -> RequestId:
        return self.supervisor.answers.next_request()

    async def ask(self, request: RequestId, event: Event) -> Outcome:
        """Post a request to the fleet and wait for its answer."""
        return await self.supervisor.answers.ask(request, event)

    async def send(self, event: Sent) -> None:
        await self.send_event(cast(Object, event))

    def failure(self, outcome: Outcome) -> WssError:
        """The error for an outcome that is not the requested one, with the worker's last output."""
        of = outcome.of if isinstance(outcome, Failed) else None
        lines: Sequence[str] = ()
        if of is not None:
            lines = self.supervisor.crew.outputs.last_lines(of)
        return error_of(outcome, lines)


def span(key: str, text: str | None) -> float | None:
    """A duration of a request in seconds, None if it has none. Raises BadRequest."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"{key}: found {text!r}, {error}") from None


def limit(key: str, text: str | None) -> float | None:
    """The same for a duration that must be finite. Raises BadRequest."""
    seconds = span(key, text)
    if seconds is not None and math.isinf(seconds):
        raise BadRequest(f"{key}: found {text!r}, expected a finite duration, such as '10min'")
    return seconds
