"""A second socket unit of one instance: both listeners cut over together, and survive the same."""

from examples.load.clients import StormClient
from examples.load.verdict import judge
from tests.e2e.death import kill, wait_next
from tests.e2e.service import HOST, Service

UNIT = "chat-raw.socket"
PORT = 8766
SLOTS = 24
ANSWERS = 60

LISTEN = SLOTS * f"ListenStream={HOST}:{PORT}\n"
SOCKET = f"""
[Unit]
Description=Raw sockets of chat
[Socket]
Service=wssupervisor@chat.service
FileDescriptorName=raw
ReusePort=yes
Backlog=4096
TriggerLimitIntervalSec=0
{LISTEN}"""


def add_second_listener(service: Service) -> None:
    """As docs/guides/second-listener.md says."""
    service.machine.write(f"/etc/systemd/system/{UNIT}", SOCKET)
    service.drop_in(service.service, "raw", f"[Service]\nSockets={UNIT}\n")
    service.configure('[[listen]]\nname = "raw"\n')
    service.machine.systemctl("daemon-reload")


def test_both_cut_over_together_and_outlive_the_supervisor(new: Service) -> None:
    add_second_listener(new)
    new.machine.systemctl("start", new.socket, new.service)
    new.wait_serving()

    assert [(one["name"], one["mode"], one["source"]) for one in new.status()["listeners"]] == [
        ("ws", "steered", "systemd"),
        ("raw", "steered", "systemd"),
    ]
    assert new.machine.show(UNIT, "ActiveState") == "active"  # the service pulled it in

    machine = new.machine
    with (
        new.load(rate=100.0) as clients,
        StormClient(machine.directory, HOST, PORT, machine.network, rate=100.0) as second,
    ):
        for _ in range(2):
            new.reload()
            second.wait_answered(ANSWERS)
        wait_next(new, kill(new))
        new.reload()
        second.wait_answered(ANSWERS)
        verdict = judge(second.finish(), new.cutovers)

        assert (verdict.lost, verdict.misrouted, verdict.reasons) == (0, 0, {})
        clients.assert_unnoticed(new.cutovers)


def test_an_instance_that_runs_gets_it_by_a_restart_and_refuses_a_reload(new: Service) -> None:
    new.start()
    add_second_listener(new)
    refused = new.systemctl("reload", check=False)

    assert refused.returncode == 1
    assert "[[listen]] name changed, which needs a restart" in new.status()["last_reload"]["reason"]

    early = new.machine.systemctl("start", UNIT, check=False)

    assert early.returncode == 1, "systemd starts no socket beside a service that runs"

    new.systemctl("restart")
    new.wait_serving()

    assert ["ws", "raw"] == [one["name"] for one in new.status()["listeners"]]
