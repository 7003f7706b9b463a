"""Starting and restarting the socket unit and the service, in any order, ends with an instance that
serves; what cannot be is said at once, with the command that cures it."""

import itertools

from examples.load.waiting import wait_until
from tests.e2e.service import Service

LINES_MAX = 8
"""Of the journal, about one failed start: five are systemd's."""


def state(service: Service, unit: str) -> str:
    return service.machine.show(unit, "ActiveState")


def wait_slots(service: Service) -> None:
    """Until it serves, from the socket unit's sockets."""
    service.wait_serving()
    (listener,) = service.status()["listeners"]
    drop_in = service.machine.read(f"/etc/systemd/system/{service.socket}.d/address.conf")
    slots = drop_in.count("\nListenStream=")
    assert (listener["source"], listener["slots"]) == ("systemd", slots)
    assert state(service, service.socket) == "active"


def test_every_order_of_start_and_restart_ends_with_an_instance_that_serves(new: Service) -> None:
    run, service, socket = new.machine.systemctl, new.service, new.socket
    for verb, *units in (
        ("start", service),  # both are stopped, as the guide stops them
        ("restart", service),
        ("restart", socket),
        ("restart", socket, service),
        ("restart", service, socket),
        ("start", socket),
    ):
        run(verb, *units)
        wait_slots(new)
    for stopped, verb, unit in (
        (service, "start", service),
        (service, "restart", socket),
        (socket, "start", service),
        (socket, "restart", service),
    ):
        run("stop", stopped)
        run(verb, unit)
        if (stopped, unit) == (service, socket):
            run("start", service)  # the sockets alone wait for a client
        wait_slots(new)
    assert new.machine.show(service, "NRestarts") == "0"


def test_stopping_the_socket_stops_the_instance_for_good(chat: Service) -> None:
    chat.machine.systemctl("stop", chat.socket)

    assert (state(chat, chat.socket), state(chat, chat.service)) == ("inactive", "inactive")
    assert chat.machine.run("pgrep", "--full", "app.py|/wssup", check=False).stdout == ""
    chat.machine.systemctl("start", chat.socket)
    with chat.load() as clients:
        clients.more(50)
        clients.assert_unnoticed()


def test_both_are_restarted_while_clients_come(chat: Service) -> None:
    """Connections end with it and while there is no socket none is made; then it serves."""
    with chat.storm() as storm:
        storm.wait_answered(20)
        for units in ([chat.socket, chat.service], [chat.socket]):
            chat.machine.systemctl("restart", *units)
            wait_slots(chat)
            storm.wait_answered(50)
        storm.finish()


def test_without_the_sockets_it_fails_once_and_names_the_cure(new: Service) -> None:
    """A service that does not require its socket unit, as one that was written by hand."""
    new.drop_in(new.service, "user", f"[Service]\nUser=wss-{new.name}\n")
    new.machine.systemctl("daemon-reload")
    cure = f"systemctl start {new.socket} {new.service}"

    assert new.machine.systemctl("start", new.service, check=False).returncode == 1
    assert_failed_once(new, new.service)
    assert cure in said(new, new.service)
    new.machine.run(*cure.split())
    wait_slots(new)


def test_a_mistyped_name_fails_once_and_is_seen(new: Service) -> None:
    unit = "wssupervisor@caht.service"

    assert new.machine.systemctl("start", unit, check=False).returncode == 1
    assert_failed_once(new, unit)
    assert "did you mean /etc/wssupervisor/chat.toml?" in said(new, unit)
    assert len(said(new, unit).splitlines()) <= LINES_MAX


def restart_pauses(service: Service) -> list[float]:
    """From each failed start to the next, in seconds."""
    found, failed = [], 0.0
    for entry in service.journal():
        at = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        if "Failed with result" in str(entry["MESSAGE"]):
            failed = at
        elif "Scheduled restart job" in str(entry["MESSAGE"]):
            found.append(at - failed)
    return found


def assert_failed_once(service: Service, unit: str) -> None:
    failed = service.machine.systemctl("--failed", "--plain", "--no-legend").stdout
    show = service.machine.show

    assert failed.split()[0] == unit
    assert (show(unit, "NRestarts"), show(unit, "ExecMainStatus")) == ("0", "78")


def said(service: Service, unit: str) -> str:
    return service.machine.journal("--output=cat", f"--unit={unit}")


def test_clients_of_a_configuration_that_cannot_be_right_wait_in_growing_pauses(
    new: Service,
) -> None:
    """Exit status 78 would have systemd start it for them again, at once, and for ever."""
    good = new.machine.read(new.config)
    new.configure("nonsense = true\n")
    assert new.machine.systemctl("start", new.service, check=False).returncode == 1
    assert_failed_once(new, new.service)

    with new.storm(rate=5.0) as storm:
        wait_until(
            lambda: int(new.machine.show(new.service, "NRestarts")) >= 4,
            what="four automatic restarts",
            every=0.2,
        )
        assert "clients wait in the sockets" in said(new, new.service)
        begun = storm.begun
        new.machine.write(new.config, good)
        new.wait_serving()
        storm.wait_answered(begun)
        notes = storm.finish()
    pauses = restart_pauses(new)
    print(f"{begun} waited; pauses {[round(one, 2) for one in pauses]}")

    assert [note.error for note in notes if note.error] == []
    assert all(later > before for before, later in itertools.pairwise(pauses))
