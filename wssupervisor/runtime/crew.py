"""The living workers: their processes, what they write and what they say."""

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wssupervisor.fleet.events import Event, SlotLetGo, WorkerExited, WorkerReady
from wssupervisor.fleet.model import Release, SlotId, WorkerId
from wssupervisor.runtime.gate import Gate
from wssupervisor.runtime.holders import start_time
from wssupervisor.runtime.notify import Malformed, NotifySocket
from wssupervisor.runtime.output import Output
from wssupervisor.runtime.processes import Process, reap_orphans
from wssupervisor.runtime.release import with_descriptors

LAST_WORDS_KEPT = 32
"""Ended workers whose last lines are kept for whoever asks why."""


@dataclass(slots=True)
class Hand:
    """One worker's process and the things that belong to it; owns them all."""

    process: Process
    output: Output
    notify: NotifySocket
    slots: Mapping[str, SlotId]
    status: str | None = None

    def close(self) -> None:
        self.process.close()
        self.output.close()
        self.notify.close()


class Crew:
    """Spawns, watches and signals workers; what it sees goes out as events."""

    def __init__(
        self,
        instance: str,
        gate: Gate,
        post: Callable[[Event], None],
        tell: Callable[[WorkerId, int, list[str]], None],
        warn: Callable[[WorkerId, str], None],
    ) -> None:
        self._instance = instance
        self._gate = gate
        self._post = post
        self._tell = tell
        self._warn = warn
        self._hands: dict[WorkerId, Hand] = {}
        self._last_words: OrderedDict[WorkerId, tuple[str, ...]] = OrderedDict()
        self._supervisor = f"{os.getpid()}:{start_time(os.getpid())}"

    # -- what the fleet asks for --------------------------------------------------------------

    def spawn(self, worker: WorkerId, release: Release, slots: Mapping[str, SlotId]) -> int:
        """Start it and watch it; returns its pid. Raises OSError."""
        output = Output(f"wssupervisor-{worker}")
        notify = NotifySocket()
        try:
            names = list(self._gate.pools)
            process = Process.spawn(
                with_descriptors(release.command, names),
                release.directory,
                self._variables(worker, release, names, notify.address),
                self._gate.descriptors(slots),
                output.descriptor,
            )
        except OSError:
            output.close()
            notify.close()
            raise
        self._hands[worker] = Hand(process, output, notify, dict(slots))
        loop = asyncio.get_running_loop()
        loop.add_reader(process.pidfd, self._main_ended, worker)
        loop.add_reader(notify.fileno(), self._notified, worker)
        return process.pid

    def _variables(
        self, worker: WorkerId, release: Release, names: list[str], notify: str
    ) -> dict[str, str]:
        return {
            **dict(release.environment),
            "LISTEN_FDS": str(len(names)),
            "LISTEN_FDNAMES": ":".join(names),
            "NOTIFY_SOCKET": notify,
            "WSSUPERVISOR_INSTANCE": self._instance,
            "WSSUPERVISOR_GENERATION": str(worker.generation),
            "WSSUPERVISOR_WORKER": str(worker.index),
            "WSSUPERVISOR_INCARNATION": str(worker.incarnation),
            "WSSUPERVISOR_RELEASE": release.directory,
            "WSSUPERVISOR_SUPERVISOR": self._supervisor,
        }

    def signal(self, worker: WorkerId, name: str) -> None:
        if hand := self._hands.get(worker):
            hand.process.signal(signal.Signals[name])

    def kill(self, worker: WorkerId) -> None:
        if hand := self._hands.get(worker):
            hand.process.kill()

    # -- what is seen -------------------------------------------------------------------------

    def process(self, worker: WorkerId) -> Process | None:
        hand = self._hands.get(worker)
        return None if hand is None else hand.process

    def processes(self) -> dict[WorkerId, Process]:
        return {worker: hand.process for worker, hand in self._hands.items()}

    def seems_to_listen(self, worker: WorkerId) -> bool:
        """As far as can be seen at once; where not, a census tells."""
        hand = self._hands.get(worker)
        if hand is None:
            return True
        return hand.process.has_placed([hand.slots[name] for name in self._gate.pools])

    def status(self, worker: WorkerId) -> str | None:
        """Its last STATUS=."""
        hand = self._hands.get(worker)
        return None if hand is None else hand.status

    def last_lines(self, worker: WorkerId) -> tuple[str, ...]:
        """The last lines it wrote, also for some time after its end."""
        if hand := self._hands.get(worker):
            self._pass_on(worker, hand)
            return hand.output.last_lines()
        return self._last_words.get(worker, ())

    def look(self) -> None:
        """Pass their output on, and see who let its slot go or has gone with all its tree."""
        for worker, hand in list(self._hands.items()):
            self._pass_on(worker, hand)
            if hand.process.exit is not None:
                self._bury(worker, hand)

    def reap_orphans(self) -> None:
        """Reap what workers left behind and we inherited."""
        reap_orphans(frozenset(hand.process.pid for hand in self._hands.values()))

    def _pass_on(self, worker: WorkerId, hand: Hand, *, final: bool = False) -> None:
        if lines := hand.output.poll(final=final):
            self._tell(worker, hand.process.pid, lines)

    def _main_ended(self, worker: WorkerId) -> None:
        hand = self._hands[worker]
        if hand.process.reap() is None:
            return
        asyncio.get_running_loop().remove_reader(hand.process.pidfd)
        self._bury(worker, hand)

    def _bury(self, worker: WorkerId, hand: Hand) -> None:
        """Its main process has ended: it is gone when nobody of its tree holds slots or clients."""
        if hand.process.members():
            held = hand.process.socket_inodes()
            if held & (set(hand.slots.values()) | self._gate.connection_inodes()):
                return
            hand.process.kill()
        self._notified(worker)
        self._pass_on(worker, hand, final=True)
        self._last_words[worker] = hand.output.last_lines()
        while len(self._last_words) > LAST_WORDS_KEPT:
            self._last_words.popitem(last=False)
        asyncio.get_running_loop().remove_reader(hand.notify.fileno())
        del self._hands[worker]
        hand.close()
        ended = hand.process.exit
        assert ended is not None
        self._post(WorkerExited(worker, ended))

    def _notified(self, worker: WorkerId) -> None:
        hand = self._hands[worker]
        for message in hand.notify.receive():
            if isinstance(message, Malformed):
                self._warn(worker, message.reason)
                continue
            if message.status is not None:
                hand.status = message.status
            if message.ready:
                self._post(WorkerReady(worker))
            if message.stopping:
                self._post(SlotLetGo(worker))
