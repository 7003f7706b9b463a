"""The types of the JSON documents of `status`, `why`, `history` and `events`.

docs/reference describes their keys, and a test compares its pages with these types. A key that a
later version adds must be `NotRequired`: until `wssctl upgrade`, an older daemon answers. The small
answers of other verbs are beside their rows in verbs.py.
"""

from typing import NotRequired, TypedDict

Instant = str
"""UTC in ISO 8601: "2026-11-26T09:48:37.120Z"."""


# -- what happened -----------------------------------------------------------------------------


class Event(TypedDict):
    """An entry of the history. The fields beside `at` and `kind` depend on the kind.

    Only those that the history of reloads and the status read are listed here.
    """

    at: Instant
    kind: str
    attempt: NotRequired[str | None]
    by: NotRequired[str | None]
    by_pid: NotRequired[int | None]
    connections: NotRequired[int | None]
    expected: NotRequired[bool | None]
    forced: NotRequired[int | bool | None]
    generation: NotRequired[int | None]
    lost: NotRequired[int | None]
    reason: NotRequired[str | None]
    release: NotRequired[str | None]
    reload: NotRequired[str | None]
    replaced: NotRequired[int | None]
    seconds: NotRequired[float | None]
    stopped: NotRequired[bool | None]
    via: NotRequired[str | None]


class ReloadDrain(TypedDict):
    """What became of the generation that a reload replaced."""

    state: str
    seconds: float | None
    connections: int | None
    drained: int | None
    forced: int | None
    lost: int | None


class PastReload(TypedDict):
    """A reload or rollback of the history."""

    at: Instant
    id: str
    kind: str
    via: str | None
    by: str | None
    by_pid: int | None
    release: str | None
    ok: bool | None
    reason: str | None
    generation: int | None
    replaced: int | None
    seconds: float | None
    drain: ReloadDrain | None


# -- status ------------------------------------------------------------------------------------


class OutOfRotation(TypedDict):
    since: Instant
    by: str | None
    closes_from: Instant
    limit: Instant | None
    connections: int
    waited_for: int
    emptied_at: Instant | None


class Listener(TypedDict):
    name: str
    address: str
    mode: str
    mode_reason: str | None
    balance: str | None
    source: str
    survives_supervisor: bool
    slots: int
    slots_before: int | None
    free_slots: int
    queued: int


class Worker(TypedDict):
    index: int
    pid: int | None
    slots: dict[str, int]
    state: str
    connections: int
    reported: int | None
    queued: int
    library: bool
    unresponsive_seconds: float | None
    rss_bytes: int | None
    cpu_seconds: float | None
    cpu_percent: float | None
    uptime_seconds: float | None
    restarts: int
    sweeper: bool
    still_listens: bool
    retry_at: NotRequired[Instant]
    reason: NotRequired[str]


class Estimate(TypedDict):
    """Of the end of a drain; `half_life_seconds` is missing if `unknown` gives a reason."""

    empty_in_seconds: int | None
    half_life_seconds: NotRequired[int]
    unknown: str | None
    method: str


class Drain(TypedDict):
    since: Instant
    connections_at_start: int | None
    deadline: Instant | None
    paused: bool
    keep_until: Instant | None
    estimate: Estimate


class Generation(TypedDict):
    number: int
    state: str
    release: str
    started_at: Instant
    active_since: Instant | None
    connections: int
    shares_slots: bool
    workers: list[Worker]
    drain: NotRequired[Drain]


class LastReload(TypedDict):
    id: str
    kind: str
    ok: bool
    generation: int | None
    reason: str | None
    started_at: Instant
    seconds: float


class Status(TypedDict):
    name: str
    version: str
    pid: int
    executions: int
    state: str
    uptime_seconds: float
    workers_wanted: int
    workers_configured: int
    waits_for: str | None
    out_of_rotation: OutOfRotation | None
    listeners: list[Listener]
    generations: list[Generation]
    last_reload: LastReload | None


# -- why ---------------------------------------------------------------------------------------


class WhyWorker(TypedDict):
    index: int
    pid: int | None
    state: str
    connections: int
    reported: int | None
    queued: int


class WhyPeer(TypedDict):
    address: str
    connections: int
    oldest_seconds: float | None
    idle_seconds_min: float
    idle_seconds_max: float


class WhyHelper(TypedDict):
    worker: int
    pid: int
    command: str
    connections: int
    counted: int


class WhyConnection(TypedDict):
    peer: str
    port: int
    worker: int
    idle_seconds: float
    age_at_least_seconds: float | None
    unsent_bytes: int
    unread_bytes: int
    received_bytes: int
    sent_bytes: int
    answered: bool
    looks_like: str | None


class WhyDrain(TypedDict):
    since: Instant
    seconds: float
    connections_at_start: int | None
    deadline: Instant | None
    seconds_left: float | None
    paused: bool
    closes_on_request: bool
    closing: bool


class Why(TypedDict):
    generation: int
    state: str
    release: str
    connections: int
    reasons: list[str]
    workers: list[WhyWorker]
    peers: list[WhyPeer]
    peers_left_out: int
    helpers: list[WhyHelper]
    longest_idle: list[WhyConnection]
    drain: WhyDrain | None
    estimate: Estimate
