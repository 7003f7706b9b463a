"""What workers write and what the supervisor logs, on a systemd whose journal comes and goes."""

import json
import re

from examples.load.waiting import wait_until
from tests.e2e.service import Service
from wssupervisor.logging import MESSAGE_IDS

JOURNAL = "systemd-journald.service"
SOCKETS = ("systemd-journald.socket", "systemd-journald-dev-log.socket")
NAMES = "#!/bin/sh\necho one > /dev/stderr\necho two\nexec python3 ./app.py well\n"
COUNTS = """#!/bin/bash
(for n in $(seq 300); do echo "count $n"; sleep 0.02; done) 3<&- 4<&- &
exec python3 ./app.py well
"""
RELAYS = "grep -lz ^WSSUPERVISOR_RELAY= /proc/[0-9]*/environ || true"


def stop_journal(chat: Service) -> None:
    chat.machine.systemctl("stop", *SOCKETS, JOURNAL)
    assert chat.machine.show(JOURNAL, "ActiveState") == "inactive"


def start_journal(chat: Service) -> None:
    chat.machine.systemctl("start", *SOCKETS, JOURNAL)


def wait_logged(chat: Service, *kinds: str) -> None:
    ids = {MESSAGE_IDS[kind] for kind in kinds}

    def logged() -> bool:
        return ids <= {note.get("MESSAGE_ID") for note in chat.journal()}

    wait_until(logged, what=f"{kinds} in the journal", every=0.2)


def relays(chat: Service) -> list[str]:
    return chat.machine.run("sh", "-c", RELAYS).stdout.split()


def test_without_a_journal_workers_are_replaced_and_it_is_told_afterwards(chat: Service) -> None:
    with chat.load(held=5) as clients:
        stop_journal(chat)
        pid = chat.worker_pids()[0]
        # One without connections: all clients have moved to another release.
        chat.reload()
        chat.machine.run("kill", "-KILL", str(chat.worker_pids()[1]))
        wait_until(
            lambda: len(chat.worker_pids()) == 2 and chat.status()["state"] == "serving",
            what="a replacement",
            every=0.2,
        )
        chat.reload()
        assert chat.active() == 3
        assert pid not in chat.worker_pids()
        start_journal(chat)
        wait_logged(chat, "worker-exited", "cutover")
        verdict, held = clients.finish(chat.cutovers)
        assert held.broken == ()
        assert verdict.misrouted == 0


def test_an_instance_that_starts_without_a_journal_logs_to_it_when_it_is_there(
    new: Service,
) -> None:
    stop_journal(new)
    new.start()
    start_journal(new)
    new.reload()

    wait_logged(new, "started", "cutover")


def test_a_script_that_names_its_standard_error_is_heard_and_goes_with_its_relay(
    new: Service,
) -> None:
    new.release("names", script=NAMES)
    new.start()
    new.wait_said(1, "1.0.1 | one", "1.0.1 | two", "1.1.1 | one", "1.1.1 | two")
    before = relays(new)
    new.machine.systemctl("stop", new.socket, new.service)

    assert len(before) == 1
    assert relays(new) == []
    assert "left-over" not in new.machine.journal(f"--unit={new.service}", "--output=cat")


def test_what_workers_write_over_the_supervisors_death_is_all_there(new: Service) -> None:
    new.release("counts", script=COUNTS)
    new.start()
    new.wait_said(1, "1.0.1 | count 20")
    new.machine.run("kill", "-KILL", str(new.main_pid()))
    said = new.wait_said(1, "1.0.1 | count 300", "1.1.1 | count 300")
    for worker in ("1.0.1", "1.1.1"):
        found = [
            int(counted[1])
            for note in said
            if (counted := re.fullmatch(rf"{worker} \| count (\d+)", note["MESSAGE"]))
        ]
        assert sorted(set(found)) == list(range(1, 301))
    status = json.loads(new.ctl("status", "--json").stdout)
    wait_until(lambda: len(relays(new)) == 1, what="one relay", every=0.2)

    assert status["state"] == "serving"
