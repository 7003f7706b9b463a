"""A process that hides from its worker is found by the unit's control group and by our sockets."""

import re
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

STRAYS = Path(__file__).parents[1] / "harness/workers/strays.py"
CLIENTS = 30
ASK = f"""
import socket
found = set()
for _ in range({CLIENTS}):
    with socket.create_connection(("127.0.0.1", 8765), 10) as client:
        client.settimeout(10)
        found.add(client.recv(100).decode().strip())
print(*sorted(found))
"""


def leave_strays(service: Service, *words: str) -> None:
    name = "-".join(("strays", *words))
    place = f"/srv/chat/releases/{name}"
    service.release(name, script=f"#!/bin/sh\nexec python3 {place}/strays.py {' '.join(words)}\n")
    service.machine.write(f"{place}/strays.py", STRAYS.read_text())


def strays(service: Service) -> list[int]:
    found = (re.search(r"\| stray (\d+)", str(entry["MESSAGE"])) for entry in service.journal())
    return [int(one[1]) for one in found if one is not None]


def wait_strays(service: Service, count: int) -> list[int]:
    wait_until(lambda: len(strays(service)) >= count, what="strays", every=0.2)
    return strays(service)


def alive(service: Service, pids: list[int]) -> list[int]:
    """Those that run; a zombie is reaped within a second."""
    listed = service.machine.run("ps", "-e", "-o", "pid=,stat=").stdout.splitlines()
    found = {int(pid) for pid, state in map(str.split, listed) if not state.startswith("Z")}
    return [pid for pid in pids if pid in found]


def asked(service: Service) -> str:
    return service.machine.run("python3", "-c", ASK).stdout.strip()


@pytest.mark.slow("a reload, a death, stops and starts, one after the other")
def test_strays_end_with_their_generation_at_a_stop_and_before_a_start(new: Service) -> None:
    leave_strays(new, "accepts")
    new.start()
    first = wait_strays(new, 2)
    leave_strays(new, "accepts", "none")
    new.reload()
    new.wait_alone()
    assert alive(new, first) == []
    assert asked(new) == "worker"

    leave_strays(new, "nothing")
    new.reload()
    second = wait_strays(new, 4)[2:]
    new.machine.systemctl("stop", new.socket, new.service)
    assert alive(new, second) == []
    new.machine.systemctl("start", new.service)
    new.wait_serving()

    # And where the supervisor and its workers die together, while the sockets stay.
    leave_strays(new, "accepts")
    new.reload()
    third = wait_strays(new, 8)[6:]
    assert alive(new, third) == third
    pids = new.worker_pids()
    died = kill(new)
    new.machine.run("kill", "-9", *map(str, pids), check=False)
    wait_next(new, died)
    new.wait_serving()
    wait_until(lambda: not alive(new, third), what="their end", every=0.2)
    new.machine.systemctl("stop", new.service)
    assert alive(new, strays(new)) == []
    leave_strays(new, "accepts", "none")
    new.machine.systemctl("start", new.service)
    new.wait_serving()
    assert asked(new) == "worker"
