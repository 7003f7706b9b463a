"""The containers themselves: none outlives the process that started it."""

import os
import select
import subprocess
import sys
from pathlib import Path

from examples.load.waiting import HANG_SECONDS
from tests.e2e.layers import ROOT

STARTS = """
import sys, threading
from pathlib import Path
from tests.e2e.machine import Machine

machine = Machine([Path(one) for one in sys.argv[2:]], Path(sys.argv[1]))
starting = threading.Thread(target=machine.boot)
starting.start()
starting.join()
print(machine.leader, flush=True)
sys.stdin.read()
"""
"""From a thread that ends: a machine belongs to the process."""


def test_a_machine_ends_when_the_process_that_started_it_is_killed(
    installed: list[Path], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, tmp_path, *installed],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        leader = os.pidfd_open(int(owner.stdout.readline()))
        try:
            lived = select.select([leader], [], [], 0) == ([], [], [])
            owner.kill()
            ended, _, _ = select.select([leader], [], [], HANG_SECONDS)
        finally:
            os.close(leader)

    assert lived
    assert ended == [leader]
