"""Waiting requests: each request gets one answer, and each reload one verdict."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wssupervisor.errors import Busy, NotRunning, OperationFailed, ReloadFailed, WssError
from wssupervisor.fleet.actions import Failed, Outcome
from wssupervisor.fleet.events import Event, Requester, RequesterGone
from wssupervisor.fleet.model import RequestId
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.state import Verdict
from wssupervisor.fleet.view import ReloadView

VERDICTS_KEPT = 16


def error_of(outcome: Outcome, lines: Sequence[str] = ()) -> WssError:
    """The error for an outcome other than the requested one; `lines`: the worker's last output."""
    if not isinstance(outcome, Failed):
        return OperationFailed(f"unexpected answer {outcome}")
    kinds = {"busy": Busy, "not-running": NotRunning, "reload-failed": ReloadFailed}
    error = kinds.get(outcome.code, OperationFailed)(outcome.reason, lines=lines)
    if outcome.reload is not None:
        error.data["reload"] = reload_name(outcome.reload)
    return error


@dataclass(frozen=True, slots=True)
class PendingRequestsState:
    """`last_request`: the last number in use. Waiting clients are not saved."""

    last_request: int
    verdicts: tuple[Verdict, ...]


class PendingRequests:
    """Owns the futures that clients of the control socket wait for."""

    def __init__(
        self, post: Callable[[Event], None], saved: PendingRequestsState | None = None
    ) -> None:
        self._last_request = 0 if saved is None else saved.last_request
        self._post = post
        self._waiting: dict[RequestId, asyncio.Future[Outcome]] = {}
        self._begun: dict[RequestId, int] = {}
        """The reload or rollback that each waiting request has started."""
        self._verdicts: dict[int, asyncio.Future[Verdict]] = {}
        self._settled = 0
        """The latest reload that has a verdict."""
        if saved is not None:
            for verdict in sorted(saved.verdicts, key=lambda one: one.reload):
                self.settle(verdict)

    def save(self) -> PendingRequestsState:
        verdicts = (one.result() for one in self._verdicts.values() if one.done())
        return PendingRequestsState(self._last_request, tuple(verdicts))

    def next_request(self) -> RequestId:
        """A number that no other request has."""
        self._last_request += 1
        return self._last_request

    def request(self, request: RequestId, event: Event) -> asyncio.Future[Outcome]:
        """Post a request; its one answer resolves the future. Stop waiting with `cancel`."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[request] = answer
        self._post(event)
        return answer

    def cancel(self, request: RequestId) -> None:
        """Stop waiting for a request; does nothing after the answer."""
        self._begun.pop(request, None)
        if self._waiting.pop(request, None) is not None:
            self._post(RequesterGone(request))

    async def ask(self, request: RequestId, event: Event) -> Outcome:
        """Post a request and wait for its one answer. Cancelling the call cancels the request."""
        try:
            return await self.request(request, event)
        finally:
            self.cancel(request)

    def begun(self, request: RequestId, reload: int) -> None:
        """Record that the fleet has started this reload or rollback for a request."""
        if request in self._waiting:
            self._begun[request] = reload

    def reload_of(self, request: RequestId) -> int | None:
        """The reload or rollback that the request has started, until `cancel`."""
        return self._begun.get(request)

    def give(self, request: RequestId, outcome: Outcome) -> None:
        """Pass on the fleet's answer; does nothing if the requester no longer waits."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    # -- verdicts -----------------------------------------------------------------------------

    def settle(self, verdict: Verdict) -> None:
        """Record the verdict of a reload; does nothing if it is already recorded."""
        if verdict.reload <= self._settled:
            return
        self._settled = verdict.reload
        waiting = self._verdict(verdict.reload)
        if not waiting.done():
            waiting.set_result(verdict)
        for old in [reload for reload in self._verdicts if self._is_forgotten(reload)]:
            del self._verdicts[old]

    def verdict_of(self, reload: int) -> asyncio.Future[Verdict] | None:
        """A future with the reload's verdict; None if the verdict is no longer kept."""
        known = reload in self._verdicts or reload > self._settled
        return self._verdict(reload) if known else None

    def wait_instead(
        self, reload: ReloadView | None, number: int, caller: Requester
    ) -> RequestId | None:
        """Let a requester that an upgrade cut off wait again for its reload; then call `cancel`.

        None for any other caller: it gets the verdict, but does not cancel the reload by leaving.
        """
        if reload is None or reload.id != number or reload.request is None:
            return None
        if reload.request in self._waiting or not _is_same(reload.by, caller):
            return None
        self._waiting[reload.request] = asyncio.get_running_loop().create_future()
        return reload.request

    def _verdict(self, reload: int) -> asyncio.Future[Verdict]:
        if reload not in self._verdicts:
            self._verdicts[reload] = asyncio.get_running_loop().create_future()
        return self._verdicts[reload]

    def _is_forgotten(self, reload: int) -> bool:
        return reload <= self._settled - VERDICTS_KEPT


def _is_same(requester: Requester | None, caller: Requester) -> bool:
    """Whether user and pid match: another process of the same user did not request the reload."""
    if requester is None:
        return False
    return (requester.user, requester.pid) == (caller.user, caller.pid)
