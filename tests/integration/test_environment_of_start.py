"""What can be wrong around a start: limits, interpreters, wrappers, overlapping addresses."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.configs import load
from tests.harness.daemon import HANGS_UP, Daemon
from tests.harness.settings import Settings, free_port
from tests.harness.sockets import HeldSockets
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.runtime.releases.release import resolve

SOFT = 90
LITTLE = (*HANGS_UP, "sh", "-c", f'ulimit -S -n {SOFT}; exec "$@"', "sh")
SAYS_ITS_LIMIT = """
import asyncio, resource, socket
print("limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
async def main():
    server = await asyncio.start_server(lambda r, w: w.close(), sock=socket.socket(fileno=3))
    await server.serve_forever()
asyncio.run(main())
"""
CHECKS_ITS_PID = """
import os, time
assert os.environ["LISTEN_PID"] != str(os.getpid())
time.sleep(60)
"""


def program(settings: Settings, text: str) -> Settings:
    path = settings.releases.root / "server.py"
    path.write_text(text)
    own = replace(settings, workers=1, listeners=("ws",))
    return replace(own, command=(sys.executable, str(path)))


def test_a_low_soft_limit_is_raised_for_the_supervisor_and_kept_for_workers(
    settings: Settings,
) -> None:
    own = replace(program(settings, SAYS_ITS_LIMIT), max_draining=20)
    with Daemon(own, wrapper=LITTLE) as daemon:
        daemon.start()
        daemon.reload()
        assert daemon.ctl("upgrade").status == 0
        daemon.reload()
        daemon.wait_for(lambda _: daemon.log().count("| limit") == 3, what="words")

        assert 3 == daemon.log().count(f"| limit {SOFT}\n")


def test_a_wrapper_without_exec_is_told_why_its_server_takes_no_socket(settings: Settings) -> None:
    own = program(settings, CHECKS_ITS_PID)
    line = f"{own.command[0]} {own.command[1]}; true"
    with Daemon(replace(own, command=("/bin/sh", "-c", line), ready_timeout="3s")) as daemon:
        assert daemon.run_to_its_end() == 1
        assert re.search(
            r"\$LISTEN_PID is \d+ \(sh\), which started pid \d+ \(python", daemon.log()
        )


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"#!/opt/gone/bin/python3\n", "/opt/gone/bin/python3 does not exist"),
        (b"#! /opt/gone/bin/python3 -u\n", "/opt/gone/bin/python3 does not exist"),
        (b"#!/bin/sh\r\necho\r\n", "Windows line endings"),
        (b"#!/usr/bin/env python3\r\n", "Windows line endings"),
        (b"#!\n", "names no interpreter"),
    ],
)
@pytest.mark.parametrize("by_path", [False, True])
def test_a_program_without_its_interpreter_is_said_to_be_just_that(
    tmp_path: Path,
    head: bytes,
    says: str,
    by_path: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "serve").write_bytes(head)
    (tmp_path / "serve").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = "serve" if by_path else str(tmp_path / "serve")
    config = load(
        tmp_path, f'[app]\ncommand = ["{command}"]\n[[listen]]\naddress = "127.0.0.1:1"\n'
    )

    with pytest.raises(ReleaseInvalid, match=re.escape(says)):
        resolve(config)


def test_a_program_for_another_system_is_said_to_be_just_that(tmp_path: Path) -> None:
    shell = Path("/bin/sh").resolve().read_bytes()
    found = re.search(rb"/lib64/ld-linux-x86-64\.so\.2", shell)
    if found is None:
        pytest.skip("not x86-64")
    (tmp_path / "serve").write_bytes(shell.replace(b"/lib64/ld-linux", b"/lib64/ld-marvl"))
    (tmp_path / "serve").chmod(0o755)
    config = load(
        tmp_path, f'[app]\ncommand = ["{tmp_path}/serve"]\n[[listen]]\naddress = "127.0.0.1:1"\n'
    )

    with pytest.raises(ReleaseInvalid, match="its loader /lib64/ld-marvl"):
        resolve(config)


def test_sockets_in_each_others_way_are_not_blamed_on_somebody_else(settings: Settings) -> None:
    """One from the socket unit, one that we bind: the configuration has only one address."""
    port = free_port()
    own = replace(program(settings, SAYS_ITS_LIMIT), listeners=("ws", "raw"), raw_port=port)
    text = own.text().replace(f'address = "127.0.0.1:{own.ws_port}"\n', "")
    with (
        HeldSockets({"ws": ("0.0.0.0", port)}, slots=4) as sockets,
        Daemon(own, sockets=sockets) as daemon,
    ):
        daemon.config.write_text(text)

        assert daemon.run_to_its_end() == 1
        assert f"overlaps with 0.0.0.0:{port} of listener 'ws' of this instance" in daemon.log()
        assert "another process listens" not in daemon.log()
