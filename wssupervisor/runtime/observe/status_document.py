"""The document of `wssctl status --json` (docs/reference/status.md), from view and observations."""

import os
import time
from collections.abc import Mapping
from datetime import datetime

import psutil

from wssupervisor import __version__
from wssupervisor.config.model import Balance
from wssupervisor.control import documents
from wssupervisor.control.documents import LastReload, OutOfRotation, Status
from wssupervisor.fleet.model import SlotId
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.state import Verdict
from wssupervisor.fleet.view import FleetView, GenerationView, ListenerView, WorkerView
from wssupervisor.plural import count
from wssupervisor.runtime.clock import wall
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.observe.usage import Use
from wssupervisor.runtime.observe.why_document import estimate


def document(
    name: str,
    view: FleetView,
    listeners: ListenerSet,
    executions: int,
    usage: Mapping[int, Use],
    *,
    stored: bool,
) -> Status:
    """Return one JSON object, whose keys are stable. `usage`: of workers' main processes, by pid.

    `stored`: systemd holds the sockets that we bound, so that they survive us.
    """
    now = time.monotonic()
    order = {one.name: list(one.slots) for one in view.listeners}
    order |= {name: steering.order for name, steering in listeners.steerings.items()}
    return {
        "name": name,
        "version": __version__,
        "pid": os.getpid(),
        "executions": executions,
        "state": view.state.value,
        "uptime_seconds": round(now - view.started_at, 1),
        "workers_wanted": view.workers_wanted,
        "workers_configured": view.workers_configured,
        "waits_for": view.waits_for,
        "out_of_rotation": out_of_rotation(view),
        "listeners": [
            {
                "name": one.name,
                "address": listeners.pools[one.name].address,
                "mode": "shared" if one.shared else "steered",
                "mode_reason": listeners.pools[one.name].why_shared,
                "balance": _balance(one),
                "source": listeners.pools[one.name].source,
                "survives_supervisor": stored or listeners.pools[one.name].source == "systemd",
                "slots": len(one.slots),
                "slots_before": listeners.slots_before.get(one.name),
                "free_slots": one.free,
                "queued": one.queued,
            }
            for one in view.listeners
        ],
        "generations": [_generation(one, order, usage, now) for one in view.generations],
        "last_reload": _verdict(view.verdict),
    }


def _balance(listener: ListenerView) -> str | None:
    """How new connections are spread over workers; None if the first to accept gets them."""
    if listener.shared:
        return None
    return Balance.CLIENT.value if listener.by_client else Balance.RANDOM.value


def out_of_rotation(view: FleetView) -> OutOfRotation | None:
    """The leave that is in force; None while the instance is in its load balancer."""
    out = view.out_of_rotation
    if out is None:
        return None
    return {
        "since": wall(out.since),
        "by": out.by,
        "closes_from": wall(out.asks_from),
        "limit": None if out.deadline is None else wall(out.deadline),
        "connections": out.connections,
        "waited_for": out.waited_for,
        "emptied_at": None if out.emptied_at is None else wall(out.emptied_at),
    }


def headline(view: FleetView, listeners: ListenerSet) -> str:
    """The instance in one line for `systemctl status`: what is active, drains or failed.

    The reason of a failed reload comes last, because the end may be cut off.
    """
    parts = [view.state.value]
    if view.out_of_rotation is not None:
        parts.append(f"out of its load balancer since {_local(view.out_of_rotation.since)}")
    draining = [one for one in view.generations if one.drain is not None]
    parts += [_in_words(one) for one in view.generations if one.drain is None]
    if len(draining) > DRAINS_SHOWN:
        left = sum(one.connections for one in draining)
        parts.append(f"{len(draining)} generations draining, {count(left, 'connection')}")
    else:
        parts += [_in_words(one) for one in draining]
    for name, before in listeners.slots_before.items():
        parts.append(f"{name} has {len(listeners.pools[name].slots)} slots, had {before}")
    if view.verdict is not None and not view.verdict.ok:
        parts.append(f"last {_KINDS[view.verdict.kind.value]} FAILED: {view.verdict.reason}")
    return "; ".join(parts)


DRAINS_SHOWN = 1
"""Further draining generations are only counted: the reason of a failed reload needs the room."""
_KINDS = {"start": "start", "reload": "reload", "rollback": "rollback"}


def _in_words(generation: GenerationView) -> str:
    workers = count(len(generation.workers), "worker")
    begin = f"generation {generation.number} {generation.state.value}, {workers}"
    before = "" if generation.drain is None else f"{generation.drain.connections_at_start} -> "
    return f"{begin}, {before}{count(generation.connections, 'connection')}"


def _local(at: float) -> str:
    """A monotonic instant as systemctl shows it: local time with its offset."""
    return datetime.fromisoformat(wall(at)).astimezone().isoformat(" ", "seconds")


def _generation(
    generation: GenerationView, order: dict[str, list[SlotId]], usage: Mapping[int, Use], now: float
) -> documents.Generation:
    found: documents.Generation = {
        "number": generation.number,
        "state": generation.state.value,
        "release": generation.release,
        "started_at": wall(generation.started_at),
        "active_since": None if generation.active_since is None else wall(generation.active_since),
        "connections": generation.connections,
        "shares_slots": generation.shares_slots,
        "workers": [_worker(worker, order, usage, now) for worker in generation.workers],
    }
    if generation.drain is not None:
        deadline = generation.drain.deadline
        found["drain"] = {
            "since": wall(generation.drain.since),
            "connections_at_start": generation.drain.connections_at_start,
            "deadline": None if deadline is None else wall(deadline),
            "paused": generation.drain.paused,
            "keep_until": None
            if generation.drain.keep_until is None
            else wall(generation.drain.keep_until),
            "estimate": estimate(
                generation.drain.connections_at_start,
                generation.connections,
                now - generation.drain.since,
            ),
        }
    return found


def _worker(
    worker: WorkerView, order: dict[str, list[SlotId]], usage: Mapping[int, Use], now: float
) -> documents.Worker:
    use = None if worker.pid is None else usage.get(worker.pid)
    found: documents.Worker = {
        "index": worker.id.index,
        "pid": worker.pid,
        "slots": {name: order[name].index(slot) for name, slot in worker.slots.items()},
        "state": worker.state.value,
        "connections": worker.connections,
        "reported": worker.reported,
        "queued": worker.queued,
        "library": worker.library,
        "unresponsive_seconds": None
        if worker.unresponsive_since is None
        else round(now - worker.unresponsive_since, 1),
        "rss_bytes": _rss(worker.pid),
        "cpu_seconds": None if use is None else round(use.seconds, 2),
        "cpu_percent": None if use is None else use.percent,
        "uptime_seconds": None if worker.spawned_at is None else round(now - worker.spawned_at, 1),
        "restarts": worker.restarts,
        "sweeper": worker.sweeper,
        "still_listens": worker.still_listens,
    }
    if worker.retry_at is not None:
        found["retry_at"] = wall(worker.retry_at)
    if worker.reason is not None:
        found["reason"] = worker.reason
    return found


def _rss(pid: int | None) -> int | None:
    """Resident memory of the main process; None after its end."""
    try:
        return None if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _verdict(verdict: Verdict | None) -> LastReload | None:
    if verdict is None:
        return None
    return {
        "id": reload_name(verdict.reload),
        "kind": verdict.kind.value,
        "ok": verdict.ok,
        "generation": verdict.generation,
        "reason": verdict.reason,
        "started_at": wall(verdict.began_at),
        "seconds": round(verdict.seconds, 3),
    }
