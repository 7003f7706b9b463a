"""Performs the fleet's actions, even if some of them fail.

The rule: between `Fleet.handle` and the last of its actions nothing raises and nothing blocks. If
an action has a result, its failure is posted as that result. An action without a result is tried
again until it succeeds or its worker has ended, because the fleet relies on it. Tests make every
system call of a step fail, one at a time (tests/integration/test_faults.py).
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

import structlog

from wssupervisor.bounded import bounded
from wssupervisor.errors import WssError
from wssupervisor.fleet.actions import (
    Action,
    Answer,
    Begun,
    JudgeLeftover,
    Probe,
    Quit,
    Resolve,
    Spawn,
    Steer,
)
from wssupervisor.fleet.events import (
    Event,
    LeftoverJudged,
    ProbeFailed,
    ReleaseRefused,
    SpawnFailed,
    SteerFailed,
)
from wssupervisor.fleet.model import WorkerId
from wssupervisor.fleet.notes import Note
from wssupervisor.fleet.orders import Order
from wssupervisor.runtime.kernel.descriptors import in_words

log = structlog.get_logger()


class Effects:
    """`perform` does one action and may raise; `post` gets the event for its failure."""

    def __init__(
        self, perform: Callable[[Action], object], post: Callable[[Event], object]
    ) -> None:
        self._perform = perform
        self._post = post
        self._pending: list[Order] = []

    @property
    def pending(self) -> tuple[Order, ...]:
        """Actions that failed and are still to be done, in their order."""
        return tuple(self._pending)

    def perform(self, actions: Iterable[Action]) -> None:
        """Perform all actions, in their order, even if one of them fails. Never raises."""
        for action in actions:
            log.debug("action", what=repr(action))
            try:
                self._perform(action)
            except Exception as error:  # noqa: BLE001 - the other actions must still be done
                self._failed(action, error)

    def retry(self, alive: Container[WorkerId]) -> None:
        """Try failed actions again, for workers that still live. Never raises."""
        pending, self._pending = self._pending, []
        for action in pending:
            if action.worker not in alive:
                continue
            try:
                self._perform(action)
            except Exception:  # noqa: BLE001 - logged when it first failed
                self._pending.append(action)
            else:
                log.info("action done", what=type(action).__name__, worker=str(action.worker))

    def _failed(self, action: Action, error: Exception) -> None:
        why = bounded(in_words(error))
        if not isinstance(error, WssError | OSError):
            log.error("action failed", what=type(action).__name__, exc_info=error)
        match action:
            case Spawn(worker=worker):
                self._post(SpawnFailed(worker, why))
            case Steer(epoch=epoch):
                self._post(SteerFailed(epoch, why))
            case Probe(worker=worker):
                self._post(ProbeFailed(worker, f"could not be probed: {why}"))
            case JudgeLeftover(worker=worker):
                self._post(LeftoverJudged(worker, serves=True))
            case Resolve(reload=reload):
                self._post(ReleaseRefused(reload, f"the release could not be read: {why}"))
            case Quit(of=WorkerId()):
                log.error("last words of a worker cannot be read", why=why)
                self.perform([replace(action, of=None)])
            case Answer() | Begun() | Note() | Quit():
                log.error("action failed", what=type(action).__name__, why=why)
            case _:
                self._try_again(action, why)

    def _try_again(self, action: Order, why: str) -> None:
        log.error(
            "action failed: retrying until it succeeds",
            what=type(action).__name__,
            worker=str(action.worker),
            why=why,
        )
        self._pending.append(action)


def never_raises(what: str, call: Callable[[], object]) -> None:
    """Run `call`, and log its failure, which must not prevent the actions of a step."""
    try:
        call()
    except Exception as error:
        if isinstance(error, WssError | OSError):
            log.error("failed, and serving continues", what=what, why=in_words(error))  # noqa: TRY400
        else:
            log.exception("failed, and serving continues", what=what)
