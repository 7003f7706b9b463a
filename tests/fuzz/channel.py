"""Messages of a worker on the library's channel, through a real socket pair."""

import array
import json
import math
import os
import socket
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.notify import count_open, judge_open
from tests.fuzz.target import Target, Wrong
from wssupervisor.runtime.workers.channel import Channel, after_death
from wssupervisor.worker import protocol
from wssupervisor.worker.lines import LINE_BYTES, Lines
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
    {"type": "drain", "release_sockets": ["ws"]},
    {"type": "resume"},
    {"type": "stay"},
    {"type": "refused", "reason": "not JSON"},
    {"type": "close", "code": 1012, "reason": "", "over": 1.0, "by": 2.0, "everyone": True},
)


@dataclass(frozen=True, slots=True)
class Said:
    """`means`: what it is, where that is known; None with `known`: to be ignored, or wrong.

    `cut`: the bytes that the worker sends first. `dies`: the supervisor does, between the two.
    """

    data: bytes
    means: FromWorker | None = None
    known: bool = False
    cut: int = 0
    dies: bool = False


class WorkerChannel(Target[list[Said]]):
    name = "channel"
    fails = (
        "a message is misread; a count below zero or out of bounds is accepted; a channel stays"
        " open after a broken message; what is left of a line after a death is believed; a"
        " descriptor is kept; a reason is long; the library accepts an impossible order of the"
        " supervisor"
    )

    def make(self, random: Random) -> list[Said]:
        found = [_said(random) for _ in range(random.choice((1, 2, 5)))]
        return [
            replace(one, cut=random.randrange(len(one.data) + 2), dies=random.random() < 0.2)
            for one in found
        ]

    def judge(self, given: list[Said]) -> None:
        before = count_open()
        channel = Channel.create()
        theirs = socket.socket(fileno=os.dup(channel.theirs))
        channel.passed_on()
        try:
            for said in given:
                if channel.closed:
                    break
                channel, found = _heard(channel, theirs, said)
                if said.dies and 0 < said.cut <= len(said.data):
                    _judge_torn(said, found)
                else:
                    _judge(said, found)
        finally:
            theirs.close()
            channel.close()
        judge_open(before)
        for said in given:
            _judge_library(said)


Found = list[FromWorker | Bad]


def _heard(channel: Channel, theirs: socket.socket, said: Said) -> tuple[Channel, Found]:
    """The channel after it, which another supervisor may have taken over."""
    line, found = said.data + b"\n", Found()
    for piece in (line[: said.cut], line[said.cut :]):
        if not piece or channel.closed:
            continue
        _send(theirs, piece)
        found += channel.receive()
        while channel.is_behind:
            found += channel.receive()
        if said.dies and len(piece) == said.cut:
            channel = _succeeded(channel)
    if any(isinstance(one, Bad) for one in found) and not channel.closed:
        raise Wrong("the channel is open after a broken message")
    return channel, found


def _succeeded(channel: Channel) -> Channel:
    """As another supervisor takes it over from one that died."""
    if channel.closed:
        return channel
    state = after_death(os.dup(channel.fileno()), closed=False)
    channel.close()
    return Channel.restore(state)


def _send(theirs: socket.socket, piece: bytes) -> None:
    rights = array.array("i", [theirs.fileno()] * (len(piece) % 3))
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    try:
        theirs.sendmsg([piece], control)
    except PermissionError:  # from Linux 6.16 on no descriptors can be sent there
        theirs.send(piece)


def _judge_torn(said: Said, found: Found) -> None:
    """Its beginning was read by a supervisor that died."""
    if said.means is not None and found:
        raise Wrong(f"what was left of a line was read as {found}")


def _judge(said: Said, all_found: Found) -> None:
    if said.means is not None and len(all_found) != 1:
        raise Wrong(f"one message was read as {all_found}")
    for found in all_found:
        _judge_one(said, found)


def _judge_one(said: Said, found: FromWorker | Bad) -> None:
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


def _judge_library(said: Said) -> None:
    """The same bytes at the other end: as orders of a supervisor."""
    lines, line = Lines(), said.data + b"\n"
    found = [*lines.feed(line[: said.cut]), *lines.feed(line[said.cut :])]
    if b"\n".join(one.data[:LINE_BYTES] for one in found) != b"\n".join(
        one[:LINE_BYTES] for one in said.data.split(b"\n")
    ):
        raise Wrong(f"lines were read as {found}")
    for one in found:
        _judge_order(one.data)


def _judge_order(data: bytes) -> None:
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
            fits = len(data) <= LINE_BYTES
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
