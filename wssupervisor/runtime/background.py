"""What takes longer than a moment: probing a worker, reading the release of a reload."""

import asyncio
from collections.abc import Callable, Sequence

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
from wssupervisor.runtime.io_threads import Aside
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.releases.unpinned import unpinned
from wssupervisor.runtime.workers import leftover, readiness
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
"""Releases of reloads that were given up are still being read, perhaps for ever."""

Reread = Callable[[], Config]
"""Read the configuration again; raises ConfigInvalid."""


class BackgroundTasks:
    """Each is a task whose result is posted; whatever goes wrong must not end what serves."""

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
        """`look`: read the sockets now, before a result is posted that depends on them."""
        self._tasks = tasks
        self._look = look
        self._config = config
        self._reread = reread
        self._listeners = listeners
        self._crew = crew
        self._post = post
        self._aside = Aside(READ_AT_ONCE_MAX, READ_SECONDS)
        self._probes: dict[WorkerId, asyncio.Task[None]] = {}
        self.warnings: dict[int, list[str]] = {}
        """What the last reload's release is not pinned in, by the reload's number."""

    def probe(self, action: Probe) -> None:
        """Begin to find out whether a worker accepts connections."""
        task = self._tasks.create_task(self._probe(action))
        self._probes[action.worker] = task
        task.add_done_callback(lambda _: self._probes.pop(action.worker, None))

    def end_probe(self, worker: WorkerId) -> None:
        """The result is no longer needed."""
        if probe := self._probes.pop(worker, None):
            probe.cancel()

    def end_probes(self) -> None:
        for worker in list(self._probes):
            self.end_probe(worker)

    def judge(self, action: JudgeLeftover) -> None:
        """Begin to find out whether what is left of a worker serves."""
        self.end_probe(action.worker)
        task = self._tasks.create_task(self._judge(action))
        self._probes[action.worker] = task
        task.add_done_callback(lambda _: self._probes.pop(action.worker, None))

    def resolve(self, reload: int) -> None:
        """Begin to read the release of a reload."""
        self._tasks.create_task(self._resolve(reload))

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
                log.exception("probe stumbled")
            self._post(ProbeFailed(action.worker, bounded(f"could not be probed: {error}")))
        else:
            self._post(ProbePassed(action.worker))

    async def _judge(self, action: JudgeLeftover) -> None:
        process = self._crew.process(action.worker)
        if process is None:
            return
        try:
            serves = await leftover.serves(self._listeners, process, action)
        except Exception as error:
            if not isinstance(error, WssError | OSError):
                log.exception("judging what is left of a worker stumbled")
            log.warning("cannot judge what is left of a worker", why=str(error))
            serves = process.serving.acceptor is not Acceptor.MAIN
        self._look()  # a probe of ours may have been in its queue
        self._post(LeftoverJudged(action.worker, serves))

    async def _resolve(self, reload: int) -> None:
        try:
            release, policy, warnings = await self._aside.do(
                "reading the release", self._read_release
            )
        except (ConfigInvalid, ReleaseInvalid) as error:
            self._post(ReleaseRefused(reload, _reason(error)))
            return
        except OperationFailed as error:
            self._post(ReleaseRefused(reload, str(error)))
            return
        except Exception as error:
            log.exception("reload stumbled")
            text = bounded(f"the release could not be read: {error!r}")
            self._post(ReleaseRefused(reload, text))
            return
        self.warnings = {reload: warnings}
        warn_unpinned(warnings)
        self._look()  # a slot that was freed a moment ago counts
        self._post(ReleaseResolved(reload, release, policy))

    def _read_release(self) -> tuple[Release, Policy, list[str]]:
        config = self._reread()
        changed = restart_needed(self._config, config)
        if changed:
            keys = ", ".join(changed)
            text = f"{keys} changed, which needs a restart; restart the instance, or put it back"
            raise ConfigInvalid([text])
        release = resolve(config)
        return release, config.policy(), bounded_all(unpinned(release), UNPINNED_REST)


def warn_unpinned(warnings: Sequence[str]) -> None:
    for warning in bounded_all(warnings, UNPINNED_REST):
        log.warning("release is not pinned as a whole", why=warning)


def _reason(error: ConfigInvalid | ReleaseInvalid) -> str:
    """A sentence; several mistakes of a configuration have a line each below it."""
    begin = _REFUSED[type(error)]
    if isinstance(error, ConfigInvalid) and len(error.problems) > 1:
        return "\n".join([f"{begin} ({len(error.problems)} mistakes):", *error.shown])
    return f"{begin}: {error}"
