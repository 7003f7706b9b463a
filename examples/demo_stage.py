"""The environment of the demo: a directory with releases, a configuration, and a daemon."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHAT = ROOT / "examples" / "chat" / "server.py"
HOST = "127.0.0.1"
WORKERS = 2
START_WITHIN = 20.0
ANSWER_WITHIN = 30.0
STOP_WITHIN = 15.0
ASK_EVERY = 0.1
BROKEN_IMPORT = "from chat_emoji import SHORTCODES\n"

CONFIG = """\
[app]
command = [{python}, {server}]
directory = {current}
workers = {workers}

[[listen]]
name = "ws"
address = "{host}:{port}"

[ready]
timeout = "10s"
stable = "500ms"

[drain]
keep = "1s"

[stop]
timeout = "5s"
kill_after = "2s"
"""


NAME = "demo"


class DemoFailed(Exception):
    """The demo cannot continue. The message has the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one wssctl command."""

    status: int
    out: str
    err: str


class Stage:
    """Everything is in one directory, which `clear` removes."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="wss-demo-"))
        self.control = self.directory / "wssupervisor" / NAME / "control.sock"
        self.wssctl = self.directory / "wssctl"
        self.log = self.directory / "daemon.log"
        self.port = _free_port()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._write_config()
        self._write_wssctl()

    def _write_config(self) -> None:
        current = self.directory / "current"
        config = CONFIG.format(
            python=json.dumps(sys.executable),
            server=json.dumps(f"{current}/server.py"),
            current=json.dumps(str(current)),
            workers=WORKERS,
            host=HOST,
            port=self.port,
        )
        (self.directory / "chat.toml").write_text(config)

    def _write_wssctl(self) -> None:
        """Write a wssctl with its options built in, so that commands to try and hints are short.

        The control socket is where instances of this runtime directory have theirs.
        """
        command = [sys.executable, "-m", "wssupervisor.commands.cli", "--control"]
        self.wssctl.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\n"
            f"export XDG_RUNTIME_DIR={shlex.quote(str(self.directory))}\n"
            f'exec {shlex.join([*command, str(self.control)])} "$@"\n'
        )
        self.wssctl.chmod(0o755)

    def install(self, number: int, *, broken: bool = False) -> None:
        """Make a new release of the chat server, as a directory. It is not current yet."""
        release = self.directory / "releases" / str(number)
        release.mkdir(parents=True)
        code = CHAT.read_text()
        if broken:
            code = code.replace("import asyncio\n", f"import asyncio\n{BROKEN_IMPORT}", 1)
        (release / "server.py").write_text(code)

    def switch(self, number: int) -> None:
        new = self.directory / "current.new"
        new.symlink_to(Path("releases") / str(number))
        new.rename(self.directory / "current")

    def start(self, waiting: Callable[[], None]) -> None:
        """Start the daemon as a user does, and wait until it serves."""
        command = [sys.executable, "-m", "wssupervisor", "--name", NAME]
        command += ["--config", str(self.directory / "chat.toml"), "--control", str(self.control)]
        with self.log.open("wb") as log:
            self._daemon = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes only to the demo, which then stops the daemon
            )
        limit = time.monotonic() + START_WITHIN
        while self.state() != "serving":
            if self._daemon.poll() is not None or time.monotonic() > limit:
                text = self.log.read_text(errors="replace")
                raise DemoFailed(f"the supervisor did not start:\n{text}")
            waiting()
            time.sleep(ASK_EVERY)

    def ask(self, *arguments: str) -> Answer:
        try:
            done = subprocess.run(
                [str(self.wssctl), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_WITHIN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            line = shlex.join(["wssctl", *arguments])
            raise DemoFailed(f"`{line}` did not end within {ANSWER_WITHIN:g} s") from None
        return Answer(done.returncode, done.stdout, done.stderr)

    def state(self) -> str:
        answer = self.ask("status", "--json")
        return str(json.loads(answer.out)["state"]) if answer.status == 0 else "absent"

    def status(self) -> dict[str, Any]:
        answer = self.ask("status", "--json")
        if answer.status != 0:
            raise DemoFailed(f"the supervisor does not answer: {answer.err}")
        document = json.loads(answer.out)
        assert isinstance(document, dict)
        return document

    def active_pids(self) -> list[int]:
        return [
            int(worker["pid"])
            for generation in self.status()["generations"]
            if generation["state"] == "active"
            for worker in generation["workers"]
            if worker.get("pid")
        ]

    def leave_running(self) -> None:
        if self._daemon is not None:
            self._daemon.returncode = 0  # keeps Popen from warning that it is still running
            self._daemon = None

    def clear(self) -> int:
        """Stop the daemon and remove the directory. Returns the daemon's exit status."""
        status = 0
        if self._daemon is not None:
            if self._daemon.poll() is None:
                self._daemon.send_signal(signal.SIGTERM)
            try:
                status = self._daemon.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                status = self._daemon.wait(STOP_WITHIN)
        shutil.rmtree(self.directory)
        return status


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])
