"""What a connection that moves is read from: a client's bytes, and messages of the other worker."""

import json
import os
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.notify import count_open, judge_open
from tests.fuzz.target import Target, Wrong
from tests.unit.handoff.client_frames import Frame, conversation, cut, position
from tests.unit.handoff.examples import ASGI, WEBSOCKETS
from wssupervisor.worker.handoff.claim import create_claim, win_claim
from wssupervisor.worker.handoff.deflate import WindowUnknown, read_window, restored
from wssupervisor.worker.handoff.exchange import End, Received, pair
from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.frames import KEEP_BYTES, FrameTracker
from wssupervisor.worker.handoff.messages import (
    CONNECTIONS_MAX,
    Batch,
    Done,
    FromGiver,
    FromTaker,
    Hello,
    Kind,
    Refused,
    Taken,
    encode,
)
from wssupervisor.worker.handoff.states import asgi_state, encode_states, websockets_state

ERROR_CHARS = 400
NEXT_MESSAGE = b"and what the client sends next, next, next"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a client sends, in pieces. `frames`: what it is; None if it was damaged."""

    pieces: tuple[bytes, ...]
    frames: tuple[Frame, ...] | None


class ClientFrames(Target[Stream]):
    name = "frames"
    fails = (
        "a frame or a message is miscounted; more than 64 KiB of an incomplete frame are kept; the"
        " same bytes in other pieces are read differently"
    )

    def make(self, random: Random) -> Stream:
        frames = conversation(random, random.randrange(1, 12))
        data = b"".join(one.encode() for one in frames)
        if random.random() < 0.5:
            return Stream(tuple(cut(random, data)), tuple(frames))
        damaged = inputs.mutated(random, data[: random.choice((20, 2_000, 200_000))])
        return Stream(tuple(cut(random, damaged)), None)

    def judge(self, given: Stream) -> None:
        pieces, whole = FrameTracker(), FrameTracker()
        data = b"".join(given.pieces)
        for piece in given.pieces:
            pieces.feed(piece)
            if len(pieces.unread) > KEEP_BYTES:
                raise Wrong(f"{len(pieces.unread)} bytes of a frame were kept")
        whole.feed(data)
        if _read(pieces) != _read(whole):
            raise Wrong(f"in pieces it was read as {_read(pieces)}, at once as {_read(whole)}")
        if given.frames is not None:
            expected = position([(one, len(one.encode())) for one in given.frames], data)
            found = (whole.messages, whole.fragmented, whole.closing)
            if found != (expected.messages, expected.fragmented, expected.closing):
                raise Wrong(f"it was read as {found}, and is {expected}")


def _read(tracker: FrameTracker) -> tuple[object, ...]:
    counted = (tracker.messages, tracker.fragmented, tracker.closing)
    return (*counted, tracker.too_long, tracker.unread)


@dataclass(frozen=True, slots=True)
class Compressed:
    """Messages of a client as its server inflates them, of which some are damaged."""

    bits: int
    messages: tuple[bytes, ...]


class DeflateWindow(Target[Compressed]):
    name = "window"
    fails = (
        "a window is read from a stream that is not between two messages; a restored stream goes"
        " another way than the one that it was read from"
    )

    def make(self, random: Random) -> Compressed:
        bits = random.randrange(9, 16)
        client = zlib.compressobj(random.choice((0, 1, 9)), wbits=-bits)
        flushes = (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH)
        messages = []
        for _ in range(random.randrange(1, 5)):
            size = random.choice((0, 3, 300, 40_000))
            text = random.randbytes(size) if random.random() < 0.3 else inputs.many(random)[:size]
            data = client.compress(text) + client.flush(random.choice(flushes))
            messages.append(inputs.mutated(random, data) if random.random() < 0.3 else data)
        return Compressed(bits, tuple(messages))

    def judge(self, given: Compressed) -> None:
        server = zlib.decompressobj(wbits=-given.bits)
        for data in given.messages:
            try:
                server.decompress(data, 1 << 20)
            except zlib.error:
                return  # its connection is closed
            try:
                window = read_window(server, given.bits)
            except WindowUnknown:
                continue
            self._judge_next(server, restored(given.bits, window), given.bits)

    @staticmethod
    def _judge_next(server: Any, moved: Any, bits: int) -> None:
        client = zlib.compressobj(wbits=-bits)
        data = client.compress(NEXT_MESSAGE) + client.flush(zlib.Z_SYNC_FLUSH)
        for one in (server.copy(), moved):
            if one.decompress(data) != NEXT_MESSAGE:
                raise Wrong("it inflates the next message wrongly")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the other worker. `states`: what its file contains; None: it is no file."""

    data: bytes
    connections: int
    states: bytes | None
    means: FromGiver | FromTaker | None = None


MESSAGES: tuple[FromGiver | FromTaker, ...] = (
    Hello(Kind.ASGI, 14_000),
    Batch(7, 2),
    Batch(8, 1, more=True),
    Refused(7, {0: "why", 31: "why not"}),
    Refused(7, why="descriptors were cut off"),
    Taken(7),
    Done(),
)


class HandoffMessages(Target[list[Sent]]):
    name = "handoff"
    fails = (
        "a message or a state is misread; a descriptor is kept; a value out of bounds is accepted;"
        " the text of an error is long or can act on a terminal; a read of a claim blocks"
    )

    def make(self, random: Random) -> list[Sent]:
        return [_sent(random) for _ in range(random.choice((1, 1, 3)))]

    def judge(self, given: list[Sent]) -> None:
        before = count_open()
        for one in given:
            _judge(one, End.of_giver)
            _judge(one, End.of_taker)
        judge_open(before)


def _judge(sent: Sent, end: Callable[[socket.socket], End[Any]]) -> None:
    theirs, ours = pair()
    receiver = end(ours)
    try:
        _send(theirs, sent)
        _judge_found(sent, receiver)
    finally:
        theirs.close()
        receiver.close()


def _send(sock: socket.socket, sent: Sent) -> None:
    claim = create_claim()
    states = os.open(os.devnull, os.O_RDONLY) if sent.states is None else _file(sent.states)
    try:
        descriptors = [claim, states, *[0] * sent.connections][: sent.connections + 2]
        socket.send_fds(sock, [sent.data], descriptors if sent.connections else [])
    finally:
        os.close(claim)
        os.close(states)


def _file(data: bytes) -> int:
    found = os.memfd_create("fuzz")
    os.write(found, data)
    return found


def _judge_found(sent: Sent, receiver: End[Any]) -> None:
    try:
        found = receiver.receive()
    except Malformed as error:
        _judge_error(error)
        return
    if found is None:
        return
    with found:
        if sent.means is not None and found.message != sent.means:
            raise Wrong(f"{sent.means} was read as {found.message}")
        if isinstance(found.message, Batch):
            _judge_batch(found)


def _judge_batch(found: Received[Any]) -> None:
    if not 1 <= found.message.count <= CONNECTIONS_MAX:
        raise Wrong(f"a batch of {found.message.count} was accepted")
    if not win_claim(found.claim) or win_claim(found.claim):
        raise Wrong("the claim was not won once")
    try:
        states = found.states()
    except Malformed as error:
        _judge_error(error)
        return
    for at, one in enumerate(states):
        for read in (websockets_state, asgi_state):
            try:
                state = read(one, f"states[{at}]")
            except Malformed as error:
                _judge_error(error)
            else:
                if len(state.unread) > KEEP_BYTES or not isinstance(state.carried, dict):
                    raise Wrong(f"a state out of bounds was accepted: {ascii(state)[:300]}")


def _judge_error(error: Malformed) -> None:
    text = str(error)
    if len(text) > ERROR_CHARS or not text.isprintable():
        raise Wrong(f"the text of an error is not short and printable: {ascii(text)[:500]}")


def _sent(random: Random) -> Sent:
    message = random.choice(MESSAGES)
    count = message.count if isinstance(message, Batch) else 0
    states = _states(random, count)
    match random.randrange(5):
        case 0 | 1:
            return Sent(encode(message), count, states, message)
        case 2:
            document = inputs.mutated_value(random, json.loads(encode(message)))
            data = json.dumps(document).encode()[:60_000]
        case 3:
            data = inputs.mutated(random, encode(message))[:60_000]
        case _:
            data = inputs.nested(random)[: random.choice((1_000, 30_000, 60_000))]
    return Sent(data, random.choice((count, count, 0, 1, 40)), states)


def _states(random: Random, count: int) -> bytes | None:
    whole = encode_states([random.choice((WEBSOCKETS, ASGI)) for _ in range(count)])
    match random.randrange(5):
        case 0:
            return whole
        case 1 | 2:
            return json.dumps(inputs.mutated_value(random, json.loads(whole))).encode()
        case 3:
            return inputs.mutated(random, whole)
        case _:
            return random.choice((None, b"", inputs.nested(random)))
