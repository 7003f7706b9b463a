"""What keeps a generation alive, for `wssctl why`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wssupervisor.control.documents import (
    Estimate,
    Why,
    WhyConnection,
    WhyDrain,
    WhyHelper,
    WhyPeer,
    WhyWorker,
)
from wssupervisor.durations import format_duration
from wssupervisor.fleet.estimate import Unknown, emptying
from wssupervisor.fleet.model import GenerationState, WorkerId, WorkerState
from wssupervisor.fleet.view import GenerationView, WorkerView
from wssupervisor.plural import count
from wssupervisor.runtime.clock import wall
from wssupervisor.runtime.kernel.inet_diag import Held, held
from wssupervisor.runtime.kernel.procfs import command_name
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.tcp_pool import TcpPool
from wssupervisor.runtime.workers.process import Process
from wssupervisor.runtime.workers.serving import by_process

PEERS_MAX = 50
CONNECTIONS_MAX = 50
HELPERS_MAX = 50
PEERS_NAMED = 3
"""Limits of an answer, in entries; the rest is counted."""

METHOD = "exponential decay through the counts at the drain's start and now"

NO_DRAIN: Estimate = {
    "empty_in_seconds": None,
    "unknown": "it does not drain",
    "method": METHOD,
}


KEEP_ALIVE_SECONDS = 60.0
"""A server of WebSockets pings its clients more often (uvicorn and websockets each 20 s), and a
client that waits for an answer was the last to send."""
KEEP_ALIVE = "idle keep-alive connection"


def looks_kept_alive(connection: Held, after: float = KEEP_ALIVE_SECONDS) -> bool:
    """Whether it was answered and then silent in both directions, like a proxy's idle connection.

    The kernel does not report whether it is a WebSocket. `after`: seconds of silence.
    """
    silent = connection.idle >= after and not connection.unread and not connection.unsent
    return silent and connection.answered


@dataclass(frozen=True, slots=True)
class SeenConnection:
    """A connection of a worker. `age`: its minimum in seconds; None before its first count."""

    worker: WorkerId
    socket: Held
    age: float | None


@dataclass(frozen=True, slots=True)
class Helper:
    """A process that holds connections which the process that accepted them has closed.

    `counted`: how many of them keep the generation, because their client is still there.
    """

    worker: WorkerId
    pid: int
    command: str
    connections: int
    counted: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What keeps some workers alive, read from the kernel."""

    connections: tuple[SeenConnection, ...] = ()
    helpers: tuple[Helper, ...] = ()
    hidden: tuple[int, ...] = ()
    """Processes that may not be inspected."""


def look(
    pools: Sequence[Pool], processes: Mapping[WorkerId, Process], first_seen: Mapping[int, float]
) -> Seen:
    """The TCP connections of these workers; AF_UNIX connections have no peer address.

    `first_seen`: when each was first counted, by inode. May run in a thread; raises OSError.
    """
    every = [pool.connections() for pool in pools]
    inodes = frozenset[int]().union(*(one.held for one in every))
    left = frozenset[int]().union(*(one.peer_left for one in every))
    sockets = {worker: process.sockets() for worker, process in processes.items()}
    helpers: list[Helper] = []
    abandoned: set[int] = set()
    for worker, process in processes.items():
        let_go = process.serving.look(sockets[worker], inodes, left)
        abandoned |= let_go.keys() & left
        counted = by_process(let_go, let_go.keys() - left)
        helpers += [
            Helper(worker, pid, command_name(pid), count, counted.get(pid, 0))
            for pid, count in by_process(let_go, let_go).items()
        ]
    owners = {
        inode: worker
        for worker, found in sockets.items()
        for own in found.values()
        for inode in own.keys() - abandoned
    }
    hidden = tuple(sorted({pid for process in processes.values() for pid in process.hidden()}))
    return Seen(tuple(_connections(pools, owners, first_seen)), tuple(helpers), hidden)


def _connections(
    pools: Sequence[Pool], owners: Mapping[int, WorkerId], first_seen: Mapping[int, float]
) -> Iterator[SeenConnection]:
    now = time.monotonic()
    for pool in pools:
        if isinstance(pool, TcpPool):
            own = pool.own.cookies
            for connection in held(pool.family, pool.port, pool.local_host):
                if connection.inode in owners and connection.cookie not in own:
                    seen = first_seen.get(connection.inode)
                    age = None if seen is None else round(now - seen, 1)
                    yield SeenConnection(owners[connection.inode], connection, age)


def document(generation: GenerationView, seen: Seen) -> Why:
    """The document of a generation, with what was seen of its workers."""
    connections = seen.connections
    now = time.monotonic()
    total, drain = generation.connections, generation.drain
    idlest = sorted(connections, key=lambda one: -one.socket.idle)
    return {
        "generation": generation.number,
        "state": generation.state.value,
        "release": generation.release,
        "connections": total,
        "reasons": [*_reasons(generation, total, now, seen), *_unseen(seen.hidden)],
        "workers": [_worker(one) for one in _living(generation)],
        "peers": _peers(connections),
        "peers_left_out": max(0, len({one.socket.peer for one in connections}) - PEERS_MAX),
        "helpers": [_helper(one) for one in seen.helpers[:HELPERS_MAX]],
        "longest_idle": [_connection(one) for one in idlest[:CONNECTIONS_MAX]],
        "drain": _drain(generation, now),
        "estimate": NO_DRAIN
        if drain is None
        else estimate(drain.connections_at_start, total, now - drain.since),
    }


def _living(generation: GenerationView) -> list[WorkerView]:
    return [one for one in generation.workers if one.state is not WorkerState.WAITING]


def _reasons(generation: GenerationView, connections: int, now: float, seen: Seen) -> list[str]:
    """Return the reasons in words, the most important first."""
    found = []
    match generation.state:
        case GenerationState.ACTIVE:
            found.append("it is active, so new connections go to it")
        case GenerationState.STARTING:
            found.append("it is starting")
        case GenerationState.FAILED:
            found.append("its workers are ending")
    if connections:
        found.append(count(connections, "open connection"))
    found += [
        f"among them, {count(one.counted, 'connection')} held open only by pid {one.pid}"
        f" ({one.command}). The process that accepted them has closed them, and their clients still"
        " wait for the close"
        for one in seen.helpers
        if one.counted
    ]
    found += _kept_alive(seen.connections)
    if any(one.paused for one in generation.workers):
        found.append(
            f"its drain is paused. Resume it with: wssctl drain {generation.number} --resume"
        )
    keep = now if generation.drain is None else generation.drain.keep_until or now
    if keep > now and generation.state is GenerationState.DRAINING:
        found.append(f"kept for a rollback for another {keep - now:.0f} s ([drain] keep)")
    if any(one.held_for_rollback for one in generation.workers):
        found.append("a rollback to it is running")
    if any(one.still_listens for one in generation.workers):
        found.append("a worker still listens on the shared listener and may get new connections")
    if not found:
        found.append("waiting for one more connection count before stopping")
    return found


def _kept_alive(connections: Sequence[SeenConnection]) -> Iterator[str]:
    """Connections that look idle, with what is known of them."""
    found = [connection.socket for connection in connections if looks_kept_alive(connection.socket)]
    if not found:
        return
    least = min(sock.idle for sock in found)
    received, sent = sum(sock.received for sock in found), sum(sock.sent for sock in found)
    peers = sorted({sock.peer for sock in found})
    shown = ", ".join(peers[:PEERS_NAMED]) + (", ..." if len(peers) > PEERS_NAMED else "")
    yield (
        f"among them, probably {count(len(found), 'idle keep-alive connection')} of a proxy or a"
        f" scraper (from {shown}): answered, then silent for at least {format_duration(least)},"
        f" with {received} bytes received and {sent} sent in total. WebSockets without pings look"
        " the same"
    )


def _unseen(hidden: Sequence[int]) -> list[str]:
    if not hidden:
        return []
    shown = ", ".join(map(str, hidden))
    text = (
        f"wssupervisor may not inspect pid {shown}, so all connections that were open when the"
        " drain began count until they close"
    )
    return [text]


def _worker(worker: WorkerView) -> WhyWorker:
    return {
        "index": worker.id.index,
        "pid": worker.pid,
        "state": worker.state.value,
        "connections": worker.connections,
        "reported": worker.reported,
        "queued": worker.queued,
    }


def _helper(helper: Helper) -> WhyHelper:
    return {
        "worker": helper.worker.index,
        "pid": helper.pid,
        "command": helper.command,
        "connections": helper.connections,
        "counted": helper.counted,
    }


def _peers(connections: Sequence[SeenConnection]) -> list[WhyPeer]:
    by_peer: dict[str, list[SeenConnection]] = {}
    for connection in connections:
        by_peer.setdefault(connection.socket.peer, []).append(connection)
    most = sorted(by_peer.items(), key=lambda item: -len(item[1]))[:PEERS_MAX]
    return [
        {
            "address": peer,
            "connections": len(found),
            "oldest_seconds": max(
                (connection.age for connection in found if connection.age is not None), default=None
            ),
            "idle_seconds_min": min(connection.socket.idle for connection in found),
            "idle_seconds_max": max(connection.socket.idle for connection in found),
        }
        for peer, found in most
    ]


def _connection(connection: SeenConnection) -> WhyConnection:
    return {
        "peer": connection.socket.peer,
        "port": connection.socket.port,
        "worker": connection.worker.index,
        "idle_seconds": connection.socket.idle,
        "age_at_least_seconds": connection.age,
        "unsent_bytes": connection.socket.unsent,
        "unread_bytes": connection.socket.unread,
        "received_bytes": connection.socket.received,
        "sent_bytes": connection.socket.sent,
        "answered": connection.socket.answered,
        "looks_like": KEEP_ALIVE if looks_kept_alive(connection.socket) else None,
    }


def _drain(generation: GenerationView, now: float) -> WhyDrain | None:
    drain, workers = generation.drain, _living(generation)
    if drain is None:
        return None
    deadline = drain.deadline
    return {
        "since": wall(drain.since),
        "seconds": round(now - drain.since, 1),
        "connections_at_start": drain.connections_at_start,
        "deadline": None if deadline is None else wall(deadline),
        "seconds_left": None if deadline is None else round(deadline - now, 1),
        "paused": drain.paused,
        "closes_on_request": all(one.library for one in workers),
        "closing": any(one.closing for one in workers),
    }


def estimate(at_start: int, connections: int, seconds: float) -> Estimate:
    """The end of a drain; `unknown` gives the reason if there is no estimate."""
    found = emptying(at_start, connections, seconds)
    if isinstance(found, Unknown):
        return {"empty_in_seconds": None, "unknown": found.reason, "method": METHOD}
    return {
        "empty_in_seconds": round(found.empty_in),
        "half_life_seconds": round(found.half_life),
        "unknown": None,
        "method": METHOD,
    }
