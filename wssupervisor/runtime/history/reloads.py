"""The history of reloads and rollbacks, each assembled from its events."""

from collections.abc import Iterable

from wssupervisor.control.documents import Event, PastReload, ReloadDrain
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
"""Kinds of events that the history of reloads is made from."""
CUT_OFF = "the instance ended before its verdict"


def reloads(entries: Iterable[Event]) -> list[PastReload]:
    """Each with its requester, its verdict, and what became of the generation that it replaced."""
    story = _Story()
    for entry in entries:
        story.take_in(entry)
    return story.found


class _Story:
    """Ids and numbers begin at 1 with each start of the instance."""

    def __init__(self) -> None:
        self.found: list[PastReload] = []
        self._under_way: dict[str, PastReload] = {}
        self._draining: dict[int, ReloadDrain] = {}
        """By the generation that was replaced."""

    def take_in(self, entry: Event) -> None:
        match entry:
            case {"kind": "started" | "stopped"}:
                self._instance_ended()
            case {"kind": "reload-begun", "reload": str(reload)}:
                self._begin(entry, reload, "reload")
            case {"kind": "rollback-begun", "reload": str(reload)}:
                self._begin(entry, reload, "rollback")
            case {"kind": "reload-failed", "reload": str(reload), "attempt": str(attempt)}:
                self._end(entry, reload, attempt, ok=False)
            case {"kind": "cutover", "reload": str(reload), "attempt": str(attempt)}:
                self._cut_over(self._end(entry, reload, attempt, ok=True))
            case {"kind": "drain-begun", "generation": int(generation)}:
                if generation in self._draining:
                    self._draining[generation]["connections"] = entry.get("connections")
            case {"kind": "generation-retired", "generation": int(generation)}:
                self._retired(entry, generation)

    def _begin(self, entry: Event, name: str, kind: str) -> PastReload:
        reload: PastReload = {
            "at": entry["at"],
            "id": name,
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
        self._under_way[name] = reload
        return reload

    def _end(self, entry: Event, name: str, attempt: str, *, ok: bool) -> PastReload:
        if name not in self._under_way:  # the entry of its beginning is no longer kept
            self._begin(entry, name, attempt)
        reload = self._under_way.pop(name)
        reload["ok"] = ok
        reload["reason"] = entry.get("reason")
        reload["generation"] = entry.get("generation")
        reload["replaced"] = entry.get("replaced")
        reload["seconds"] = entry.get("seconds")
        reload["release"] = entry.get("release")
        return reload

    def _cut_over(self, reload: PastReload) -> None:
        """The active generation no longer drains; the generation that it replaced does."""
        generation, replaced = reload["generation"], reload["replaced"]
        if generation is not None and (woken := self._draining.pop(generation, None)) is not None:
            woken["state"] = "rolled-back-to"
        if replaced is not None:
            drain: ReloadDrain = {
                "state": "draining",
                "seconds": None,
                "connections": None,
                "drained": None,
                "forced": None,
                "lost": None,
            }
            reload["drain"] = self._draining[replaced] = drain

    def _retired(self, entry: Event, generation: int) -> None:
        drain = self._draining.pop(generation, None)
        if drain is None:
            return
        drain["state"] = "cut-off" if entry.get("stopped") else "over"
        match entry:
            case {"connections": int(connections), "forced": int(forced), "lost": int(lost)}:
                drain["seconds"] = entry.get("seconds")
                drain["connections"] = connections
                drain["forced"], drain["lost"] = forced, lost
                drain["drained"] = max(0, connections - forced - lost)

    def _instance_ended(self) -> None:
        for reload in self._under_way.values():
            reload["ok"], reload["reason"] = False, CUT_OFF
        for drain in self._draining.values():  # without a clean stop
            drain["state"] = "cut-off"
        self._under_way.clear()
        self._draining.clear()
