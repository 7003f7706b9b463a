"""Damaged counts of slots that an earlier run left: they may cause a warning, never more."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from tests.fuzz import inputs, odd_files
from tests.fuzz.target import Target, Wrong, directory, state_directory
from wssupervisor.control.paths import OWN
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.slot_memory import FILE, SlotCounts

RIGHT = {"ws": {"address": "127.0.0.1:8765", "slots": 4}}


@dataclass(frozen=True, slots=True)
class Passed:
    """What systemd passed for a listener, as far as its count is concerned."""

    name: str = "ws"
    address: str = "127.0.0.1:8765"
    source: str = "systemd"
    slots: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True)
class Counts:
    """`means`: how many there were, where that is known; `odd`: no file, but one of these."""

    data: bytes
    means: int | None = None
    odd: str | None = None


class SlotsFile(Target[Counts]):
    name = "slots"
    fails = "a right count is not accepted, or an impossible one makes the start fail"

    def open(self, stack: ExitStack) -> None:
        self._directory = directory(stack)
        stack.enter_context(state_directory(self._directory))

    def make(self, random: Random) -> Counts:
        match random.randrange(5):
            case 0 if random.random() < 0.1:
                return Counts(b"", odd=random.choice(odd_files.KINDS))
            case 0:
                count = random.choice((2, 3, 10, 10**6))
                data: Any = {"ws": {"address": "127.0.0.1:8765", "slots": count}}
                return Counts(json.dumps(data).encode(), means=count)
            case 1:
                return Counts(inputs.nested(random))
            case 2:
                return Counts(inputs.mutated(random, json.dumps(RIGHT).encode()))
            case _:
                return Counts(json.dumps(inputs.mutated_value(random, RIGHT)).encode())

    def judge(self, given: Counts) -> None:
        path = self._directory / OWN / FILE
        path.parent.mkdir(mode=0o750, exist_ok=True)
        odd_files.clear(path)
        if given.odd is None:
            path.write_bytes(given.data)
        else:
            odd_files.make(path, given.odd)
        counts = SlotCounts([cast("Pool", Passed())])
        missing = counts.missing()
        if given.means is not None and missing != ({"ws": given.means} if given.means > 2 else {}):
            raise Wrong(f"{given.means} slots were read as {missing}")
        if any(not isinstance(one, int) for one in missing.values()):
            raise Wrong(f"that is no count: {missing}")
        counts.remember()
        if given.odd is None and SlotCounts([cast("Pool", Passed())]).missing():
            raise Wrong("what there is now was not remembered")
