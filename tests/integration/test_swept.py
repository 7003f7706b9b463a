"""Directories and files are swept away under a running instance, and come back."""

import shutil
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import send
from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.settings import HOST, Settings

ANSWERS_AFTER = 100
AGAIN = "deleted by another program, and restored"


def wait_logged(daemon: Daemon, text: str, count: int = 1) -> None:
    wait_until(lambda: daemon.log().count(text) >= count, what=f"{text!r} in the log")


@pytest.fixture
def directory(short_directory: Path) -> Path:
    return short_directory / "run"


def files(directory: Path) -> set[str]:
    return {one.name for one in directory.iterdir()} if directory.is_dir() else set()


def written(directory: Path) -> bool:
    """State is there again, as a whole: its files are made empty, and filled by turns."""
    return any(is_whole(one.read_bytes()) for one in directory.glob("control.sock.state.*"))


def is_whole(state: bytes) -> bool:
    """The first line ends with the length of what follows, and a checksum."""
    head, _, body = state.partition(b"\n")
    words = head.split()
    return len(words) == 4 and len(body) >= int(words[2])


def answered_by(settings: Settings) -> int:
    """The pid of a worker that answers a new client."""
    with socket.create_connection((HOST, settings.raw_port), HANG_SECONDS) as client:
        return int(client.recv(100).split()[3])


def test_a_swept_directory_comes_back_and_nobody_notices(
    settings: Settings, directory: Path
) -> None:
    control = directory / "control.sock"
    with Daemon(settings, control=control) as daemon, load(daemon.start()) as clients:
        daemon.reload()
        before, reloads = files(directory), daemon.ctl("history", "--json").out
        shutil.rmtree(directory)
        wait_until(lambda: files(directory) >= before, what="all files again")
        clients.more(ANSWERS_AFTER)

        assert daemon.state() == "serving"
        assert control.stat().st_mode & 0o777 == 0o660
        assert daemon.ctl("history", "--json").out == reloads
        victim = daemon.active_pids()[0]
        daemon.end_worker(victim)
        daemon.wait_ready(2)
        assert daemon.reload().generation == 3
        assert daemon.ctl("upgrade").status == 0
        assert daemon.state() == "serving"
        assert daemon.stop() == 0
        assert not directory.exists()


def test_what_came_back_serves_the_next_supervisor(settings: Settings, directory: Path) -> None:
    """State that was swept and written again is enough for a recovery."""
    control = directory / "control.sock"
    with Daemon(settings, control=control, keeps_workers=True) as daemon:
        pids = daemon.start().active_pids()
        shutil.rmtree(directory)
        wait_until(lambda: written(directory), what="state")
        daemon.die()
        with Daemon(settings, control=control) as after:
            after.start()
            assert unchanged(pids, after.active_pids())


@pytest.mark.parametrize(
    "gone", ["control.sock", "control.sock.lock", "control.sock.state.0", "control.sock.state.1"]
)
def test_each_file_comes_back_by_itself(settings: Settings, directory: Path, gone: str) -> None:
    with Daemon(settings, control=directory / "control.sock") as daemon:
        daemon.start()
        (directory / gone).unlink()
        wait_until(lambda: gone in files(directory), what=gone)
        wait_logged(daemon, AGAIN)

        assert daemon.state() == "serving"


def test_a_deleted_lock_lets_no_second_daemon_take_over(
    settings: Settings, directory: Path
) -> None:
    control = directory / "control.sock"
    with (
        Daemon(settings, control=control) as daemon,
        load(daemon.start()) as clients,
        Daemon(settings, control=control, borrows_name=True) as second,
    ):
        pids = daemon.active_pids()
        send(daemon.pid(), signal.SIGSTOP)  # the lock is not made again in this moment
        (directory / "control.sock.lock").unlink()
        second.launch()
        status = second.wait_end()
        send(daemon.pid(), signal.SIGCONT)
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()

        assert status == 1
        assert f"a daemon (pid {daemon.pid()}) runs at {control}, though its lock" in second.log()
        wait_until(lambda: "control.sock.lock" in files(directory), what="the lock again")
        assert unchanged(pids, daemon.active_pids())
        assert daemon.stop() == 0


def test_a_path_that_another_program_has_by_now_is_not_taken_from_it(
    settings: Settings, directory: Path
) -> None:
    control = directory / "control.sock"
    with Daemon(settings, control=control) as daemon, socket.socket(socket.AF_UNIX) as other:
        daemon.start()
        send(daemon.pid(), signal.SIGSTOP)
        control.unlink()
        other.bind(str(control))
        other.listen()
        inode = control.stat().st_ino
        send(daemon.pid(), signal.SIGCONT)
        wait_logged(daemon, f"another process now listens on {control}")
        assert inode == control.stat().st_ino

        other.close()  # what it leaves is stale
        wait_logged(daemon, AGAIN)
        assert daemon.state() == "serving"
        assert daemon.log().count("another process now listens on") == 1


def test_without_its_directory_it_serves_on_and_comes_back_when_it_can(
    settings: Settings, directory: Path
) -> None:
    """As on a full or read-only /run: a file stands where the directory was."""
    with Daemon(settings, control=directory / "control.sock") as daemon:
        before = set(daemon.start().active_pids())
        shutil.rmtree(directory)
        directory.touch()
        wait_logged(daemon, "deleted by another program, and cannot be restored yet")
        for pid in before:
            send(pid, signal.SIGKILL)
        wait_logged(daemon, "NOTIFY_SOCKET is an abstract address", 2)
        wait_until(lambda: answered_by(settings) not in before, what="another worker")

        directory.unlink()
        wait_until(lambda: daemon.state() == "serving", what="wssctl again")
        assert daemon.reload().generation == 2
        # Said once for each thing, not each second.
        assert daemon.log().count("what=state") <= 2


def test_workers_that_tell_by_sd_notify_are_heard_again(
    settings: Settings, directory: Path
) -> None:
    settings = replace(
        settings,
        ready_by="notify",
        environment={"SAYS_READY": "1"},
        more='[watchdog]\ninterval = "6s"\nreplace_after = "6s"',
    )
    with Daemon(settings, control=directory / "control.sock") as daemon:
        pids = daemon.start().active_pids()
        shutil.rmtree(directory)
        wait_logged(daemon, "notify sockets of workers")
        assert daemon.ctl("upgrade").status == 0
        begun = daemon.status()["uptime_seconds"]
        daemon.wait_for(
            lambda status: status["uptime_seconds"] > begun + 7,
            what="more than the watchdog's time",
        )

        assert unchanged(pids, daemon.active_pids())
        assert daemon.state() == "serving"


def test_a_swept_socket_of_the_monitoring_comes_back(settings: Settings, directory: Path) -> None:
    path = directory.parent / "http.sock"
    settings = replace(settings, more=f'[http]\naddress = "unix:{path}"')

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(HANG_SECONDS)
            try:
                client.connect(str(path))
            except FileNotFoundError:
                return False
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            return b"200" in client.recv(1000)

    with Daemon(settings, control=directory / "control.sock") as daemon:
        daemon.start()
        assert answers()
        path.unlink()
        wait_until(answers, what="an answer over another socket")
        assert daemon.ctl("upgrade").status == 0
        assert answers()
        assert daemon.stop() == 0
        assert not path.exists()


def test_a_swept_listener_of_workers_is_said_with_what_to_do(settings: Settings) -> None:
    settings = replace(settings.shared, unix=True)
    with Daemon(settings) as daemon:
        daemon.start()
        Path(settings.target("ws")[0]).unlink()
        wait_logged(daemon, "was removed, so no client can connect. Restart the instance")
