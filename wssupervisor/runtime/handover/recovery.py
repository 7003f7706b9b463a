"""Finds what a supervisor that died left behind, so that this supervisor can take its place.

There are three sources: the saved state, systemd's store (sockets, and per worker a pidfd, its
output, its notify socket, its channel), and /proc. Sockets missing in the store are duplicated from
living workers (`pidfd_getfd`). The result is a document like that of a re-execution, and
`document.restore` reads it in the same way.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from wssupervisor import __version__
from wssupervisor.config.model import Config
from wssupervisor.errors import ConfigInvalid, OperationFailed
from wssupervisor.fleet.events import Recovered
from wssupervisor.fleet.model import Exit, SlotId, WorkerId
from wssupervisor.fleet.orders import Order
from wssupervisor.fleet.resuming import can_recover
from wssupervisor.fleet.state import State
from wssupervisor.runtime.fd_store import CONTROL, RestoredFds, slots_name, worker_name
from wssupervisor.runtime.handover import orphans
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.handover.found_slots import FoundSlots, NothingLeft
from wssupervisor.runtime.handover.found_workers import FoundWorkers
from wssupervisor.runtime.handover.state_file import SavedState, StateFile, Unusable
from wssupervisor.runtime.systemd import Passed
from wssupervisor.runtime.workers.handle import WorkerHandleState
from wssupervisor.runtime.workers.kin import Marks

log = structlog.get_logger()

Load = Callable[[str | None], Config]
"""Make the configuration from the text of its file; raises ConfigInvalid."""


@dataclass(frozen=True, slots=True)
class Found:
    """`exchanged`: lost slots, which no process held, with the slots bound in their place.

    `steered`: the steering was in force all the time; otherwise indexes have moved.
    """

    config: Config
    document: HandoverDocument
    at: float
    running: Mapping[WorkerId, int]
    gone: Mapping[WorkerId, Exit]
    orders: tuple[Order, ...]
    control: int | None
    steered: bool
    exchanged: Mapping[SlotId, SlotId]

    def event(self) -> Recovered:
        """The event for the fleet."""
        before = self.document.program
        return Recovered(__version__, before, self.running, self.gone, self.orders, self.exchanged)


def names_needed(found: Found) -> set[str]:
    """The names that must stay in systemd's store."""
    return {
        CONTROL,
        *(slots_name(one.pool.name) for one in found.document.listeners.listeners),
        *(worker_name(worker) for worker in found.running),
    }


def find(
    file: StateFile,
    name: str,
    passed: Sequence[Passed],
    stored: RestoredFds,
    notify_at: str,
    load: Load,
) -> Found | None:
    """Return what the last supervisor left, if it died while clients may be connected.

    None: it left nothing, or nothing that can be trusted (logged). Raises ListenFailed if living
    workers cannot be taken over.
    """
    try:
        saved = file.read(name)
        if saved is None:
            return None
        state = saved.document.load_fleet().state
        if not can_recover(state):
            log.info(
                "the last supervisor died before serving or in its stop: starting without its state"
            )
            return None
        config = load(saved.document.config_text)
        return _found(saved, state, config, notify_at, passed, stored)
    except NothingLeft:
        log.info(
            "the last supervisor died, and none of its workers is left: starting without its state"
        )
        return None
    except (Unusable, OperationFailed, ConfigInvalid) as error:
        place = file.set_aside()
        log.warning("state of the last supervisor is set aside", why=str(error), files=place)
        return None


def _found(
    saved: SavedState,
    state: State,
    config: Config,
    notify_at: str,
    passed: Sequence[Passed],
    stored: RestoredFds,
) -> Found:
    """Find everything that the saved state names. Raises Unusable, NothingLeft, ListenFailed."""
    workers = FoundWorkers(saved, state, notify_at)
    slots = FoundSlots(saved.document.listeners, state, config, workers)
    handles = workers.find(stored)
    try:
        listeners = slots.find(passed, stored)
    except BaseException:
        for handle in handles:
            for descriptor in handle.descriptors():
                os.close(descriptor)
        for ended in workers.ended_outputs:
            for descriptor in ended.output.descriptors():
                os.close(descriptor)
        raise
    orphans.end_strangers(workers.carriers, [worker.id for worker in state.workers()])
    marks = {handle.id: _marks(handle) for handle in handles}
    orphans.end_holders(frozenset(state.slots), marks, workers.living())
    crew = saved.document.supervisor.crew
    outputs = replace(crew.outputs, ended=tuple(workers.ended_outputs))
    crew = replace(crew, workers=handles, outputs=outputs)
    supervisor = replace(saved.document.supervisor, crew=crew)
    return Found(
        config,
        replace(saved.document, listeners=listeners, supervisor=supervisor),
        saved.at,
        workers.running,
        workers.gone,
        saved.orders,
        stored.take(CONTROL, "SOCK_STREAM"),
        steered=not slots.borrowed,
        exchanged=slots.exchanged,
    )


def slots_before(file: StateFile, name: str) -> frozenset[SlotId]:
    """The slots of a supervisor that died, from its saved state; empty without a usable state."""
    try:
        found = file.read(name)
        return frozenset() if found is None else frozenset(found.document.load_fleet().state.slots)
    except (Unusable, OperationFailed):
        return frozenset()


def _marks(worker: WorkerHandleState) -> Marks:
    inode, slots = os.fstat(worker.output.pipe).st_ino, frozenset(worker.slots.values())
    return Marks(worker.process.pid, worker.process.identity, inode, slots)
