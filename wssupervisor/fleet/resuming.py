"""Another program continues: after the supervisor re-executed itself, or died.

Decisions are in the state. What was under way is begun again, because its result is lost: a spawn,
a steering, a probe, the reading of a release.
"""

from collections.abc import Container, Iterator, Mapping

from wssupervisor.fleet import leftover, lifecycle, reloading, steering
from wssupervisor.fleet.actions import Action, Resolve, Spawn, Steer
from wssupervisor.fleet.events import Recovered, Reexecuted
from wssupervisor.fleet.model import Listener, SlotId, Table, WorkerId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import ReloadPhase, Seat, SlotWatch, State, Worker


def why_not(state: State) -> str | None:
    """Return why the supervisor cannot be re-executed now."""
    if state.stop is not None:
        return "the instance is stopping"
    if state.active is None:
        return "the instance has not started yet"
    return None


def resume(state: State, event: Reexecuted) -> Iterator[Action]:
    """Continue in the new program: repeat only what waits for an answer."""
    yield Note(NoteKind.REEXECUTED, {"version": event.version, "before": event.before})
    if state.reload is not None and state.reload.phase is ReloadPhase.RESOLVING:
        yield Resolve(state.reload.id)
    for generation in state.generations.values():
        for worker in generation.workers.values():
            yield from lifecycle.judge(worker, generation.policy)
            yield from leftover.judge(worker)


def can_recover(state: State) -> bool:
    """Whether a client may be connected that a fresh start would lose."""
    return state.active is not None and state.stop is None and not state.quit


def lose(state: State, event: Recovered) -> dict[WorkerId, int]:
    """Return workers that are gone, with their pids: no signal or message would reach them."""
    lost = {}
    for worker in state.workers():
        if worker.id in event.gone and worker.pid is not None:
            lost[worker.id], worker.pid = worker.pid, None
            lifecycle.library_disconnected(worker)
    return lost


def recover(
    state: State, event: Recovered, lost: Container[WorkerId], now: float
) -> Iterator[Action]:
    """Continue in place of a supervisor that died. Core handles workers that are `lost`.

    A reload that had not reached its cutover has failed; its requester has learned that, if only
    from systemd. A reload whose table may already be in force is completed.
    """
    yield _note(state, event)
    _exchange(state, event.exchanged)
    reload = state.reload
    if reload is not None:
        reload.request = None
        if reload.phase is not ReloadPhase.CUTTING:
            text = "the supervisor died while it was under way"
            yield from reloading.fail(state, text, now)
    if state.out_of_rotation is not None:
        state.out_of_rotation.waiting.clear()
        state.out_of_rotation.empty_rounds = 0
    for worker in list(state.workers()):
        if worker.id not in lost:
            yield from _find(state, worker, event, now)
    for action in event.orders:
        if action.worker in event.running and state.worker(action.worker) is not None:
            yield action
    yield from _steer_again(state)


def _exchange(state: State, slots: Mapping[SlotId, SlotId]) -> None:
    """Put another socket in the place of each lost one. No process holds a lost one."""
    if not slots:
        return
    for name, listener in state.listeners.items():
        own = tuple(slots.get(slot, slot) for slot in listener.slots)
        shared = None if listener.shared is None else slots.get(listener.shared, listener.shared)
        state.listeners[name] = Listener(name, own, shared)
    for lost, new in slots.items():
        del state.slots[lost]
        state.slots[new] = SlotWatch()
    for generation in state.generations.values():
        holders: list[Seat | Worker] = [*generation.seats, *generation.workers.values()]
        for holder in holders:
            holder.slots = {name: slots.get(slot, slot) for name, slot in holder.slots.items()}
        for sweeper in generation.workers.values():
            if sweeper.sweeps is not None:
                sweeper.sweeps = slots.get(sweeper.sweeps, sweeper.sweeps)
    own_tables = state.steering
    own_tables.current = _exchanged(own_tables.current, slots)
    own_tables.in_flight = _exchanged(own_tables.in_flight, slots)


def _exchanged(table: Table | None, slots: Mapping[SlotId, SlotId]) -> Table | None:
    if table is None:
        return None
    return Table(
        {
            name: {slots.get(slot, slot): weight for slot, weight in weights.items()}
            for name, weights in table.weights.items()
        },
        table.by_client,
    )


def _note(state: State, event: Recovered) -> Note:
    found = sum(1 for worker in state.workers() if worker.id in event.running)
    return Note(
        NoteKind.RECOVERED,
        {
            "version": event.version,
            "before": event.before,
            "workers": found,
            "gone": sum(1 for _ in state.workers()) - found,
        },
    )


def _find(state: State, worker: Worker, event: Recovered, now: float) -> Iterator[Action]:
    """Bring the worker up to date. A spawn without a known result is completed or repeated."""
    generation = state.generations[worker.id.generation]
    pid = event.running.get(worker.id)
    if pid is None and worker.pid is None and worker.state is not WorkerState.STOPPING:
        yield Spawn(worker.id, generation.release, dict(worker.slots), worker.watchdog)
    elif pid is not None and worker.pid is None:
        yield from lifecycle.spawned(worker, pid, generation.policy, now)
    elif pid is not None:
        yield from lifecycle.judge(worker, generation.policy)
        yield from leftover.judge(worker)
    # Its time counts from here: it may have been ready, or alive, while no supervisor listened.
    if worker.ready_by is not None:
        worker.ready_by = now + generation.policy.ready_timeout
    if worker.alive_at is not None:
        worker.alive_at = now
    if worker.drain is not None:
        worker.drain.empty_rounds = 0
    worker.lacks_slots = False


def _steer_again(state: State) -> Iterator[Action]:
    """Attach the last requested table: the kernel does not show which one is in force."""
    own = state.steering
    own.in_flight, own.current = own.in_flight or own.current, None
    if own.in_flight is None:
        return
    own.retry_at = None
    own.epoch += 1
    for watch in state.slots.values():  # any of them may just have been in a table
        watch.left_epoch = own.epoch
    yield Steer(own.epoch, own.in_flight, steering.pending_cutover(state))
