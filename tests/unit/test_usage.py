"""How much of the processor workers use."""

import os
import resource

from wssupervisor.runtime.observe.usage import Usage

NOBODY = 2**22 + 1
"""More than any pid."""


def test_who_has_gone_is_left_out() -> None:
    usage = Usage()

    usage.look([os.getpid(), NOBODY])

    assert list(usage.by_pid) == [os.getpid()]


def test_without_descriptors_nothing_is_seen_and_nothing_fails() -> None:
    usage = Usage()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        usage.look([os.getpid()])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert usage.by_pid == {}
