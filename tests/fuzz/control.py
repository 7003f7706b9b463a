"""Requests on a real daemon's control socket: each gets its right answer, or is refused."""

import contextlib
import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.stage import Stage, Watched
from tests.fuzz.target import Target, Wrong
from wssupervisor.control import protocol
from wssupervisor.errors import EXIT_STATUS_BY_CODE

ANSWER_SECONDS = 10.0
ANSWER_BYTES = 8 << 20
READING = ("status", "why", "history", "events", "metrics", "verdict")
SINCE: tuple[Any, ...] = (None, "1h", "0s", "infinity", "\uff11h", "-1s", "1e3s", 3, [], "")
PARAMS: dict[str, tuple[str, ...]] = {
    "status": ("since",),
    "why": ("generation",),
    "history": ("since",),
    "events": ("since", "last"),
    "metrics": ("json",),
    "verdict": ("reload",),
}
REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("reload", {"timeout": 3}),
    ("reload", {"wait": "no"}),
    ("reload", {"make_room": 1}),
    ("reload", {"timeout": "infinity"}),
    ("rollback", {"timeout": "soon"}),
    ("rollback", {"timeout": []}),
    ("scale", {}),
    ("scale", {"workers": 0}),
    ("scale", {"workers": 257}),
    ("scale", {"workers": True}),
    ("scale", {"workers": 2.0}),
    ("scale", {"workers": "2"}),
    ("drain", {"generation": 2}),
    ("drain", {"generation": 10**30, "pause": True}),
    ("drain", {"generation": 2, "pause": True, "resume": True}),
    ("drain", {"generation": "2", "pause": True}),
    ("drain", {"generation": 2, "within": "soon"}),
    ("leave", {"lead": 1}),
    ("leave", {"wait": "no"}),
    ("leave", {"within": "soon"}),
    ("stop", {"within": 3}),
    ("stop", {"within": "infinity"}),
)
"""Methods that operate, with a wrong parameter: none may be performed."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """`parts`: what is sent, in pieces; `answers`: how many answers must come, where known.

    `refused`: the last one must be an error. `leaves`: the client goes away without reading;
    `cut_off`: it goes away in the middle of a line.
    """

    parts: tuple[bytes, ...]
    answers: int | None
    refused: bool = False
    leaves: bool = False
    cut_off: bool = False


CUT_OFF: tuple[dict[str, Any], ...] = (
    {"id": 1, "method": "reload"},
    {"id": 1, "method": "scale", "params": {"workers": 3}},
    {"id": 1, "method": "stop"},
)
"""Requests that must not be performed before their line ends."""


class ControlSocket(Target[Conversation]):
    name = "control"
    fails = (
        "no answer within 10 s or 1 s of CPU time; an invalid answer; an error with an unknown"
        " code; a request with a wrong parameter that is performed; an internal error of the"
        " daemon; the daemon exits, changes, grows or keeps a descriptor"
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def open(self, stack: ExitStack) -> None:  # noqa: ARG002 - it owns nothing
        self._watched = Watched(self._stage)

    def make(self, random: Random) -> Conversation:
        leaves = random.random() < 0.1
        match random.randrange(9):
            case 8:
                line = _line(random.choice(CUT_OFF))[:-1]
                return Conversation(_cut(random, line), 1, refused=True, cut_off=True)
            case 0 | 1:
                lines = [_reading(random) for _ in range(random.choice((1, 2, 20)))]
                return Conversation(_cut(random, b"".join(lines)), len(lines), leaves=leaves)
            case 2 | 3:
                method, params = random.choice(REFUSED)
                more = {f"x{inputs.text(random)}": inputs.value(random)}
                line = _line({"id": 1, "method": method, "params": {**more, **params}})
                if len(line) > protocol.LINE_BYTES:
                    return Conversation((line,), 1, refused=True, leaves=leaves)
                return Conversation(_cut(random, line), 1, refused=True, leaves=leaves)
            case 4:
                wrong = inputs.mutated_value(random, {"id": 1, "method": "status", "params": {}})
                line = _line(wrong)
                return Conversation(_cut(random, line), 1, leaves=leaves)
            case 5:
                line = _line({"id": 7, "method": inputs.text(random), "params": {}})
                return Conversation(_cut(random, line), 1, refused=True, leaves=leaves)
            case 6:
                line = random.choice((inputs.nested(random), b"a" * random.choice(inputs.LONG)))
                return Conversation((line + b"\n",), 1, refused=True, leaves=leaves)
            case _:
                data = inputs.mutated(random, _reading(random) * random.choice((1, 3)))
                return Conversation(_cut(random, data), None, leaves=leaves)

    def judge(self, given: Conversation) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_SECONDS)
            client.connect(str(self._stage.daemon.control))
            with contextlib.suppress(OSError):  # it may have hung up
                for part in given.parts:
                    client.sendall(part)
                if given.answers is None or given.cut_off:  # where an end is missing, none comes
                    client.shutdown(socket.SHUT_WR)
            answers = [] if given.leaves else _answers(client, given.answers)
        self._watched.judge_cpu()
        if given.leaves:
            return
        for answer in answers:
            _judge(answer)
        if given.answers is not None and len(answers) != given.answers:
            raise Wrong(f"{len(answers)} answers to {given.answers} requests")
        if given.refused and "error" not in answers[-1]:
            raise Wrong(f"it was obeyed: {answers[-1]}")

    def check(self) -> None:
        self._watched.check()


def _answers(client: socket.socket, count: int | None) -> list[dict[str, Any]]:
    """Those that come until there are as many, or until the daemon hangs up."""
    found: list[dict[str, Any]] = []
    parts: list[str] = []
    read = 0
    with client.makefile("rb") as lines:
        while count is None or len(found) < count:
            try:
                line = lines.readline(protocol.LINE_BYTES + 1)
            except ConnectionResetError:  # it hung up before all was read
                break
            except TimeoutError:
                raise Wrong(f"no answer within {ANSWER_SECONDS:g} s") from None
            if not line:
                break
            read += len(line)
            if not line.endswith(b"\n") or read > ANSWER_BYTES:
                raise Wrong(f"an answer without an end: {line[:100]!r}")
            message = json.loads(line)
            if "part" in message:
                parts.append(message["part"])
                if not message.get("last"):
                    continue
                message, parts = json.loads("".join(parts)), []
            if "event" not in message:
                found.append(message)
    return found


def _judge(answer: dict[str, Any]) -> None:
    if set(answer) == {"id", "result"} and isinstance(answer["result"], dict):
        return
    if set(answer) != {"id", "error"} or not isinstance(answer["error"], dict):
        raise Wrong(f"it is no answer: {ascii(answer)[:300]}")
    code, message = answer["error"].get("code"), answer["error"].get("message")
    if code not in EXIT_STATUS_BY_CODE:
        raise Wrong(f"there is no error {code!r}: {message}")
    if not message or not isinstance(message, str):
        raise Wrong(f"an error without a message: {answer}")


def _reading(random: Random) -> bytes:
    method = random.choice(READING)
    params: dict[str, Any] = {}
    for key in PARAMS[method]:
        if random.random() < 0.7:
            own = SINCE if key == "since" else (1, 2, 3, "r1", "r2", "r3", "r0", -1, True)
            params[key] = random.choice(own) if random.random() < 0.6 else inputs.value(random, 1)
    while len(line := _line({"id": 5, "method": method, "params": params})) > protocol.LINE_BYTES:
        params.popitem()
    return line


def _line(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode(errors="replace") + b"\n"


def _cut(random: Random, data: bytes) -> tuple[bytes, ...]:
    """In one piece, or in some."""
    if random.random() < 0.7:
        return (data,)
    at = sorted(random.randrange(len(data) + 1) for _ in range(3))
    return (data[: at[0]], data[at[0] : at[1]], data[at[1] : at[2]], data[at[2] :])
