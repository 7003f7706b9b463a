"""Rights over the control socket, whose callers the kernel identifies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from wssupervisor.commands.cli import main
from wssupervisor.control.client import Client, DaemonError
from wssupervisor.control.shares import CLIENTS_MAX, SHARE

STRANGER, MEMBER = 61001, 61002
"""A user and a group that own nothing."""
SECRET = "password=hunter2"

pytestmark = needs_root


def as_somebody(path: str, *arguments: str, groups: list[int]) -> int:
    """The exit status of wssctl as an unknown user that is a member of these groups.

    A fork, because another user may not be allowed to read the interpreter in our home.
    """
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os._exit(main(["--control", path, *arguments]))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("may", "reload", "serves"), [(False, 77, 1), (True, 0, 2)])
def test_the_group_may_look_and_operates_only_where_the_config_says_so(
    settings: Settings, *, may: bool, reload: int, serves: int
) -> None:
    with Daemon(replace(settings, group_may_operate=may)) as daemon:
        daemon.start()
        path = str(daemon.control)
        daemon.private.chmod(0o755)
        os.chown(path, 0, MEMBER)

        assert as_somebody(path, "status", groups=[]) == 77
        assert as_somebody(path, "status", groups=[MEMBER]) == 0
        assert as_somebody(path, "metrics", groups=[]) == 77
        assert as_somebody(path, "metrics", groups=[MEMBER]) == 0
        assert as_somebody(path, "reload", groups=[MEMBER]) == reload
        assert daemon.active() == serves
        assert as_somebody(path, "leave", "--no-wait", groups=[MEMBER]) == reload
        assert (daemon.status()["out_of_rotation"] is not None) is may
        assert as_somebody(path, "join", groups=[MEMBER]) == reload


def answer_to_member(path: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """What a member of the group is answered: the result, or `code`, `message` and `lines`."""

    def ask() -> dict[str, Any]:
        try:
            return Client(path).call(method, params)
        except DaemonError as error:
            return {"code": error.code, "message": str(error), "lines": error.lines}

    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(STRANGER)
            os.write(theirs, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        text = file.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(text)
    return found


def become(uid: int) -> None:
    os.setgroups([MEMBER])
    os.setresgid(STRANGER, STRANGER, STRANGER)
    os.setresuid(uid, uid, uid)


@contextmanager
def idle_connections(path: str, uid: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections of that user: the kernel notes who it is when they are made."""
    with ExitStack() as stack:
        made = []
        os.setegid(MEMBER)
        os.seteuid(uid)
        try:
            for _ in range(count):
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.settimeout(HANG_SECONDS)
                one.connect(path)
                made.append(one)
        finally:
            os.seteuid(0)
            os.setegid(0)
        yield made


def open_to_members(daemon: Daemon) -> str:
    path = str(daemon.control)
    daemon.private.chmod(0o755)
    os.chown(path, 0, MEMBER)
    return path


@pytest.mark.parametrize("may", [False, True])
def test_members_never_stop_or_upgrade_and_see_a_workers_last_lines_if_they_may_operate(
    settings: Settings, *, may: bool
) -> None:
    with Daemon(replace(settings, group_may_operate=may)) as daemon:
        path = open_to_members(daemon.start())
        run = settings.releases.install("leaks") / "run"
        run.write_text(f"#!/bin/sh\necho {SECRET}\nexit 1\n")
        assert SECRET in daemon.ctl("reload").err
        verdict = answer_to_member(path, "verdict", {"reload": "r1"})

        assert verdict["code"] == "reload-failed"
        assert "exited with status 1" in verdict["message"]
        assert verdict["lines"] == ([SECRET] if may else [])
        read = [answer_to_member(path, method, {}) for method in ("status", "history", "metrics")]
        assert SECRET not in json.dumps(read)
        refused = [answer_to_member(path, method, {}) for method in ("stop", "upgrade")]
        assert {one["code"] for one in refused} == {"not-allowed"}
        now = "operate" if may else "read"
        assert f"may {now} but not stop this instance. Run as root or" in refused[0]["message"]
        assert "group_may_operate" not in refused[0]["message"]
        assert daemon.status()["executions"] == 1


@pytest.mark.parametrize("may", [False, True])
def test_a_member_who_asks_for_a_verdict_and_leaves_cancels_nothing(
    settings: Settings, tmp_path: Path, *, may: bool
) -> None:
    """An upgrade cuts off root, whose reload continues; then a member asks how it ended."""
    gate = tmp_path / "gate"
    gated = replace(settings, environment={"GATE": str(gate)}, group_may_operate=may)
    with Daemon(gated) as daemon, socket.socket(socket.AF_UNIX) as root:
        path = open_to_members(daemon.start())
        settings.releases.install("gated", "gated")
        root.settimeout(HANG_SECONDS)
        root.connect(path)
        root.sendall(b'{"id": 1, "method": "reload"}\n')
        assert b'"reload":"r1"' in root.recv(1000)
        assert daemon.ctl("upgrade").status == 0
        while root.recv(1000):
            pass
        with idle_connections(path, STRANGER, 1) as (member,):
            member.sendall(b'{"id": 1, "method": "verdict", "params": {"reload": "r1"}}\n')
            assert b"keepalive" in member.recv(1000)
        assert daemon.state() == "reloading"
        gate.touch()
        daemon.wait_for(lambda one: one["last_reload"], what="a verdict")

        assert daemon.status()["last_reload"]["ok"] is True


FOLLOW = b'{"id": 1, "method": "events", "params": {"follow": true}}\n'


def test_connections_of_members_keep_out_neither_root_nor_each_other(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        path = open_to_members(daemon.start())

        def status_of_member() -> int:
            return as_somebody(path, "status", groups=[MEMBER])

        with ExitStack() as stack:
            crowd = [
                stack.enter_context(idle_connections(path, 62000 + at, SHARE))
                for at in range(CLIENTS_MAX // SHARE + 1)
            ]
            own = stack.enter_context(idle_connections(path, STRANGER, SHARE))

            assert daemon.ctl("status").status == 0
            assert status_of_member() == 0
            assert b'"code":"busy"' in crowd[0][0].recv(1000)
            assert b'"code":"busy"' in own[0].recv(1000)
        with idle_connections(path, STRANGER, SHARE) as own:
            for one in own:
                one.sendall(FOLLOW)
                assert one.recv(10)

            assert status_of_member() == 75
            assert daemon.ctl("status").status == 0
        free = "a place of those that have left"
        wait_until(lambda: status_of_member() == 0, what=free)
