"""A config file for tests, with the quick times that tests want."""

import json
import os
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from tests.harness.releases import Releases

PORTS = range(20_000, 32_000)  # below the ephemeral ports, which the storm uses up
SHARES = 8
"""At most this many test processes side by side: each has its own part of the ports."""
HOST = "127.0.0.1"


@cache
def _own_ports() -> Iterator[int]:
    """Those of this test process, round and round: none comes again before all others did."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[share % SHARES :: SHARES]
    return cycle(random.sample(own, len(own)))


def free_port() -> int:
    """A port without listener or connection, and that no other test was given lately."""
    for port in islice(_own_ports(), len(PORTS) // SHARES):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a test may want to vary; `replace()` and write it again for a reload."""

    name: str
    releases: Releases
    ws_port: int = field(default_factory=free_port)
    raw_port: int = field(default_factory=free_port)
    workers: int = 2
    accept_stall: str | None = "2s"
    replace_after: str | None = None
    """Of workers that do not accept."""
    ready_timeout: str = "20s"
    stable: str = "100ms"
    keep: str = "0s"
    max_draining: int = 8
    kill_after: str = "500ms"
    stop_timeout: str = "5s"
    with_addresses: bool = True
    unix: bool = False
    """Listen on AF_UNIX sockets instead of TCP."""
    mode: str = "auto"
    balance: str = "random"
    ready_by: str = "connect"
    ready: str = ""
    """More lines of [ready]."""
    more: str = ""
    """More tables, or lines of the last one, [control]."""
    drain: str = ""
    """More lines of [drain]."""
    stop: str = ""
    drain_signal: str = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    extra_app: str = ""
    missing: bool = False
    """AF_UNIX sockets in a directory that is not there."""
    group_may_operate: bool = False
    listeners: tuple[str, ...] = ("ws", "raw")
    command: tuple[str, ...] = ()  # in place of the current release's `run`

    @property
    def path(self) -> Path:
        return self.releases.root / f"{self.name}.toml"

    def write(self) -> Path:
        self.path.write_text(self.text())
        return self.path

    @property
    def shared(self) -> "Settings":
        """For shared mode: workers that report ready, and release the socket on request."""
        environment = {**self.environment, "SAYS_READY": "1"}
        return replace(self, ready_by="notify", drain_signal="SIGUSR1", environment=environment)

    def target(self, name: str) -> tuple[str, int]:
        """Where clients connect to: host and port, or a path and 0."""
        if self.unix:
            directory = self.releases.root / ("missing" if self.missing else ".")
            return str(directory / f"{name}.sock"), 0
        return HOST, {"ws": self.ws_port, "raw": self.raw_port}[name]

    def text(self) -> str:
        current = self.releases.current
        command = self.command or (f"{current}/run",)
        lines = [
            "[app]",
            f"command = {json.dumps(command)}",
            f"directory = {json.dumps(str(current))}",
            f"workers = {self.workers}",
            *([self.extra_app] if self.extra_app else []),
            "[app.environment]",
            *(f"{key} = {json.dumps(value)}" for key, value in self.environment.items()),
        ]
        for name in self.listeners:
            lines += ["[[listen]]", f'name = "{name}"']
            if self.accept_stall is not None:
                lines.append(f'accept_stall = "{self.accept_stall}"')
            if self.replace_after is not None:
                lines.append(f'replace_after = "{self.replace_after}"')
            lines += [f'mode = "{self.mode}"', f'balance = "{self.balance}"']
            host, port = self.target(name)
            if self.with_addresses:
                address = f"unix:{host}" if self.unix else f"{host}:{port}"
                lines.append(f'address = "{address}"')
        lines += [
            "[ready]",
            f'by = "{self.ready_by}"',
            f'timeout = "{self.ready_timeout}"',
            f'stable = "{self.stable}"',
            *([self.ready] if self.ready else []),
            "[drain]",
            f'keep = "{self.keep}"',
            f'signal = "{self.drain_signal}"',
            f"max_draining = {self.max_draining}",
            *([self.drain] if self.drain else []),
            "[stop]",
            f'timeout = "{self.stop_timeout}"',
            f'kill_after = "{self.kill_after}"',
            *([self.stop] if self.stop else []),
            "[control]",
            f"group_may_operate = {json.dumps(self.group_may_operate)}",
            *([self.more] if self.more else []),
        ]
        return "\n".join(lines) + "\n"
