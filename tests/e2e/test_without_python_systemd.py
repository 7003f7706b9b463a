"""Without python-systemd the daemon is the same service: on a real systemd, with a real journal."""

import json
from collections.abc import Callable

from examples.load.waiting import wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service

LIBRARY = "/usr/lib/python3/dist-packages/systemd"


def test_it_notifies_stores_and_logs_by_hand(
    machine: Machine, record: Callable[[Counts], None]
) -> None:
    machine.run("rm", "-r", LIBRARY)
    assert machine.run("python3", "-c", "import systemd", check=False).returncode == 1
    chat = Service(machine, record)
    chat.release("one")
    chat.init()
    chat.start()
    with chat.load() as clients:
        chat.reload()
        clients.more(50)
        workers = chat.worker_pids()
        wait_next(chat, kill(chat))
        clients.more(50)
        assert chat.worker_pids() == workers
        chat.reload()
        clients.assert_unnoticed(chat.cutovers)
    assert machine.show(chat.service, "StatusText").startswith("serving; generation 3 active, ")

    def entry() -> dict[str, str]:
        lines = machine.journal(
            "--output=json", "WSS_INSTANCE=chat", "WSS_GENERATION=2"
        ).splitlines()
        found = [json.loads(line) for line in lines]
        return next((one for one in found if one["MESSAGE"].startswith("cutover ")), {})

    wait_until(entry, what="the cutover in the journal")
    assert entry()["SYSLOG_IDENTIFIER"] == "wssupervisor"
    assert entry()["PRIORITY"] == "6"
    assert entry()["_SYSTEMD_UNIT"] == chat.service
    assert len(entry()["MESSAGE_ID"]) == 32
