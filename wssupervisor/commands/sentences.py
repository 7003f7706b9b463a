"""What happened, in a sentence: for the status screen and the progress of a reload."""

from collections.abc import Mapping
from typing import Any

from wssupervisor.commands.terminal import Style
from wssupervisor.durations import format_duration

Note = dict[str, Any]

SENTENCES = {
    "started": "generation {generation} serves, the first of this start",
    "reload-begun": "reload {reload} begins, requested by {who}",
    "rollback-begun": "rollback {reload} to generation {to} begins, requested by {who}",
    "reload-failed": "{attempt} {reload} FAILED: {reason}",
    "reload-refused": "a reload was refused: {reason}",
    "worker-spawned": "{worker} starts as pid {pid}",
    "worker-ready": "{worker} is ready after {seconds}",
    "worker-exited": "{worker} {reason}{connections}",
    "main-process-ended": "{worker}: its main process {reason}{connections}; others are left",
    "leftover-serves": "{worker}: what is left of it keeps serving{connections}",
    "leftover-ended": "{worker}: what is left of it is ended, {reason}{connections}",
    "worker-stalled": "{worker} gets nothing new: {reason}",
    "worker-unresponsive": "{worker} gives no sign of life for {seconds}{connections}",
    "worker-recovered": "{worker} gives signs of life again after {seconds}",
    "worker-accepts": "{worker} accepts again after {seconds}",
    "stall-replaced": "{worker} has not accepted for {seconds}: another takes its place",
    "stall-not-replaced": "{worker} does not accept and is not replaced now: {reason}",
    "worker-retry": "{worker} is started again in {seconds}",
    "worker-drained": "{worker} is empty after {seconds}",
    "worker-killed": "{worker} is killed{connections}",
    "cutover": "generation {generation} serves, in place of {replaced} ({reload}, {seconds})",
    "drain-begun": "generation {generation} drains{connections}",
    "drain-limit": "{worker} has reached its limit{connections}",
    "drain-cut-short": "generation {generation} is ended early to make room{connections}",
    "drain-paused": "the drain of generation {generation} is paused",
    "drain-resumed": "the drain of generation {generation} goes on",
    "releasing-sockets": "generation {generation} is told to stop accepting on its shared listener",
    "still-listens": "{worker} still listens where new connections arrive",
    "scaled": "scaled from {before} to {workers} workers",
    "left": "out of its load balancer, requested by {who}{connections}",
    "leave-limit": "it is out of its load balancer for {seconds}{connections}",
    "emptied": "nobody is connected any more, {seconds} after it left its load balancer",
    "joined": "back in its load balancer after {seconds}, requested by {who}",
    "generation-retired": "generation {generation} has gone{outcome}",
    "sweeper-started": "{worker} is started for {queued} that wait on a free slot",
    "steering-failed": "new connections could not be steered: {reason}",
    "re-executed": "the supervisor is now version {version}, was {before}",
    "recovered": "a supervisor took over from one that died: {workers} workers live, {gone} gone",
    "stop-begun": "the instance stops",
    "stopped": "the instance has stopped",
}
GOOD = frozenset({"started", "cutover"})
BAD = frozenset({"reload-failed", "steering-failed"})
WARNING = frozenset(
    {
        "reload-refused",
        "main-process-ended",
        "worker-stalled",
        "worker-unresponsive",
        "stall-replaced",
        "stall-not-replaced",
        "worker-killed",
        "drain-limit",
        "drain-cut-short",
        "still-listens",
        "leave-limit",
        "recovered",
    }
)


def sentence(note: Note) -> str:
    """The note in words; one that is not known here by its kind and all that it says."""
    form = SENTENCES.get(note["kind"])
    try:
        return one_line(form.format_map(_Words(note))) if form is not None else described(note)
    except (KeyError, TypeError, ValueError):  # of a daemon that is older or newer than we are
        return described(note)


def style(note: Note) -> Style:
    kind = note["kind"]
    if kind in BAD:
        return Style.BAD
    if kind in WARNING or note.get("expected") is False or note.get("forced") or note.get("lost"):
        return Style.WARNING
    return Style.GOOD if kind in GOOD else Style.PLAIN


UNSHOWN = frozenset({"at", "kind", "monotonic_begun", "monotonic", "expected", "cause"})


def described(note: Note) -> str:
    """Its kind, then what is known of it, name by name."""
    details = " ".join(
        f"{name}={one_line(str(value))}"
        for name, value in note.items()
        if name not in UNSHOWN and value is not None
    )
    return f"{note['kind'].replace('-', ' '):<18} {details}".rstrip()


def one_line(text: str) -> str:
    """A reason of several lines, such as all mistakes of a configuration, on one."""
    return text.replace(":\n", ": ").replace("\n", "; ")


def count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def requester(document: Mapping[str, Any]) -> str:
    """The user, systemd or the signal that requested something."""
    via, user = document.get("via"), document.get("by")
    if via == "systemd":  # its client runs as the service's user, and not as the one who asked
        return "systemd (systemctl reload)"
    return str(user or via or "an unknown requester")


class _Words(dict[str, Any]):
    """The fields of a note as a sentence wants them."""

    def __getitem__(self, name: str) -> str:
        match name:
            case "worker":
                generation, index, _ = str(self.get("worker")).split(".")
                return f"worker {index} of generation {generation}"
            case "seconds":
                return format_duration(max(0.0, float(super().__getitem__("seconds"))))
            case "connections":
                found = self.get("connections")
                return f", with {count(found, 'connection')}" if found else ""
            case "who":
                return requester(self)
            case "outcome":
                return self._outcome()
        return str(super().__getitem__(name))

    def _outcome(self) -> str:
        if self.get("seconds") is None:
            return ""
        ended = ", as the instance stopped," if self.get("stopped") else ""
        text = f"{ended} after {self['seconds']}: {count(self.get('connections', 0), 'connection')}"
        for name in ("forced", "lost"):
            if self.get(name):
                text += f", {self.get(name)} {name}"
        return text
