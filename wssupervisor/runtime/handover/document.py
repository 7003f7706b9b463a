"""What one program saves and the next restores: `save` and `restore` here list all of it.

Each class with state has a state class next to it: `save()` returns a state, and `restore(state)`,
or a constructor that takes it as `saved`, makes the object again. A program restores in two cases:

- after a re-execution, in the same process: the document is in a memfd, and descriptors keep their
  numbers, because `execv` keeps the process, its children and its open files;
- after a death: the document is in the state file, and `recovery` has replaced its descriptors with
  those that systemd held, or that living workers share.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from wssupervisor import __version__
from wssupervisor.config.model import Config
from wssupervisor.control.control_socket import ControlSocket, ControlState
from wssupervisor.errors import OperationFailed
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.snapshot import FleetDump, SnapshotInvalid, dump, load, plain, typed
from wssupervisor.runtime.background import Reread
from wssupervisor.runtime.fd_store import FdStore
from wssupervisor.runtime.history.history import History, HistoryState
from wssupervisor.runtime.listeners.listener_set import ListenerSet, ListenerSetState
from wssupervisor.runtime.listeners.pool import PoolState
from wssupervisor.runtime.monitoring.pages import HttpPages
from wssupervisor.runtime.monitoring.scrape import Scrape
from wssupervisor.runtime.observe.watch import Watch, WatchState
from wssupervisor.runtime.supervisor import Supervisor, SupervisorState
from wssupervisor.runtime.systemd import ServiceNotifier

VERSION = 1
"""Version of the format; the program on trial refuses a version that it cannot read."""
READ_BYTES = 1 << 20
NOTIFY = ".notify"
"""Appended to the control socket's path: prefix of each worker's NOTIFY_SOCKET."""


@dataclass(frozen=True, slots=True)
class HandoverDocument:
    """Instants are CLOCK_MONOTONIC, which an upgrade does not reset. `http` None: no socket."""

    version: int
    program: str
    config_text: str | None
    fleet: FleetDump
    listeners: ListenerSetState
    supervisor: SupervisorState
    history: HistoryState
    watch: WatchState
    control: ControlState
    http: PoolState | None

    def load_fleet(self) -> Fleet:
        """Return the saved fleet. Raises OperationFailed if it cannot be read."""
        try:
            return load(self.fleet)
        except SnapshotInvalid as error:
            raise OperationFailed(f"its state cannot be taken over: {error}") from error

    def descriptors(self) -> Iterator[int]:
        """All descriptors that must stay open across `execv`."""
        for listener in self.listeners.listeners:
            yield from listener.pool.all_descriptors()
        for worker in self.supervisor.crew.workers:
            yield from worker.descriptors()
        for ended in self.supervisor.crew.outputs.ended:
            yield from ended.output.descriptors()
        yield from self.control.descriptors()
        if self.http is not None:
            yield from self.http.all_descriptors()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of an instance get at each start, and do not save."""

    config: Config
    path: str
    """Path of the control socket."""
    reread: Reread
    store: FdStore
    notifier: ServiceNotifier
    keep: Callable[[Sequence[Action]], object]
    """Save the state, and the actions that are about to be done; never raises."""
    mend: Callable[[], object]
    """Recreate files that were deleted; never raises."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects of an instance whose state outlives the program."""

    config_text: str | None
    """The text of the configuration file."""
    supervisor: Supervisor
    history: History
    watch: Watch
    control: ControlSocket
    http: HttpPages
    scrape: Scrape


def save(parts: Parts, *, lean: bool) -> HandoverDocument:
    """The whole state; `lean`: only what decisions depend on, which is saved at each step.

    Unless lean, waits a moment until the history's file is written.
    """
    supervisor = parts.supervisor
    return HandoverDocument(
        version=VERSION,
        program=__version__,
        config_text=parts.config_text,
        fleet=dump(supervisor.fleet),
        listeners=supervisor.listeners.save(),
        supervisor=supervisor.save(lean=lean),
        history=HistoryState() if lean else parts.history.save(),
        watch=parts.watch.save(lean=lean),
        control=parts.control.save(),
        http=None if lean else parts.http.save(),
    )


def restore(
    saved: HandoverDocument,
    around: Surroundings,
    made: AsyncExitStack,
    claimed: ControlSocket | None = None,
) -> Parts:
    """Make the objects of a saved state; `made` closes them if the start fails.

    `claimed`: the control socket after a death. Then nothing was attached or re-bound yet, and the
    steering in force stays as it is. None: after a re-execution, which attaches the steering again.

    Raises OperationFailed, SteeringRefused.
    """
    control = claimed or ControlSocket.restore(around.path, saved.control)
    listeners = ListenerSet.restore(
        saved.listeners, backlogs(around.config), attach=claimed is None
    )
    made.callback(listeners.close)
    fleet = saved.load_fleet()
    return _parts(around, made, saved.config_text, fleet, listeners, control, saved)


def begin(
    config_text: str | None,
    fleet: Fleet,
    listeners: ListenerSet,
    control: ControlSocket,
    around: Surroundings,
    made: AsyncExitStack,
) -> Parts:
    """The parts of an instance that restores nothing. Raises ListenFailed."""
    return _parts(around, made, config_text, fleet, listeners, control, None)


def _parts(
    around: Surroundings,
    made: AsyncExitStack,
    config_text: str | None,
    fleet: Fleet,
    listeners: ListenerSet,
    control: ControlSocket,
    saved: HandoverDocument | None,
) -> Parts:
    """The parts, each with its state in `saved`. May raise ListenFailed if `saved` is None."""
    history = History(around.path, None if saved is None else saved.history)
    made.callback(history.close)

    def look() -> object:
        return watch.glance()

    supervisor = Supervisor(
        around.config,
        around.reread,
        listeners,
        fleet,
        around.path + NOTIFY,
        around.store,
        history,
        look=look,
        keep=around.keep,
        saved=None if saved is None else saved.supervisor,
    )
    watch = Watch(supervisor, around.notifier, around.mend, None if saved is None else saved.watch)
    scrape = Scrape(supervisor, watch)
    http = HttpPages(
        around.config.http,
        supervisor,
        scrape,
        may_wait=saved is not None,
        saved=None if saved is None else saved.http,
    )
    made.push_async_callback(http.close)
    return Parts(config_text, supervisor, history, watch, control, http, scrape)


def backlogs(config: Config) -> Mapping[str, int]:
    """Return the limit of a slot's queue (its backlog), by listener."""
    return {one.name: one.backlog for one in config.listeners}


def write(document: HandoverDocument) -> int:
    """A memfd with the document; the caller owns it. Raises OSError."""
    memfd = os.memfd_create("wssupervisor-state", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(memfd), "w", encoding="utf-8") as file:
            json.dump(plain(document), file)
    except BaseException:
        os.close(memfd)
        raise
    return memfd


def read(memfd: int) -> HandoverDocument:
    """The document in a memfd. Raises OperationFailed with what is wrong."""
    text = b""
    while piece := os.pread(memfd, READ_BYTES, len(text)):
        text += piece
    try:
        data = json.loads(text)
        version = data["version"]
        if version != VERSION:
            raise OperationFailed(
                f"its state has version {version!r}, wssupervisor {__version__} knows {VERSION}"
            )
        document: HandoverDocument = typed(HandoverDocument, data)
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise OperationFailed(f"its state cannot be read: {error!r}") from error
    return document
