"""How wssctl handles the answers of a socket that is not a daemon's: it exits with a reason."""

import contextlib
import io
import json
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.stage import Stage
from tests.fuzz.target import Target, Wrong
from wssupervisor.commands.cli import main
from wssupervisor.control import protocol

FLOOD_BYTES = 200 << 20
STATUSES = (0, 1, 2, 69, 75, 77, 78)
OUTPUT_CHARS = 4 << 20
VERBS: dict[str, tuple[tuple[str, ...], ...]] = {
    "status": (("status",), ("status", "--json")),
    "why": (("why", "1"), ("why", "1", "--json")),
    "history": (("history",), ("history", "--json", "--since", "1h")),
    "events": (("events",), ("events", "--json")),
    "metrics": (("metrics",), ("metrics", "--json")),
    "reload": (("reload",), ("reload", "--json"), ("reload", "--no-wait")),
    "rollback": (("rollback",),),
    "scale": (("scale", "2"),),
    "drain": (("drain", "1", "--pause"),),
    "join": (("join",),),
    "stop": (("stop",),),
    "upgrade": (("upgrade",),),
}
CUT_OVER: dict[str, Any] = {
    "reload": "r3",
    "ok": True,
    "generation": 3,
    "replaced": 2,
    "seconds": 0.3,
}
OTHERS: dict[str, dict[str, Any]] = {
    "reload": {**CUT_OVER, "warnings": ["one"]},
    "rollback": {**CUT_OVER, "warnings": []},
    "scale": {"workers": 2, "before": 1, "workers_configured": 1, "shares_slots": False},
    "drain": {"generation": 1, "workers": 1, "connections": 2, "paused": False, "seconds": 3.0},
    "join": {"was_out": True, "seconds": 3.0},
    "stop": {"stopped": True},
    "metrics": {"text": "# TYPE a gauge\na 1\n", "metrics": [{"name": "a", "type": "gauge"}]},
    "upgrade": {},
    "events": {},
}  # fmt: skip
ERROR = {
    "code": "reload-failed",
    "message": "worker 0 exited",
    "data": {"lines": ["no such module"]},
}


@dataclass(frozen=True, slots=True)
class Case:
    """`flood`: the last line is sent again and again, FLOOD_BYTES in all; `right`: it must be 0."""

    arguments: tuple[str, ...]
    lines: tuple[bytes, ...]
    flood: bool = False
    right: bool = False


class PendingRequests(Target[Case]):
    name = "wssctl"
    fails = (
        "a traceback instead of a sentence and an exit status; success without an answer; a right"
        " answer of a daemon that is refused; text that a terminal obeys; unbounded output"
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def open(self, stack: ExitStack) -> None:
        self._documents = {**OTHERS, **self._stage.documents}
        self._notes = self._stage.notes
        self._server = stack.enter_context(closing(Impostor()))

    def make(self, random: Random) -> Case:
        verb = random.choice(sorted(VERBS))
        arguments = random.choice(VERBS[verb])
        document = self._documents[verb]
        events: list[dict[str, Any]] = [{"note": note} for note in random.sample(self._notes, 3)]
        if verb == "upgrade":
            events = [{"before": "0.1.0", "version": "0.2.0", "executions": 1}]
        told = [_line({"id": 1, "event": one}) for one in events]
        match random.randrange(8):
            case 0:
                right = verb != "upgrade"
                return Case(arguments, (*told, *_answer(document)), right=right)
            case 1 | 2:
                return Case(arguments, (*told, *_answer(inputs.mutated_value(random, document))))
            case 3:
                spoilt = [{"id": 1, "event": inputs.mutated_value(random, one)} for one in events]
                return Case(arguments, (*map(_line, spoilt), *_answer(document)))
            case 4:
                error = inputs.mutated_value(random, {"id": 1, "error": ERROR})
                return Case(arguments, (*told, _line(error)))
            case 5:
                data = inputs.mutated(random, b"".join((*told, *_answer(document))))
                return Case(arguments, (data,))
            case 6 if random.random() < 0.05:
                part = {"id": 1, "part": "x" * protocol.PART_LENGTH}
                what = random.choice((part, {"id": 1, "event": {"note": None, "x": "y" * 60_000}}))
                return Case(arguments, (_line(what),), flood=True)
            case _:
                return Case(arguments, (inputs.nested(random), b"\n"))

    def judge(self, given: Case) -> None:
        self._server.case = given
        out, status = _run(["--control", str(self._server.path), *given.arguments])
        if given.right and status != 0:
            raise Wrong(f"exit status {status} for a right answer: {out[-500:]}")
        if status not in STATUSES:
            raise Wrong(f"exit status {status}")
        said = b"".join(given.lines)
        if status == 0 and b"result" not in said and b'"part"' not in said:
            raise Wrong("exit status 0 without any result")
        if len(out) > OUTPUT_CHARS:
            raise Wrong(f"{len(out)} characters were printed")
        obeyed = next((one for one in out if not one.isprintable() and one not in "\n\t"), None)
        if obeyed is not None:
            at = out.index(obeyed)
            raise Wrong(f"a terminal would obey {out[max(0, at - 60) : at + 60]!a}")


class Impostor:
    """A socket that answers every request with the lines of the case."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="wss-")
        self.path = Path(self._directory.name, "control.sock")
        self.case = Case((), ())
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(5)
                if client.recv(protocol.LINE_BYTES):
                    for data in _sent(self.case):
                        client.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)
        self._directory.cleanup()


def _sent(case: Case) -> Iterator[bytes]:
    yield from case.lines
    if case.flood:
        for _ in range(FLOOD_BYTES // len(case.lines[-1])):
            yield case.lines[-1]


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _answer(document: Any) -> list[bytes]:
    return protocol.encode_answer({"id": 1, "result": document})


def _run(arguments: list[str]) -> tuple[str, int]:
    """All that wssctl prints, and its exit status; it runs in this process."""
    printed = io.StringIO()
    interrupt: Callable[..., Any] | int | None = signal.getsignal(signal.SIGINT)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)
        sys.stdout.flush()
    return printed.getvalue(), status
