"""The history of reloads and roll backs, each put together from what was noted of it."""

from collections.abc import Iterable
from typing import Any

from wssupervisor.fleet.notes import NoteKind

KINDS = frozenset(
    one.value
    for one in (
        NoteKind.STARTED,
        NoteKind.RELOAD_BEGUN,
        NoteKind.ROLLBACK_BEGUN,
        NoteKind.RELOAD_FAILED,
        NoteKind.CUTOVER,
        NoteKind.DRAIN_BEGUN,
        NoteKind.GENERATION_RETIRED,
        NoteKind.STOPPED,
    )
)
"""Of the notes that tell of reloads."""
CUT_OFF = "the instance ended before its verdict"

Entry = dict[str, Any]
Document = dict[str, Any]


def reloads(entries: Iterable[Entry]) -> list[Document]:
    """Each with who asked, its verdict, and what became of the generation it replaced."""
    story = _Story()
    for entry in entries:
        story.take_in(entry)
    return story.found


class _Story:
    """Ids and numbers begin anew with each start of the instance."""

    def __init__(self) -> None:
        self.found: list[Document] = []
        self._under_way: dict[str, Document] = {}
        self._draining: dict[int, Document] = {}
        """By the generation that was replaced."""

    def take_in(self, entry: Entry) -> None:
        match entry["kind"]:
            case "started" | "stopped":
                self._instance_ended()
            case "reload-begun":
                self._begin(entry, "reload")
            case "rollback-begun":
                self._begin(entry, "rollback")
            case "reload-failed":
                self._end(entry, ok=False)
            case "cutover":
                self._end(entry, ok=True)
            case "drain-begun":
                if drain := self._drain(entry["generation"]):
                    drain["connections"] = entry.get("connections")
            case "generation-retired":
                self._retired(entry)

    def _drain(self, generation: int) -> Document | None:
        reload = self._draining.get(generation)
        return None if reload is None else reload["drain"]

    def _begin(self, entry: Entry, kind: str) -> Document:
        reload = {
            "at": entry["at"],
            "id": entry["reload"],
            "kind": kind,
            "via": entry.get("via"),
            "by": entry.get("by"),
            "by_pid": entry.get("by_pid"),
            "release": None,
            "ok": None,
            "reason": None,
            "generation": None,
            "replaced": None,
            "seconds": None,
            "drain": None,
        }
        self.found.append(reload)
        self._under_way[reload["id"]] = reload
        return reload

    def _end(self, entry: Entry, *, ok: bool) -> None:
        reload = self._under_way.pop(entry["reload"], None)
        if reload is None:  # its beginning is not kept any more
            reload = self._begin(entry, entry["attempt"])
            del self._under_way[reload["id"]]
        reload["ok"] = ok
        for name in ("reason", "generation", "replaced", "seconds", "release"):
            reload[name] = entry.get(name)
        if not ok:
            return
        if (woken := self._draining.pop(entry["generation"], None)) is not None:
            woken["drain"]["state"] = "rolled-back-to"
        if reload["replaced"] is not None:
            reload["drain"] = dict.fromkeys(
                ("state", "seconds", "connections", "drained", "forced", "lost")
            ) | {"state": "draining"}
            self._draining[reload["replaced"]] = reload

    def _retired(self, entry: Entry) -> None:
        drain = self._drain(entry["generation"])
        if drain is None:
            return
        del self._draining[entry["generation"]]
        drain["state"] = "cut-off" if entry.get("stopped") else "over"
        if entry.get("connections") is not None:
            for name in ("seconds", "connections", "forced", "lost"):
                drain[name] = entry[name]
            closed = entry["forced"] + entry["lost"]
            drain["drained"] = max(0, entry["connections"] - closed)

    def _instance_ended(self) -> None:
        for reload in self._under_way.values():
            reload["ok"], reload["reason"] = False, CUT_OFF
        for reload in self._draining.values():  # without a clean stop
            reload["drain"]["state"] = "cut-off"
        self._under_way.clear()
        self._draining.clear()
