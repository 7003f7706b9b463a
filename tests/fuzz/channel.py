"""Messages of a worker on the library's channel, through a real socket pair."""

import array
import json
import math
import os
import socket
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.notify import count_open, judge_open
from tests.fuzz.target import Target, Wrong
from wssupervisor.runtime.workers.channel import Channel
from wssupervisor.worker import protocol
from wssupervisor.worker.protocol import Alive, Bad, Counts, FromWorker, Hello, Ready

REASON_CHARS = 200
MESSAGES: tuple[FromWorker, ...] = (
    Hello(1, ("close", "stop-accepting"), "wssupervisor.worker 0.1.0"),
    Ready(),
    Alive(),
    Counts(3, 1),
)
FROM_SUPERVISOR: tuple[dict[str, Any], ...] = (
    {"type": "welcome", "version": 1, "alive_every": 2.0},
    {"type": "drain", "let_go": ["ws"]},
    {"type": "resume"},
    {"type": "stay"},
    {"type": "close", "code": 1012, "reason": "", "over": 1.0, "by": 2.0, "everyone": True},
)


@dataclass(frozen=True, slots=True)
class Said:
    """`means`: what it is, where that is known; None with `known`: to be ignored, or wrong."""

    data: bytes
    means: FromWorker | None = None
    known: bool = False


class WorkerChannel(Target[list[Said]]):
    name = "channel"
    fails = (
        "a message is misread; a count below zero or out of bounds is accepted; a channel stays"
        " open after a broken message; a descriptor is kept; a reason is long; the library accepts"
        " an impossible order of the supervisor"
    )

    def make(self, random: Random) -> list[Said]:
        return [_said(random) for _ in range(random.choice((1, 2, 5)))]

    def judge(self, given: list[Said]) -> None:
        before = count_open()
        channel = Channel.create()
        theirs = socket.socket(fileno=os.dup(channel.theirs))
        channel.passed_on()
        try:
            for said in given:
                if channel.closed:
                    break
                _judge(said, _heard(channel, theirs, said.data))
        finally:
            theirs.close()
            channel.close()
        judge_open(before)
        for said in given:
            _judge_library(said.data)


def _heard(channel: Channel, theirs: socket.socket, data: bytes) -> FromWorker | Bad | None:
    rights = array.array("i", [theirs.fileno()] * (len(data) % 3))
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    try:
        theirs.sendmsg([data], control)
    except PermissionError:  # from Linux 6.16 on no descriptors can be sent there
        theirs.send(data)
    found = channel.receive()
    if any(isinstance(one, Bad) for one in found) and not channel.closed:
        raise Wrong("the channel is open after a broken message")
    if len(found) > 1:
        raise Wrong(f"one message was read as {found}")
    return found[0] if found else None


def _judge(said: Said, found: FromWorker | Bad | None) -> None:
    if isinstance(found, Bad):
        if said.means is not None:
            raise Wrong(f"it is right, and was refused: {found}")
        text = str(found)
        if len(text) > REASON_CHARS or not text.isprintable():
            raise Wrong(f"the reason is not short and printable: {ascii(text)[:300]}")
        return
    if (said.means is not None or said.known) and found != said.means:
        raise Wrong(f"it was read as {found}")
    if isinstance(found, Counts) and not 0 <= found.busy <= found.open <= protocol.CONNECTIONS_MAX:
        raise Wrong(f"counts of {found} were believed")
    if isinstance(found, Ready) and b'"ready"' not in said.data:
        raise Wrong("readiness was heard")


def _judge_library(data: bytes) -> None:
    """The same bytes at the other end: as orders of a supervisor."""
    try:
        found = protocol.from_supervisor(data)
    except Bad:
        return
    if isinstance(found, protocol.Close) and not (
        0 <= found.over <= found.by < math.inf and 1000 <= found.code <= 4999
    ):
        raise Wrong(f"the library took {found}")
    if isinstance(found, protocol.Welcome) and not 0 <= found.alive_every < math.inf:
        raise Wrong(f"the library took {found}")


def _said(random: Random) -> Said:
    match random.randrange(6):
        case 0 | 1:
            message = random.choice((*MESSAGES, Counts(open=random.randrange(10**7), busy=0)))
            more = (
                {inputs.text(random) or "x": inputs.value(random)} if random.random() < 0.3 else {}
            )
            kind = type(message).__name__.lower()
            data = json.dumps({**more, "type": kind, **asdict(message)}).encode()
            fits = len(data) <= protocol.MESSAGE_BYTES
            return Said(data[:60_000], message if fits and not set(more) & KEYS else None)
        case 2:
            own = {"type": random.choice(MESSAGES).__class__.__name__.lower()}
            keys = random.sample(sorted(KEYS), 3)
            given = {**{key: inputs.value(random, 1) for key in keys}, **own}
            return Said(json.dumps(given).encode()[:60_000])
        case 3:
            document = inputs.mutated_value(random, random.choice(FROM_SUPERVISOR))
            return Said(json.dumps(document).encode()[:60_000])
        case 4:
            return Said(inputs.nested(random)[: random.choice((1000, 16_000, 60_000))])
        case _:
            data = json.dumps({"type": "counts", "open": 4, "busy": 1}).encode()
            return Said(inputs.mutated(random, data)[:60_000])


KEYS = {"type", "version", "capabilities", "library", "open", "busy"}
