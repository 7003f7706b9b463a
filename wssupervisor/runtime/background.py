"""Tasks that take longer than a moment: probing a worker, reading the release of a reload."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from wssupervisor.bounded import bounded, bounded_all
from wssupervisor.config.model import Config, restart_needed
from wssupervisor.errors import ConfigInvalid, OperationFailed, ReleaseInvalid, WssError
from wssupervisor.fleet.actions import JudgeLeftover, Probe
from wssupervisor.fleet.events import (
    Event,
    LeftoverJudged,
    ProbeFailed,
    ProbePassed,
    ProbeTried,
    ReleaseRefused,
    ReleaseResolved,
)
from wssupervisor.fleet.model import Policy, Release, WorkerId
from wssupervisor.runtime.io_threads import IoThreads
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.releases.unpinned import unpinned
from wssupervisor.runtime.workers import leftover_processes, readiness
from wssupervisor.runtime.workers.crew import Crew
from wssupervisor.runtime.workers.serving import Acceptor

log = structlog.get_logger()

_REFUSED: dict[type[Exception], str] = {
    ConfigInvalid: "the configuration cannot be used",
    ReleaseInvalid: "the release cannot be used",
}

UNPINNED_REST = "; `wssctl check FILE` shows all"
READ_SECONDS = 30.0
READ_AT_ONCE_MAX = 4
"""At most this many releases are read at once: reading one may hang after its reload ended."""

Reread = Callable[[], Config]
"""Read the configuration again; raises ConfigInvalid."""


class BackgroundTasks:
    """Each task posts its result; a failing task must not end the supervisor."""

    def __init__(
        self,
        config: Config,
        reread: Reread,
        listeners: ListenerSet,
        crew: Crew,
        post: Callable[[Event], None],
        look: Callable[[], object],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`look`: read the sockets now, before posting a result that depends on them."""
        self._tasks = tasks
        self._look = look
        self._config = config
        self._reread = reread
        self._listeners = listeners
        self._crew = crew
        self._post = post
        self._io_threads = IoThreads(READ_AT_ONCE_MAX, READ_SECONDS)
        self._under_way: set[asyncio.Task[None]] = set()
        self._probes: dict[WorkerId, asyncio.Task[None]] = {}
        self.warnings: dict[int, list[str]] = {}
        """Unpinned parts of the last reload's release, by the reload's number."""

    def probe(self, action: Probe) -> None:
        """Start probing whether a worker accepts connections."""
        self._start_for(action.worker, self._probe(action))

    def end_probe(self, worker: WorkerId) -> None:
        """Cancel a probe: its result is no longer needed."""
        if probe := self._probes.pop(worker, None):
            probe.cancel()

    def end(self) -> None:
        """Cancel all tasks: the instance has ended, and waits for none of them."""
        for task in self._under_way:
            task.cancel()

    def judge(self, action: JudgeLeftover) -> None:
        """Start finding out whether the processes left of a worker serve clients."""
        self.end_probe(action.worker)
        self._start_for(action.worker, self._judge(action))

    def resolve(self, reload: int) -> None:
        """Start reading the release of a reload."""
        self._start(self._resolve(reload))

    def _start_for(self, worker: WorkerId, work: Coroutine[Any, Any, None]) -> None:
        self._probes[worker] = task = self._start(work)

        def ended(task: asyncio.Task[None]) -> None:
            if self._probes.get(worker) is task:  # no later one has replaced it
                del self._probes[worker]

        task.add_done_callback(ended)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _probe(self, action: Probe) -> None:
        process = self._crew.process(action.worker)
        if process is None:
            return
        try:
            await readiness.ready(
                self._listeners,
                process,
                action,
                lambda reason: self._post(ProbeTried(action.worker, bounded(reason))),
            )
        except readiness.NeverReady as error:
            self._post(ProbeFailed(action.worker, bounded(str(error))))
        except Exception as error:
            if not isinstance(error, WssError | OSError):
                log.exception("internal error in a probe")
            self._post(ProbeFailed(action.worker, bounded(f"could not be probed: {error}")))
        else:
            self._post(ProbePassed(action.worker))

    async def _judge(self, action: JudgeLeftover) -> None:
        process = self._crew.process(action.worker)
        if process is None:
            return
        try:
            serves = await leftover_processes.serves(self._listeners, process, action)
        except Exception as error:
            if not isinstance(error, WssError | OSError):
                log.exception("internal error in judging a worker's remaining processes")
            log.warning("cannot judge a worker's remaining processes", why=str(error))
            serves = process.serving.acceptor is not Acceptor.MAIN
        self._look()  # a probe of ours may have been in the worker's queue
        self._post(LeftoverJudged(action.worker, serves))

    async def _resolve(self, reload: int) -> None:
        try:
            release, policy, warnings = await self._io_threads.do(
                "reading the release", self._read_release
            )
        except (ConfigInvalid, ReleaseInvalid) as error:
            self._post(ReleaseRefused(reload, _reason(error)))
            return
        except OperationFailed as error:
            self._post(ReleaseRefused(reload, str(error)))
            return
        except Exception as error:
            log.exception("internal error in a reload")
            text = bounded(f"the release could not be read: {error!r}")
            self._post(ReleaseRefused(reload, text))
            return
        self.warnings = {reload: warnings}
        warn_unpinned(warnings)
        self._look()  # so that a slot freed a moment ago counts
        self._post(ReleaseResolved(reload, release, policy))

    def _read_release(self) -> tuple[Release, Policy, list[str]]:
        config = self._reread()
        changed = restart_needed(self._config, config)
        if changed:
            keys = ", ".join(changed)
            text = (
                f"{keys} changed, which needs a restart. Restart the instance, or undo the change"
            )
            raise ConfigInvalid([text])
        release = resolve(config)
        return release, config.policy(), bounded_all(unpinned(release), UNPINNED_REST)


def warn_unpinned(warnings: Sequence[str]) -> None:
    for warning in bounded_all(warnings, UNPINNED_REST):
        log.warning("release is not completely pinned", why=warning)


def _reason(error: ConfigInvalid | ReleaseInvalid) -> str:
    """Return the reason as a sentence; several mistakes in a configuration follow, one a line."""
    begin = _REFUSED[type(error)]
    if isinstance(error, ConfigInvalid) and len(error.problems) > 1:
        return "\n".join([f"{begin} ({len(error.problems)} mistakes):", *error.shown])
    return f"{begin}: {error}"
