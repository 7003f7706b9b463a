"""A config file for tests, with the quick times that tests want."""

import json
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.releases import Releases

PORTS = range(20_000, 32_000)  # below the ephemeral ports, which the storm uses up
HOST = "127.0.0.1"


def free_port() -> int:
    """A port on which nobody listens or is connected."""
    for port in random.sample(PORTS, len(PORTS)):
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
    accept_stall: str = "2s"
    ready_timeout: str = "20s"
    stable: str = "100ms"
    keep: str = "0s"
    max_draining: int = 8
    kill_after: str = "500ms"
    stop_timeout: str = "5s"
    with_addresses: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    extra_app: str = ""
    group_may_operate: bool = False
    listeners: tuple[str, ...] = ("ws", "raw")
    command: tuple[str, ...] = ()  # in place of the current release's `run`

    @property
    def path(self) -> Path:
        return self.releases.root / f"{self.name}.toml"

    def write(self) -> Path:
        self.path.write_text(self.text())
        return self.path

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
        ports = {"ws": self.ws_port, "raw": self.raw_port}
        for name in self.listeners:
            lines += ["[[listen]]", f'name = "{name}"', f'accept_stall = "{self.accept_stall}"']
            if self.with_addresses:
                lines.append(f'address = "{HOST}:{ports[name]}"')
        lines += [
            "[ready]",
            f'timeout = "{self.ready_timeout}"',
            f'stable = "{self.stable}"',
            "[drain]",
            f'keep = "{self.keep}"',
            f"max_draining = {self.max_draining}",
            "[stop]",
            f'timeout = "{self.stop_timeout}"',
            f'kill_after = "{self.kill_after}"',
            "[control]",
            f"group_may_operate = {json.dumps(self.group_may_operate)}",
        ]
        return "\n".join(lines) + "\n"
