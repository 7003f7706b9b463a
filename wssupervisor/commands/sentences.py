"""What happened, in a sentence: for the status screen and the progress of a reload."""

from collections.abc import Mapping
from typing import Any

from wssupervisor.commands.terminal import Style
from wssupervisor.control.documents import OutOfRotation
from wssupervisor.durations import format_duration
from wssupervisor.fleet.notes import NoteKind, Severity
from wssupervisor.plural import count

Note = Mapping[str, Any]


def sentence(note: Note) -> str:
    """Return the note in words; a note of an unknown kind as its kind and all its fields."""
    kind = NoteKind.named(note["kind"])
    try:
        return (
            described(note) if kind is None else one_line(kind.sentence.format_map(_Fields(note)))
        )
    except (KeyError, TypeError, ValueError):  # of a daemon that is older or newer than we are
        return described(note)


STYLES = {
    Severity.PLAIN: Style.PLAIN,
    Severity.SUCCESS: Style.GOOD,
    Severity.WARNING: Style.WARNING,
    Severity.FAILURE: Style.BAD,
}


def style(note: Note) -> Style:
    """By its kind; lost or forcibly closed connections make any note a warning."""
    kind = NoteKind.named(note["kind"])
    found = Style.PLAIN if kind is None else STYLES[kind.severity]
    alarming = note.get("expected") is False or note.get("forced") or note.get("lost")
    return Style.WARNING if alarming and found is not Style.BAD else found


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


def requester(document: Mapping[str, object]) -> str:
    """The user, systemd or the signal that requested something."""
    via, user = document.get("via"), document.get("by")
    if via == "systemd":  # its client runs as the service's user, not as the operator
        return "systemd (systemctl reload)"
    return str(user or via or "an unknown requester")


def closing(out: OutOfRotation, begins: float) -> str:
    """Return when workers close the connections. `begins`: seconds until they are first asked."""
    others = out["waited_for"]
    if out["connections"] and others >= out["connections"]:
        return "which no worker can be asked to close"
    when = f"asked to close in {format_duration(begins)}" if begins > 0 else "asked to close"
    return f"{when}, except {others}" if others else when


class _Fields(dict[str, Any]):
    """The fields of a note as a sentence has them."""

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
            case "closing":
                found = self.get("connections")
                return f", closing {count(found, 'connection')}" if found else ""
            case "queued_connections":
                return count(int(super().__getitem__("queued")), "connection")
            case "workers":
                return count(int(super().__getitem__("workers")), "worker")
            case "who":
                return requester(self)
            case "outcome":
                return self._outcome()
        return str(super().__getitem__(name))

    def _outcome(self) -> str:
        if self.get("seconds") is None:
            return ""
        ended = " with the instance," if self.get("stopped") else ""
        text = f"{ended} after {self['seconds']}: {count(self.get('connections', 0), 'connection')}"
        for name in ("forced", "lost"):
            if self.get(name):
                text += f", {self.get(name)} {name}"
        return text
