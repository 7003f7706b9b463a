"""What is recorded: one row for each kind of note, and the note itself.

`wssctl events` calls a recorded note an event. A new kind is a row here, and the code that makes
the note; severity in the log, message id in the journal, the sentence that commands print, and a
counter in the metrics all follow from the row. docs/internals/adding.md shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self


class Severity(Enum):
    """How a note is logged (WARNING and FAILURE as warnings) and coloured."""

    PLAIN = "plain"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


PLAIN, SUCCESS, WARNING, FAILURE = Severity


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter of a kind's notes, without the prefix `wssupervisor_`; `help`: a sentence."""

    name: str
    help: str


class NoteKind(Enum):
    """The value is what `wssctl events --json` prints as `kind`.

    `sentence`: its fields are the note's own, as commands/sentences.py words them. `message_id`:
    fixed for good, for `journalctl MESSAGE_ID=…`, with a text in packaging/journal.
    """

    severity: Severity
    sentence: str
    message_id: str | None
    metric: Metric | None

    def __new__(
        cls,
        value: str,
        severity: Severity,
        sentence: str,
        message_id: str | None = None,
        metric: Metric | None = None,
    ) -> Self:
        made = object.__new__(cls)
        made._value_ = value
        made.severity, made.sentence = severity, sentence
        made.message_id, made.metric = message_id, metric
        return made

    @classmethod
    def named(cls, value: str) -> Self | None:
        """Return the kind with this value; None for a kind that only another version knows."""
        return next((kind for kind in cls if kind.value == value), None)

    STARTED = (
        "started",
        SUCCESS,
        "generation {generation} is active, the first since this start",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a301",
    )
    RELOAD_BEGUN = (
        "reload-begun",
        PLAIN,
        "reload {reload} begins, requested by {who}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a302",
    )
    ROLLBACK_BEGUN = (
        "rollback-begun",
        PLAIN,
        "rollback {reload} to generation {to} begins, requested by {who}",
    )
    RELOAD_FAILED = (
        "reload-failed",
        FAILURE,
        "{attempt} {reload} FAILED: {reason}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a303",
    )
    RELOAD_REFUSED = ("reload-refused", WARNING, "a reload was refused: {reason}")
    WORKER_SPAWNED = (
        "worker-spawned",
        PLAIN,
        "{worker} starts as pid {pid}",
        None,
        Metric("workers_spawned_total", "Workers started."),
    )
    WORKER_READY = ("worker-ready", PLAIN, "{worker} is ready after {seconds}")
    WORKER_EXITED = (
        "worker-exited",
        PLAIN,
        "{worker} {reason}{connections}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a305",
    )
    MAIN_PROCESS_ENDED = (
        "main-process-ended",
        WARNING,
        "{worker}: its main process {reason}{connections}; its other processes keep running",
    )
    LEFTOVER_SERVES = (
        "leftover-serves",
        PLAIN,
        "{worker}: its remaining processes keep serving{connections}",
    )
    LEFTOVER_ENDED = (
        "leftover-ended",
        PLAIN,
        "{worker}: its remaining processes are being stopped, {reason}{connections}",
    )
    WORKER_STALLED = (
        "worker-stalled",
        WARNING,
        "{worker} stopped accepting and was taken out of rotation: {reason}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a306",
        Metric(
            "workers_stalled_total",
            "Times that a worker was taken out of rotation because it accepted no connections.",
        ),
    )
    WORKER_UNRESPONSIVE = (
        "worker-unresponsive",
        WARNING,
        "{worker} has sent no heartbeat for {seconds}{connections}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30c",
        Metric(
            "workers_unresponsive_total",
            "Times that a worker sent no heartbeat for [watchdog] interval.",
        ),
    )
    WORKER_RECOVERED = (
        "worker-recovered",
        PLAIN,
        "{worker} sends heartbeats again after {seconds}",
    )
    WORKER_ACCEPTS = ("worker-accepts", PLAIN, "{worker} accepts again after {seconds}")
    STALL_REPLACED = (
        "stall-replaced",
        WARNING,
        "{worker} has not accepted for {seconds}: starting a replacement",
    )
    STALL_NOT_REPLACED = (
        "stall-not-replaced",
        WARNING,
        "{worker} does not accept and is not being replaced: {reason}",
    )
    WORKER_RETRY = ("worker-retry", PLAIN, "{worker} will be restarted in {seconds}")
    WORKER_DRAINED = ("worker-drained", PLAIN, "{worker} is empty after {seconds}")
    WORKER_KILLED = ("worker-killed", WARNING, "{worker} is being killed{connections}")
    CUTOVER = (
        "cutover",
        SUCCESS,
        "generation {generation} is active, replacing {replaced} ({reload}, {seconds})",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a304",
    )
    DRAIN_BEGUN = (
        "drain-begun",
        PLAIN,
        "generation {generation} is draining{connections}",
        None,
        Metric("drains_begun_total", "Drains that began."),
    )
    DRAIN_LIMIT = (
        "drain-limit",
        WARNING,
        "{worker} has reached the limit of its drain{connections}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a308",
    )
    DRAIN_CUT_SHORT = (
        "drain-cut-short",
        WARNING,
        "ending generation {generation} early to make room{closing}",
    )
    DRAIN_PAUSED = ("drain-paused", PLAIN, "the drain of generation {generation} is paused")
    DRAIN_RESUMED = ("drain-resumed", PLAIN, "the drain of generation {generation} continues")
    RELEASING_SOCKETS = (
        "releasing-sockets",
        PLAIN,
        "generation {generation} is asked to stop accepting on its shared listener",
    )
    STILL_LISTENS = (
        "still-listens",
        WARNING,
        "{worker} still listens on the shared listener and may get new connections",
    )
    SCALED = ("scaled", PLAIN, "scaled from {before} to {workers}")
    LEFT = (
        "left",
        PLAIN,
        "out of its load balancer, requested by {who}{connections}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30d",
    )
    LEAVE_LIMIT = (
        "leave-limit",
        WARNING,
        "the leave reached its limit after {seconds}{connections}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a310",
    )
    EMPTIED = (
        "emptied",
        PLAIN,
        "no connections left, {seconds} after the leave began",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30f",
    )
    JOINED = (
        "joined",
        PLAIN,
        "back in its load balancer after {seconds}, requested by {who}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30e",
    )
    GENERATION_RETIRED = (
        "generation-retired",
        PLAIN,
        "generation {generation} has ended{outcome}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a307",
    )
    SWEEPER_STARTED = (
        "sweeper-started",
        PLAIN,
        "starting a sweeper for {queued_connections} queued on an unowned slot",
    )
    STEERING_FAILED = (
        "steering-failed",
        FAILURE,
        "new connections could not be steered: {reason}",
        None,
        Metric(
            "steering_failures_total",
            "Times that new connections could not be steered as decided; each is retried.",
        ),
    )
    REEXECUTED = (
        "re-executed",
        PLAIN,
        "the supervisor re-executed itself: version {version}, was {before}",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a309",
        Metric("supervisor_upgrades_total", "Times that the supervisor re-executed itself."),
    )
    RECOVERED = (
        "recovered",
        WARNING,
        "a supervisor took over from one that died: {workers} still running, {gone} gone",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30a",
        Metric(
            "supervisor_recoveries_total",
            "Times that a supervisor replaced one that had died, and kept its workers.",
        ),
    )
    STOP_BEGUN = ("stop-begun", PLAIN, "the instance is stopping")
    STOPPED = (
        "stopped",
        PLAIN,
        "the instance has stopped",
        "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30b",
    )


NoteField = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that an operator may want to read later: logged, recorded, sent to followers."""

    kind: NoteKind
    fields: Mapping[str, NoteField] = field(default_factory=dict)

    @property
    def is_warning(self) -> bool:
        """Whether it is logged as a warning, which includes every unexpected end."""
        bad = self.kind.severity in (Severity.WARNING, Severity.FAILURE)
        return bad or self.fields.get("expected") is False
