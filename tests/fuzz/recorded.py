"""The files of the history, truncated and damaged: intact entries are read, others skipped."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import inputs, odd_files
from tests.fuzz.stage import Stage
from tests.fuzz.target import Target, Wrong, directory, state_directory
from wssupervisor.commands import recorded
from wssupervisor.commands.recorded import Place
from wssupervisor.control.paths import OWN
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.runtime.history.history import History

FILES = ("events.jsonl", "events.jsonl.1", "reloads.jsonl", "reloads.jsonl.1")
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lines:
    """`right`: the entries among them that nothing is wrong with.

    `odd`: in place of a file by this name there is something of this kind.
    """

    lines: list[bytes]
    right: list[Entry]
    torn: bytes
    older: bytes
    odd: tuple[str, str] | None = None


class HistoryFiles(Target[Lines]):
    name = "history"
    fails = (
        "a right entry is lost; a wrong one makes `events`, `history` (with a daemon"
        " or without) or the next entry raise an exception"
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def open(self, stack: ExitStack) -> None:
        self._notes = self._stage.notes
        self._directory = directory(stack)
        stack.enter_context(state_directory(self._directory))

    def make(self, random: Random) -> Lines:
        if random.random() < 0.03:
            odd = random.choice(FILES), random.choice(odd_files.KINDS)
            return Lines([], [], b"", b"", odd)
        lines, right = [], []
        for _ in range(random.randrange(12)):
            note = random.choice(self._notes)
            if random.random() < 0.4:
                right.append(note)
                lines.append(json.dumps(note).encode())
            else:
                lines.append(self._wrong(random, note))
        torn = json.dumps(random.choice(self._notes)).encode()[: random.choice((0, 10, 1000))]
        return Lines(
            lines,
            right,
            torn,
            random.choice((b"", inputs.mutated(random, torn), inputs.many(random))),
        )

    def _wrong(self, random: Random, note: Entry) -> bytes:
        match random.randrange(5):
            case 0:
                return inputs.nested(random)
            case 1:
                return inputs.mutated(random, json.dumps(note).encode()).replace(b"\n", b" ")
            case 2:
                document = {key: one for key, one in note.items() if random.random() < 0.7}
                return json.dumps({"at": note["at"], "kind": note["kind"], **document}).encode()
            case 3:
                document = {**note, random.choice(sorted(note)): inputs.value(random)}
                return json.dumps(document).encode()
            case _:
                return json.dumps(inputs.mutated_value(random, note)).encode()

    def judge(self, given: Lines) -> None:
        directory = self._directory / OWN
        directory.mkdir(exist_ok=True)
        for name in FILES:
            odd_files.clear(directory / name)
            (directory / name).write_bytes(given.older if name.endswith(".1") else b"")
        for name in FILES[::2]:
            (directory / name).write_bytes(b"\n".join([*given.lines, given.torn]))
        if given.odd is not None:
            odd_files.make(directory / given.odd[0], given.odd[1])
        history = History(str(directory / "control.sock"))
        try:
            found = history.since(None)
            for one in (3600.0, 1e300):
                history.since(one, last=3)
                history.reloads_since(one)
            reloads = history.reloads_since(None)
            json.dumps([found, reloads], allow_nan=True)
            history.add(Note(NoteKind.STOPPED, {}), {})
            if (kind := history.since(None)[-1]["kind"]) != "stopped":
                raise Wrong(f"the last entry is {kind!r}")
        finally:
            history.close()
        place = Place("fuzzed", f"{directory}/", ".jsonl")
        for since in (None, "1h"):
            json.dumps([recorded.events(place, since), recorded.reloads(place, since)])
        kept = {_text(one) for one in found}
        lost = [one for one in given.right if _text(one) not in kept]
        if lost:
            raise Wrong(f"right entries were lost: {lost[:2]}")


def _text(entry: Mapping[str, object]) -> str:
    """Instants of another boot's clock are left out when it is read."""
    return json.dumps({key: one for key, one in entry.items() if "monotonic" not in key})
