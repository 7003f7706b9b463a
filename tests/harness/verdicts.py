"""Servers, ways of judging them and kinds of bad releases: how does the reload of each end?

The release before is good, and stays in service unless a reload exits 0.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings

APPLICATIONS = Path(__file__).parent / "judged"
TIMEOUT = "2s"
LOADED_TIMEOUT = "20s"
HTTP = 'path = "/healthz"'
WEBSOCKET = 'path = "/"\nsend = "ping"\nexpect = "ping"'
READY = {"http": HTTP, "websocket": WEBSOCKET}
WAYS = ("connect", "notify", "http", "websocket")
NO_ANSWER = "it has accepted a connection but not answered yet"
DIED = "exited with status|no such table|was not ready within"
"""The last where it takes longer to die than it was given."""


@dataclass(frozen=True, slots=True)
class Bad:
    """`caught`: what the reason must say, for each way of judging that must refuse it."""

    name: str
    caught: Mapping[str, str]


GOOD = Bad("good", {})
KINDS = (
    GOOD,
    Bad("dies", dict.fromkeys(WAYS, DIED)),
    Bad("hangs", dict.fromkeys(WAYS, "was not ready within 2s")),
    Bad("silent", {"http": NO_ANSWER, "websocket": NO_ANSWER}),
    Bad(
        "500",
        {
            "http": "answered 500 to GET /healthz, not 200 to 299",
            "websocket": "refused the WebSocket handshake",
        },
    ),
    Bad(
        "redirects",
        {
            "http": "answered 302 to GET /healthz, not 200 to 299",
            "websocket": "refused the WebSocket handshake",
        },
    ),
    Bad("leaves", {"websocket": r"closed the WebSocket|broke the connection"}),
    # The right message may still come: the probe waits for longer than the worker is given here.
    Bad("wrong", {"websocket": f"did not answer 'ping'|{NO_ANSWER}"}),
)
"""Every release but those that are judged by `notify` says READY=1 before all else where it can."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    command: tuple[str, ...]
    ways: tuple[str, ...] = WAYS
    environment: Mapping[str, str] | None = None


def ours(python: str = sys.executable) -> list[Server]:
    """Those that the tests' own environment has."""
    return [
        Server("uvicorn", (python, "-m", "uvicorn", "asgi:app", "--fd", "{fd}")),
        Server("websockets", (python, "server.py")),
    ]


def others(python: str, node: str | None, modules: str | None) -> list[Server]:
    """Those of an environment that has them all.

    gunicorn says READY=1 itself, before it imports the application: `notify` proves nothing of it.
    """
    gunicorn = (python, "-m", "gunicorn", "--log-level", "warning")
    found = [
        Server("gunicorn sync", (*gunicorn, "wsgi:app"), ("connect", "http")),
        Server(
            "gunicorn gthread",
            (*gunicorn, "-k", "gthread", "--threads", "4", "wsgi:app"),
            ("connect", "http"),
        ),
        Server(
            "gunicorn uvicorn",
            (*gunicorn, "-k", "uvicorn_worker.UvicornWorker", "asgi:app"),
            ("connect", "http", "websocket"),
        ),
        Server("hypercorn", (python, "-m", "hypercorn", "asgi:app", "--bind", "fd://{fd}")),
    ]
    if node is not None:
        ways = ("connect", "http", "websocket") if modules else ("connect", "http")
        paths = {"NODE_PATH": modules} if modules else {}
        found.append(Server("node ws" if modules else "node", (node, "server.cjs"), ways, paths))
    return found


@dataclass(frozen=True, slots=True)
class Row:
    server: str
    by: str
    kind: str
    status: int
    expected: int
    reason: str
    explained: bool
    """The reason of a refusal is the one that this kind has."""

    @property
    def right(self) -> bool:
        return self.status == self.expected and self.explained


def judge(
    server: Server, settings: Settings, ways: Sequence[str], kinds: Sequence[Bad]
) -> list[Row]:
    """Reload to every kind, judged in every way that the server has."""
    for path in APPLICATIONS.iterdir():
        if path.is_file():
            shutil.copy(path, settings.releases.current.resolve())
    good = _settings(server, settings, "notify" if "notify" in server.ways else "connect", GOOD)
    with Daemon(good) as daemon:
        daemon.start()
        return [
            _row(daemon, server, good, by, kind)
            for by in ways
            for kind in kinds
            if by in server.ways
        ]


def _settings(server: Server, before: Settings, by: str, kind: Bad) -> Settings:
    says = "when it serves" if by == "notify" else "at once"
    return replace(
        before,
        command=server.command,
        workers=1,
        listeners=("ws",),
        ready_by=by,
        ready=READY.get(by, ""),
        # What is to pass is given all the time that it wants.
        ready_timeout=TIMEOUT if by in kind.caught else LOADED_TIMEOUT,
        stable="600ms",
        keep="0s",
        max_draining=50,
        environment={
            **(server.environment or {}),
            "BAD": kind.name,
            "SAYS_READY": says,
            "PATH": os.environ["PATH"],
        },
    )


def _row(daemon: Daemon, server: Server, good: Settings, by: str, kind: Bad) -> Row:
    _settings(server, good, by, kind).write()
    done = daemon.ctl("reload")
    reason = done.err.strip()
    caught = kind.caught.get(by)
    return Row(
        server=server.name,
        by=by,
        kind=kind.name,
        status=done.status,
        expected=0 if caught is None else 1,
        reason=reason,
        explained=caught is None or re.search(caught, reason) is not None,
    )
