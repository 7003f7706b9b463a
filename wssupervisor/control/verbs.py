"""The table of verbs: one row for each verb of wssctl and each method of the control socket.

Beside its row are the types of its request, its answer, and the events before the answer. A row's
name is also that of the module that renders the verb, `commands/NAME.py`, and of the one
that answers its requests, `runtime/api/NAME.py`. Both programs load these modules by this table.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, NotRequired, TypedDict, TypeVar

from wssupervisor.control.documents import Event, OutOfRotation, PastReload, Status, Why
from wssupervisor.control.rights import Right
from wssupervisor.durations import ALLOWED

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Sent = TypeVar("Sent")

Duration = Annotated[str, ALLOWED]
"""Text such as "10min", as operators write it."""
ReloadId = Annotated[str, 'the id of a reload, such as "r3"']


class Empty(TypedDict):
    """A request without parameters; an answer or an event without content."""


@dataclass(frozen=True, slots=True)
class Verb(Generic[Request, Answer, Sent]):
    """`help` is empty for a method without a verb; `right` is None for a verb without a daemon.

    `event`: the type of what the daemon sends before its answer. A `repeatable` request has the
    same effect if it is sent again, which wssctl does if an upgrade cut it off.
    """

    name: str
    help: str
    right: Right | None
    request: type[Request]
    answer: type[Answer]
    event: type[Sent]
    repeatable: bool = False
    prints: bool = False
    """Whether the verb exists for its output, so that it fails if that cannot be written."""
    recorded: bool = False
    """Whether the verb reads the instance's record if no daemon runs."""


STATUS = Verb(
    "status",
    "show generations, workers, connections, drains and the last reload",
    Right.READ,
    Empty,
    Status,
    Empty,
    repeatable=True,
    prints=True,
)


class ReloadRequest(TypedDict):
    timeout: NotRequired[Duration | None]
    wait: NotRequired[bool]
    make_room: NotRequired[bool]


class AttemptEvent(TypedDict):
    """What happens during a reload: its id, first of all; then events and what it waits for."""

    reload: NotRequired[str]
    note: NotRequired[Event]
    waits_for: NotRequired[str | None]


class Attempted(TypedDict):
    """A cutover: all keys but `accepted`. A reload without wait: `reload` and `accepted`."""

    reload: str
    accepted: NotRequired[bool]
    ok: NotRequired[bool]
    generation: NotRequired[int | None]
    replaced: NotRequired[int | None]
    seconds: NotRequired[float]
    cutover_begun_monotonic: NotRequired[float | None]
    cutover_monotonic: NotRequired[float | None]
    warnings: NotRequired[list[str]]


RELOAD = Verb(
    "reload",
    "start a new generation and cut over to it, or report why not",
    Right.OPERATE,
    ReloadRequest,
    Attempted,
    AttemptEvent,
)


class RollbackRequest(TypedDict):
    timeout: NotRequired[Duration | None]


ROLLBACK = Verb(
    "rollback",
    "cut over to the generation that was active before this one",
    Right.OPERATE,
    RollbackRequest,
    Attempted,
    AttemptEvent,
)


class VerdictRequest(TypedDict):
    reload: ReloadId


VERDICT = Verb(
    "verdict",
    "",
    Right.READ,
    VerdictRequest,
    Attempted,
    Empty,
    repeatable=True,
)


class DrainRequest(TypedDict):
    """One of `within`, `pause` and `resume`."""

    generation: int
    within: NotRequired[Duration | None]
    pause: NotRequired[bool]
    resume: NotRequired[bool]


class DrainChange(TypedDict):
    """`seconds`: until its limit, None without one."""

    generation: int
    workers: int
    connections: int
    paused: bool
    seconds: float | None


DRAIN = Verb(
    "drain",
    "change how a draining generation ends",
    Right.OPERATE,
    DrainRequest,
    DrainChange,
    Empty,
    repeatable=True,
)


class ScaleRequest(TypedDict):
    workers: int


class Scale(TypedDict):
    workers: int
    before: int
    workers_configured: int
    shares_slots: bool


SCALE = Verb(
    "scale",
    "change the number of workers",
    Right.OPERATE,
    ScaleRequest,
    Scale,
    Empty,
    repeatable=True,
)


class LeaveRequest(TypedDict):
    lead: NotRequired[Duration | None]
    within: NotRequired[Duration | None]
    wait: NotRequired[bool]


class LeaveEvent(TypedDict):
    out_of_rotation: OutOfRotation | None


class Leave(TypedDict):
    """`seconds`: time out of rotation. `closes_in_seconds`: rest of the lead."""

    out_of_rotation: OutOfRotation | None
    empty: bool
    connections: int
    seconds: float
    closes_in_seconds: float


LEAVE = Verb(
    "leave",
    "take the instance out of its load balancer and wait until no connection is left",
    Right.OPERATE,
    LeaveRequest,
    Leave,
    LeaveEvent,
)


class Join(TypedDict):
    """`seconds`: time out of rotation, None for an instance that was not out."""

    was_out: bool
    seconds: float | None


JOIN = Verb(
    "join",
    "put the instance back into its load balancer",
    Right.OPERATE,
    Empty,
    Join,
    Empty,
    repeatable=True,
)


class StopRequest(TypedDict):
    within: NotRequired[Duration | None]


class Stop(TypedDict):
    stopped: bool


STOP = Verb(
    "stop",
    "stop the instance and all its workers",
    Right.OWN,
    StopRequest,
    Stop,
    Empty,
)


class UpgradeEvent(TypedDict):
    """Sent before the supervisor executes the new program."""

    before: str
    version: str
    executions: int


UPGRADE = Verb(
    "upgrade",
    "replace the running supervisor with the version on disk, without touching workers",
    Right.OWN,
    Empty,
    Empty,
    UpgradeEvent,
)


class WhyRequest(TypedDict):
    generation: int


WHY = Verb(
    "why",
    "show what keeps a generation alive, and when it may be empty",
    Right.READ,
    WhyRequest,
    Why,
    Empty,
    repeatable=True,
    prints=True,
)


class EventsRequest(TypedDict):
    """`last`: at most this many events. `follow`: continue until the instance has stopped."""

    since: NotRequired[Duration | None]
    last: NotRequired[int | None]
    follow: NotRequired[bool]


class Noted(TypedDict):
    """An event of the request `events`."""

    note: Event


EVENTS = Verb(
    "events",
    "show what happened, oldest first",
    Right.READ,
    EventsRequest,
    Empty,
    Noted,
    prints=True,
    recorded=True,
)


class HistoryRequest(TypedDict):
    since: NotRequired[Duration | None]


class History(TypedDict):
    reloads: list[PastReload]


HISTORY = Verb(
    "history",
    "show past reloads and rollbacks, their requesters and their results",
    Right.READ,
    HistoryRequest,
    History,
    Empty,
    repeatable=True,
    prints=True,
    recorded=True,
)


class MetricsRequest(TypedDict):
    json: NotRequired[bool]


class Metrics(TypedDict):
    """`text`, or `metrics` if the request asks for JSON."""

    text: NotRequired[str]
    metrics: NotRequired[list[dict[str, object]]]


METRICS = Verb(
    "metrics",
    "print the metrics as Prometheus text",
    Right.READ,
    MetricsRequest,
    Metrics,
    Empty,
    repeatable=True,
    prints=True,
)


def _local(name: str, about: str, *, prints: bool = False) -> Verb[Empty, Empty, Empty]:
    return Verb(name, about, None, Empty, Empty, Empty, prints=prints)


CHECK = _local("check", "check a configuration and show what it would run, without a daemon")
INIT = _local("init", "write the configuration and the unit drop-ins of a new instance")
COMPLETION = _local("completion", "print the completion script of a shell", prints=True)


VERBS: dict[str, Verb[Any, Any, Any]] = {
    row.name: row for row in dict(globals()).values() if isinstance(row, Verb)
}
"""All rows above, by name, in their order, which is that of `wssctl --help`."""
