"""A worker that gives or takes connections with the library's pure modules, and nothing else.

Each connection is a socket that is answered with the worker's name and the number that it carries.
`dies_at`: the action at which the worker kills itself; -1: never. It ends when its input ends.

    python -m tests.harness.workers.handoff giver PAIR DIES_AT CLIENT...
    python -m tests.harness.workers.handoff taker PAIR DIES_AT REFUSED...
"""

import os
import select
import signal
import socket
import sys
import time
from dataclasses import replace
from itertools import count

from tests.unit.handoff.examples import WEBSOCKETS
from wssupervisor.worker.handoff import giver_events as giving
from wssupervisor.worker.handoff import taker_events as taking
from wssupervisor.worker.handoff.claim import create_claim, win_claim
from wssupervisor.worker.handoff.connection import Decision
from wssupervisor.worker.handoff.exchange import CUT_OFF, End, Received, write_states
from wssupervisor.worker.handoff.giving import Giver
from wssupervisor.worker.handoff.messages import (
    Batch,
    Done,
    FromGiver,
    FromTaker,
    Hello,
    Kind,
    Refused,
    Taken,
    refusals,
)
from wssupervisor.worker.handoff.states import websockets_state
from wssupervisor.worker.handoff.taking import Taker

PART = 2
"""Connections in one message, so that batches have several."""
LOOK_SECONDS = 0.005


class Worker:
    """Answers its open connections."""

    def __init__(self, name: str, dies_at: int) -> None:
        self._name = name
        self._left = count(dies_at, -1)
        self.open: dict[int, socket.socket] = {}

    def live_on(self) -> None:
        if next(self._left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def serve(self, quiet: set[int]) -> None:
        for key, sock in list(self.open.items()):
            if key not in quiet and select.select([sock], [], [], 0)[0]:
                if sock.recv(1):
                    sock.send(f"{self._name}{key}".encode())
                else:
                    self.open.pop(key).close()


class GivingWorker(Worker):
    def __init__(self, end: End[FromTaker], dies_at: int, clients: list[int]) -> None:
        super().__init__("g", dies_at)
        self.open = {key: socket.socket(fileno=one) for key, one in enumerate(clients)}
        self._end, self._giver = end, Giver(batch_size=3)
        self._offered: set[int] = set()
        self._ending: list[int] = []
        self._quiet: set[int] = set()
        self._claims: dict[int, int] = {}

    def turn(self) -> None:
        self.serve(self._quiet)
        self._hear()
        while self._ending:
            self._tell(giving.HandlerReturned(self._ending.pop(), frozen=True))
        if self._giver.deadline() <= time.monotonic():
            self._tell(giving.TimePassed())
        left = [key for key in self.open if key not in self._offered]
        if left and (most := self._giver.wanted()):
            self._offered.update(left[:most])
            self._tell(giving.Chosen(tuple(left[:most])))
        elif not left and not self._giver.done:
            self._tell(giving.Finish())

    def _tell(self, event: giving.Event) -> None:
        for action in self._giver.handle(event, time.monotonic()):
            self.live_on()
            self._perform(action)

    def _perform(self, action: giving.Action) -> None:
        match action:
            case giving.Do(key=key, decision=Decision.END_HANDLER):
                self._quiet.add(key)
                self._ending.append(key)
            case giving.Do(key=key, decision=Decision.THAW):
                self._quiet.discard(key)
            case giving.Do(key=key, decision=Decision.LET_GO):
                self.open.pop(key).close()
            case giving.SendBatch(batch=batch, keys=keys):
                self._send(batch, keys)
            case giving.ReadClaim(batch=batch):
                won = win_claim(self._claims[batch])
                if not won:
                    self._hear()
                os.close(self._claims.pop(batch))
                self._tell(giving.ClaimRead(batch, won))
            case giving.SendDone():
                self._end.close()

    def _send(self, batch: int, keys: tuple[int, ...]) -> None:
        claim = self._claims[batch] = create_claim()
        for at in range(0, len(keys), PART):
            part = keys[at : at + PART]
            states = write_states([replace(WEBSOCKETS, carried={"key": key}) for key in part])
            message = Batch(batch, len(part), more=at + PART < len(keys))
            descriptors = [claim, states, *(self.open[key].fileno() for key in part)]
            try:
                self._end.send(message, descriptors)
            except OSError as error:
                self._tell(giving.SendFailed(batch, str(error)))
                return
            finally:
                os.close(states)
            self.live_on()

    def _hear(self) -> None:
        while self._end.fileno() >= 0 and (found := self._end.receive()) is not None:
            match found.message:
                case Hello(room=room):
                    self._tell(giving.Greeted(room))
                case Refused(id=batch, which=which, why=why):
                    self._tell(giving.RefusedHeard(batch, which, why))
                case Taken(id=batch):
                    self._tell(giving.TakenHeard(batch))
        if self._end.ended and not self._giver.stopped:
            self._tell(giving.TakerGone("it closed its end"))


class TakingWorker(Worker):
    def __init__(self, end: End[FromGiver], dies_at: int, refused: list[int]) -> None:
        super().__init__("t", dies_at)
        self._end, self._taker = end, Taker()
        self._refuses = set(refused)
        self._parts: dict[int, list[Received[FromGiver]]] = {}
        self._begun: list[int] = []
        end.send(Hello(Kind.WEBSOCKETS, room=1000))

    def turn(self) -> None:
        self.serve(set())
        while self._begun:
            self._tell(taking.HandlersBegun(self._begun.pop()))
        if self._end.fileno() < 0:
            return
        found = self._end.receive()
        if found is not None and isinstance(found.message, Batch):
            self._hear(found, found.message)
        elif self._end.ended or (found is not None and isinstance(found.message, Done)):
            self._end.close()
            self._tell(taking.GiverGone())

    def _hear(self, found: Received[FromGiver], message: Batch) -> None:
        self._parts.setdefault(message.id, []).append(found)
        problem = CUT_OFF if found.cut_off else ""
        self._tell(taking.PartHeard(message.id, message.count, message.more, problem))

    def _tell(self, event: taking.Event) -> None:
        for action in self._taker.handle(event):
            self.live_on()
            self._perform(action)

    def _perform(self, action: taking.Action) -> None:
        match action:
            case taking.Judge(batch=batch):
                keys = [self._key(batch, at) for at in range(action.count)]
                refused = {at: "no" for at, key in enumerate(keys) if key in self._refuses}
                self._tell(taking.Judged(batch, refused))
            case taking.SendRefused(batch=batch, which=which):
                for message in refusals(batch, which):
                    self._end.send(message)
                self._tell(taking.RefusalSent(batch))
            case taking.LeaveBatch(batch=batch, which=which, why=why):
                self._end.send(Refused(batch, which, why))
            case taking.ReadClaim(batch=batch):
                won = win_claim(self._parts[batch][0].claim)
                self._tell(taking.ClaimRead(batch, won))
                self._begun += [batch] if won else []
            case taking.SendTaken(batch=batch):
                self._report(batch)
            case taking.Do(batch=batch, at=at, decision=Decision.CALL_HANDLER):
                part, position = self._place(batch, at)
                sock = socket.socket(fileno=part.take_connection(position))
                self.open[self._key(batch, at)] = sock
            case taking.Do(batch=batch, at=at, decision=Decision.LET_GO):
                part, position = self._place(batch, at)
                os.close(part.take_connection(position))

    def _report(self, batch: int) -> None:
        try:
            self._end.send(Taken(batch))
        except OSError:
            return  # the giver has gone

    def _place(self, batch: int, at: int) -> tuple[Received[FromGiver], int]:
        return self._parts[batch][at // PART], at % PART

    def _key(self, batch: int, at: int) -> int:
        part, position = self._place(batch, at)
        key = websockets_state(part.states()[position], f"states[{position}]").carried["key"]
        assert isinstance(key, int)
        return key


def main() -> None:
    role, pair, dies_at, *numbers = sys.argv[1:]
    sock, given = socket.socket(fileno=int(pair)), [int(one) for one in numbers]
    worker = (
        GivingWorker(End.of_giver(sock), int(dies_at), given)
        if role == "giver"
        else TakingWorker(End.of_taker(sock), int(dies_at), given)
    )
    while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        worker.turn()


if __name__ == "__main__":
    main()
