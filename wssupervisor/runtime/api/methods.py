"""What a control client may ask, checked and turned into events; and what it is answered."""

import asyncio
import math
import re
from typing import Any

from wssupervisor import __version__
from wssupervisor.config.parsers import CLIENT_WORKERS_MAX, WORKERS_MAX
from wssupervisor.control.peer import Peer
from wssupervisor.control.protocol import Object
from wssupervisor.control.rights import Right
from wssupervisor.control.server import SendEvent
from wssupervisor.durations import parse_duration
from wssupervisor.errors import (
    BadRequest,
    OperationFailed,
    UnknownMethod,
    WssError,
)
from wssupervisor.fleet.actions import (
    Accepted,
    CutOver,
    DrainChanged,
    Failed,
    Outcome,
    Scaled,
    Stopped,
)
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    DrainResumed,
    ReloadRequested,
    RollBackRequested,
    ScaleRequested,
    StopRequested,
)
from wssupervisor.fleet.model import RequestId
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.state import Verdict
from wssupervisor.runtime.api import leave
from wssupervisor.runtime.api.requester import log_request, requester
from wssupervisor.runtime.handover.upgrade import Upgrade
from wssupervisor.runtime.monitoring.scrape import Scrape
from wssupervisor.runtime.observe import why
from wssupervisor.runtime.observe.status import document
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.pending import error_of
from wssupervisor.runtime.supervisor import Supervisor
from wssupervisor.runtime.systemd import stop_command

RELOAD_SECONDS = 60.0
PROGRESS_SECONDS = 1.0
NOTES_WAITING_MAX = 1000
"""Notes for one follower that does not read them; then it is let go."""
_RELOAD_ID = re.compile(r"r(\d{1,9})")


class Requests:
    def __init__(
        self, supervisor: Supervisor, watch: Watch, upgrade: Upgrade, scrape: Scrape
    ) -> None:
        self._supervisor = supervisor
        self._answers = supervisor.answers
        self._watch = watch
        self._upgrade = upgrade
        self._scrape = scrape
        self._leaving = leave.Leaving(supervisor, watch)

    async def handle(
        self, peer: Peer, method: str, params: Object, send_event: SendEvent
    ) -> Object:
        """The control server's handler. Raises WssError."""
        match method:
            case "status":
                await self._watch.fresh_count()
                self._watch.glance()
                return self._status()
            case "why":
                return await self._why(params)
            case "reload":
                return await self._reload(peer, params, send_event)
            case "rollback":
                return await self._roll_back(peer, params, send_event)
            case "scale":
                return await self._scale(peer, params)
            case "verdict":
                return await self._verdict(peer, params)
            case "stop":
                return await self._stop(peer, params)
            case "drain":
                return await self._drain(peer, params)
            case "leave":
                lead = _seconds(params, "lead", leave.LEAD_SECONDS)
                within = _seconds(params, "within", math.inf, may_be_infinite=True)
                waits = _flag(params, "wait", default=True)
                return await self._leaving.leave(peer, lead, within, send_event, waits=waits)
            case "join":
                return await self._leaving.join(peer)
            case "upgrade":
                return await self._re_execute(peer, send_event)
            case "events":
                return await self._events(params, send_event)
            case "history":
                since = _seconds(params, "since", None)
                return {"reloads": self._supervisor.history.reloads_since(since)}
            case "metrics":
                if _flag(params, "json", default=False):
                    return {"metrics": self._scrape.documents()}
                return {"text": self._scrape.text()}
        raise UnknownMethod(
            f"unknown method {method!r}: the running daemon is older or newer than this wssctl"
        )

    def _status(self) -> Object:
        own = self._supervisor
        return document(
            own.config.name,
            own.view(),
            own.listeners,
            own.executions,
            self._watch.usage.by_pid,
            stored=own.store.confirmed,
        )

    async def _re_execute(self, peer: Peer, send_event: SendEvent) -> Object:
        """Does not return: whoever asked sees the connection end, and asks the new program."""
        log_request(peer, "upgrade requested")

        async def about_to(version: str) -> None:
            own = self._supervisor.executions
            await send_event({"before": __version__, "version": version, "executions": own})

        await self._upgrade.run(about_to)

    async def _reload(self, peer: Peer, params: Object, send_event: SendEvent) -> Object:
        timeout = _seconds(params, "timeout", RELOAD_SECONDS)
        waits = _flag(params, "wait", default=True)
        make_room = _flag(params, "make_room", default=False)
        log_request(peer, "reload requested")
        who = self._answers.next_request()
        event = ReloadRequested(who, timeout, waits, make_room, requester(peer))
        return await self._attempt(who, event, send_event)

    async def _roll_back(self, peer: Peer, params: Object, send_event: SendEvent) -> Object:
        timeout = _seconds(params, "timeout", RELOAD_SECONDS)
        log_request(peer, "roll back requested")
        who = self._answers.next_request()
        event = RollBackRequested(who, timeout, requester(peer))
        return await self._attempt(who, event, send_event)

    async def _attempt(
        self, who: RequestId, event: ReloadRequested | RollBackRequested, send_event: SendEvent
    ) -> Object:
        """Ask for a cutover, tell how it goes, and how it went."""
        notes: asyncio.Queue[Object] = asyncio.Queue(NOTES_WAITING_MAX)
        unfollow = self._supervisor.history.follow(lambda note: _offer(notes, note))
        try:
            # Named before anything else runs: an upgrade can cut the requester off at any time.
            asking = self._answers.request(who, event)
            if (reload := self._answers.reload_of(who)) is not None:
                await send_event({"reload": reload_name(reload)})
            await self._tell_progress(asking, notes, send_event)
            return self._reloaded(await asking)
        finally:
            self._answers.cancel(who)
            unfollow()

    async def _tell_progress(
        self,
        asking: "asyncio.Future[Outcome]",
        notes: "asyncio.Queue[Object]",
        send_event: SendEvent,
    ) -> None:
        """Pass notes on until there is an answer, and say each second what is waited for."""
        while not asking.done():
            getting = asyncio.ensure_future(notes.get())
            await asyncio.wait(
                (asking, getting), timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            getting.cancel()
            waits_for = self._supervisor.view().waits_for
            if getting.done() and not getting.cancelled():
                await send_event({"note": getting.result(), "waits_for": waits_for})
            elif not asking.done():
                await send_event({"waits_for": waits_for})
        while not notes.empty():
            await send_event({"note": notes.get_nowait(), "waits_for": None})

    def _reloaded(self, outcome: Outcome) -> Object:
        match outcome:
            case Accepted(reload=reload):
                return {"reload": reload_name(reload), "accepted": True}
            case CutOver():
                return self._done(outcome)
        raise self._failure(outcome)

    def _done(self, cutover: CutOver | Verdict) -> Object:
        name = reload_name(cutover.reload)
        moment = self._supervisor.cut_over_at.get(name)
        return {
            "reload": name,
            "ok": True,
            "generation": cutover.generation,
            "replaced": cutover.replaced,
            "seconds": round(cutover.seconds, 3),
            "cutover_begun_monotonic": None if moment is None else moment.begun,
            "cutover_monotonic": None if moment is None else moment.done,
            "warnings": self._supervisor.warnings_of(cutover.reload),
        }

    def _failure(self, outcome: Outcome) -> WssError:
        of = outcome.of if isinstance(outcome, Failed) else None
        return error_of(outcome, () if of is None else self._supervisor.crew.outputs.last_lines(of))

    async def _verdict(self, peer: Peer, params: Object) -> Object:
        """How a reload ended, for a client that lost its connection while it waited."""
        found = _RELOAD_ID.fullmatch(str(params.get("reload")))
        if found is None:
            raise BadRequest('reload must be the id of a reload, such as "r3"')
        number, fleet = int(found[1]), self._supervisor.view()
        if not 0 < number <= fleet.last_reload:
            raise BadRequest(f"there was no reload r{number}")
        waiting = self._answers.verdict_of(number)
        if waiting is None:
            raise OperationFailed(
                f"how reload r{number} ended is not known any more; wssctl history tells"
            )
        log_request(peer, "verdict requested", reload=reload_name(number))
        caller = requester(peer)
        who = self._answers.wait_instead(fleet.reload, number, caller)
        try:
            verdict: Verdict = await asyncio.shield(waiting)
        finally:
            if who is not None:
                self._answers.cancel(who)
        if not verdict.ok:
            of = verdict.of if self._may_operate(peer) else None  # what it wrote may be secret
            raise self._failure(Failed("reload-failed", verdict.reason or "", verdict.reload, of))
        return self._done(verdict)

    def _may_operate(self, peer: Peer) -> bool:
        group = self._supervisor.config.control.group_may_operate
        return peer.may(Right.OPERATE, group_may_operate=group)

    async def _stop(self, peer: Peer, params: Object) -> Object:
        if (command := stop_command(self._supervisor.config.name)) is not None:
            raise OperationFailed(f"systemd runs this instance; stop it with: {command}")
        within = _seconds(params, "within", None)
        log_request(peer, "stop requested")
        who = self._answers.next_request()
        outcome = await self._answers.ask(who, StopRequested(who, within))
        if isinstance(outcome, Stopped):
            return {"stopped": True}
        raise self._failure(outcome)

    async def _why(self, params: Object) -> Object:
        number = _whole(params, "generation")
        await self._watch.count()
        connections = await self._watch.connections_of(number)
        generations = {one.number: one for one in self._supervisor.view().generations}
        if number not in generations:
            there = ", ".join(map(str, generations))
            raise OperationFailed(f"there is no generation {number} (there are: {there})")
        return why.document(generations[number], connections)

    async def _drain(self, peer: Peer, params: Object) -> Object:
        generation = _whole(params, "generation")
        who = self._answers.next_request()
        event: DrainLimited | DrainPaused | DrainResumed
        given = [key for key in ("within", "pause", "resume") if params.get(key)]
        if len(given) != 1:
            raise BadRequest('give one of: within (such as "10min"), pause, resume')
        match given[0]:
            case "within":
                within = _seconds(params, "within", None, may_be_infinite=True)
                event = DrainLimited(who, generation, within)
            case "pause":
                event = DrainPaused(who, generation)
            case _:
                event = DrainResumed(who, generation)
        await self._watch.fresh_count()
        log_request(peer, "drain change requested", generation=generation, change=given[0])
        outcome = await self._answers.ask(who, event)
        if isinstance(outcome, DrainChanged):
            return {
                "generation": outcome.generation,
                "workers": outcome.workers,
                "connections": outcome.connections,
                "paused": outcome.paused,
                "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
            }
        raise self._failure(outcome)

    async def _scale(self, peer: Peer, params: Object) -> Object:
        workers = _whole(params, "workers")
        if not 1 <= workers <= WORKERS_MAX:
            raise BadRequest(f"workers: found {workers}, expected 1 to {WORKERS_MAX}")
        if self._supervisor.fleet.policy.by_client and workers > CLIENT_WORKERS_MAX:
            raise BadRequest(
                f"workers: found {workers}, expected at most {CLIENT_WORKERS_MAX} with [[listen]]"
                ' balance = "client"'
            )
        log_request(peer, "scale requested", workers=workers)
        who = self._answers.next_request()
        outcome = await self._answers.ask(who, ScaleRequested(who, workers))
        if isinstance(outcome, Scaled):
            view = self._supervisor.view()
            return {
                "workers": outcome.workers,
                "before": outcome.before,
                "workers_configured": view.workers_configured,
                "shares_slots": any(
                    one.shares_slots for one in view.generations if one.drain is None
                ),
            }
        raise self._failure(outcome)

    async def _events(self, params: Object, send_event: SendEvent) -> Object:
        since = _seconds(params, "since", None)
        last = None if params.get("last") is None else _whole(params, "last")
        notes: asyncio.Queue[Object] = asyncio.Queue(NOTES_WAITING_MAX)
        unfollow = self._supervisor.history.follow(lambda note: _offer(notes, note))
        try:
            for note in self._supervisor.history.since(since, last):
                await send_event({"note": note})
            while _flag(params, "follow", default=False):
                note = await notes.get()
                await send_event({"note": note})
                if note["kind"] == "stopped":
                    break
        finally:
            unfollow()
        return {}


def _offer(notes: "asyncio.Queue[Object]", note: Object) -> None:
    if not notes.full():
        notes.put_nowait(note)


def _whole(params: Object, key: str) -> int:
    value = params.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{key} must be a whole number")
    return value


def _seconds(params: Object, key: str, default: Any, *, may_be_infinite: bool = False) -> Any:
    """A duration in the request, in seconds; the default where there is none."""
    value = params.get(key)
    if value is None:
        return default
    try:
        seconds = parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise BadRequest(f"{key}: found {value!r}, {error}") from None
    if math.isinf(seconds) and not may_be_infinite:
        raise BadRequest(f"{key}: found {value!r}, expected a duration that ends, such as '10min'")
    return seconds


def _flag(params: Object, key: str, *, default: bool) -> bool:
    value = params.get(key, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{key} must be true or false")
    return value
