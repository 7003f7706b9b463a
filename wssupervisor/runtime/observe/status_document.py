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


def _balance(one: ListenerView) -> str | None:
    """How new connections are spread over workers; None if the first to accept gets them."""
    if one.shared:
        return None
    return Balance.CLIENT.value if one.by_client else Balance.RANDOM.value


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


def _in_words(one: GenerationView) -> str:
    begin = f"generation {one.number} {one.state.value}, {count(len(one.workers), 'worker')}"
    before = "" if one.drain is None else f"{one.drain.connections_at_start} -> "
    return f"{begin}, {before}{count(one.connections, 'connection')}"


def _local(at: float) -> str:
    """A monotonic instant as systemctl shows it: local time with its offset."""
    return datetime.fromisoformat(wall(at)).astimezone().isoformat(" ", "seconds")


def _generation(
    one: GenerationView, order: dict[str, list[SlotId]], usage: Mapping[int, Use], now: float
) -> documents.Generation:
    found: documents.Generation = {
        "number": one.number,
        "state": one.state.value,
        "release": one.release,
        "started_at": wall(one.started_at),
        "active_since": None if one.active_since is None else wall(one.active_since),
        "connections": one.connections,
        "shares_slots": one.shares_slots,
        "workers": [_worker(worker, order, usage, now) for worker in one.workers],
    }
    if one.drain is not None:
        deadline = one.drain.deadline
        found["drain"] = {
            "since": wall(one.drain.since),
            "connections_at_start": one.drain.connections_at_start,
            "deadline": None if deadline is None else wall(deadline),
            "paused": one.drain.paused,
            "keep_until": None if one.drain.keep_until is None else wall(one.drain.keep_until),
            "estimate": estimate(
                one.drain.connections_at_start, one.connections, now - one.drain.since
            ),
        }
    return found


def _worker(
    one: WorkerView, order: dict[str, list[SlotId]], usage: Mapping[int, Use], now: float
) -> documents.Worker:
    use = None if one.pid is None else usage.get(one.pid)
    found: documents.Worker = {
        "index": one.id.index,
        "pid": one.pid,
        "slots": {name: order[name].index(slot) for name, slot in one.slots.items()},
        "state": one.state.value,
        "connections": one.connections,
        "reported": one.reported,
        "queued": one.queued,
        "library": one.library,
        "unresponsive_seconds": None
        if one.unresponsive_since is None
        else round(now - one.unresponsive_since, 1),
        "rss_bytes": _rss(one.pid),
        "cpu_seconds": None if use is None else round(use.seconds, 2),
        "cpu_percent": None if use is None else use.percent,
        "uptime_seconds": None if one.spawned_at is None else round(now - one.spawned_at, 1),
        "restarts": one.restarts,
        "sweeper": one.sweeper,
        "still_listens": one.still_listens,
    }
    if one.retry_at is not None:
        found["retry_at"] = wall(one.retry_at)
    if one.reason is not None:
        found["reason"] = one.reason
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
