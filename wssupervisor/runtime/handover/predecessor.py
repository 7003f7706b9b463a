"""Detects, from the saved state, a previous supervisor that lives although we have its lock."""

import contextlib
import os
from pathlib import Path

from wssupervisor.control.hints import options
from wssupervisor.errors import InstanceRunning
from wssupervisor.runtime.handover.state_file import StateFile, Unusable
from wssupervisor.runtime.kernel import control_group
from wssupervisor.runtime.kernel.procfs import environment, is_alive

OF_WORKERS = "WSSUPERVISOR_GENERATION"
"""A variable in each worker's environment."""


def refuse_living(file: StateFile, name: str, control: str, *, is_service: bool) -> None:
    """Refuse to start if the supervisor that saved the state lives. Raises InstanceRunning.

    Its lock file may have been deleted.
    """
    with contextlib.suppress(Unusable):
        found = file.read(name)
        pid, _, started = ("" if found is None else found.supervisor).partition(":")
        if not (pid.isdecimal() and started.isdecimal()):
            return
        if is_alive(int(pid), int(started)) and _may_supervise(int(pid), is_service=is_service):
            raise InstanceRunning(
                f"a daemon (pid {pid}) runs at {control}, though its lock was removed. Deploy a new"
                f" release with `wssctl {options(control)} reload`, or stop it with `wssctl"
                f" {options(control)} stop`"
            )


def _may_supervise(pid: int, *, is_service: bool) -> bool:
    """False for a process of another user and, in our service, for a worker named by the state."""
    try:
        if Path(f"/proc/{pid}").stat().st_uid != os.geteuid():
            return False
    except OSError:
        return False
    if not is_service:
        return True
    return pid not in control_group.members() and OF_WORKERS not in environment(pid)
