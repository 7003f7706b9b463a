"""Who may do what over the control socket: the kernel says who asks."""

import os
from dataclasses import replace

import pytest

from tests.harness.daemon import Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from wssupervisor.commands.cli import main

STRANGER, MEMBER = 61001, 61002
"""A user and a group that own nothing."""

pytestmark = needs_root


def as_somebody(path: str, *arguments: str, groups: list[int]) -> int:
    """The exit status of wssctl as a user that is nobody, but a member of these groups.

    A fork, since somebody else may not be allowed to read the interpreter in our home.
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
        assert (daemon.status()["out"] is not None) is may
        assert as_somebody(path, "join", groups=[MEMBER]) == reload
