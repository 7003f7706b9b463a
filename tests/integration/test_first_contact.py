"""The mistakes that people make first: each message says what happened and what to do next."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.conftest import unique_name
from tests.harness.daemon import Daemon
from tests.harness.privilege import needs_root
from tests.harness.programs import wssctl, wssupervisor
from tests.harness.releases import ROOT
from tests.harness.settings import HOST, Settings, free_port

STRANGER, GROUP = 61001, 61003
BOUND_BY_THEN = "2s"
"""A delay is for servers that are known to be ready by then."""
SYSTEMD = Path("/run/systemd/system")
HIDDEN = 'mount -t tmpfs none /run/systemd && exec "$@"'
WITHOUT_SYSTEMD = ("unshare", "--mount", "sh", "-c", HIDDEN, "sh")


BINDS = """
import asyncio, os, socket, sys
port, reuse, says_ready = int(sys.argv[1]), sys.argv[2] == "reuse", sys.argv[3] == "ready"

async def greet(_, writer):
    writer.close()

async def main():
    await asyncio.start_server(greet, "127.0.0.1", port, reuse_port=reuse)
    if says_ready:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    await asyncio.sleep(600)

asyncio.run(main())
"""


def server(settings: Settings, *words: str, ready_by: str = "connect") -> Settings:
    """An instance of one worker, that is another program than the tests' own."""
    program = settings.releases.root / "server.py"
    program.write_text(BINDS)
    command = (sys.executable, str(program), *words)
    return replace(
        settings,
        command=command,
        workers=1,
        listeners=("ws",),
        ready_by=ready_by,
        ready_timeout="2s",
    )


def complaint(settings: Settings) -> str:
    """The daemon's last words, when it could not start."""
    with Daemon(settings) as daemon:
        assert daemon.run_to_its_end() == 1
        log = daemon.log()
    return log[log.rindex("wssupervisor: ") :]


def assert_says(text: str, *words: str) -> None:
    print(text)

    assert [word for word in words if word not in text] == []


# -- no configuration ------------------------------------------------------------------------


def test_no_configuration_at_all(tmp_path: Path) -> None:
    status, _, err = wssupervisor(home=tmp_path)

    assert status == 2
    assert_says(err, "give --config FILE, or --listen ADDRESS -- COMMAND")


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    status, _, err = wssupervisor("--config", "chat.toml", home=tmp_path)

    assert status == 78
    assert_says(err, "chat.toml: no such file", "--listen ADDRESS -- COMMAND")


def test_one_that_is_not_there_to_be_checked(tmp_path: Path) -> None:
    status, _, err = wssctl("check", "chat.toml", home=tmp_path)

    assert status == 78
    assert_says(err, "chat.toml: no such file", "wssctl init NAME", "wssupervisor.toml(5)")


def test_no_address(tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text('[app]\ncommand = ["true"]\n[[listen]]\n')
    control = str(tmp_path / "control.sock")
    status, _, err = wssupervisor("--config", str(config), "--control", control, home=tmp_path)

    assert status == 78
    assert_says(err, "listener 'ws' has no address", "Set [[listen]] address", "--listen ws=")


# -- a wrong key -----------------------------------------------------------------------------


def test_wrong_keys_and_tables_are_told_at_once_with_what_was_meant(tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text(
        '[app]\ncommand = ["true"]\nworker = 2\n[listen]\n[readyness]\nby = "notify"\n'
    )
    status, _, err = wssupervisor("--config", str(config), home=tmp_path)

    assert status == 78
    assert_says(
        err,
        "[app] worker: no such key, did you mean workers?",
        "[readyness]: no such table, did you mean ready?",
        "each begun with [[listen]]",
    )


# -- the port is in use ----------------------------------------------------------------------


def test_somebody_elses_port_names_him(settings: Settings) -> None:
    with socket.create_server((HOST, settings.ws_port)):
        said = complaint(settings)

    assert_says(
        said,
        f"another process listens on {HOST}:{settings.ws_port}: pid {os.getpid()} (",
        "Stop it, or give this instance another address",
    )


def test_the_port_of_another_instance_says_how_to_end_or_reload_that_one(
    settings: Settings,
) -> None:
    other = replace(settings, name=unique_name())
    with Daemon(settings) as daemon:
        daemon.start()
        said = complaint(other)

    assert_says(
        said,
        f"instance '{settings.name}' of wssupervisor",
        f"`wssctl -i {settings.name} reload`",
        f"`wssctl -i {settings.name} stop`",
    )


# -- the application is not found ------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["uvicornn"], ["uvicornn was not found in PATH (", "Give its full path"]),
        (["python3 -m chat"], ["no program is named", '"python3", "-m", "chat"']),
        (["./none/serve"], ["/none/serve: no such file"]),
        (["./plain"], ["/plain is not executable. Run `chmod +x "]),
    ],
)
def test_a_program_that_cannot_be_run(
    tmp_path: Path, command: Sequence[str], words: Sequence[str]
) -> None:
    (tmp_path / "plain").write_text("")
    control = str(tmp_path / "control.sock")
    listen = f"{HOST}:{free_port()}"
    status, _, err = wssupervisor(
        "--listen", listen, "--control", control, "--", *command, home=tmp_path
    )

    assert status == 1
    assert_says(err, "[app] command: ", *words)


def test_an_application_that_is_not_there_is_told_by_its_own_last_words(tmp_path: Path) -> None:
    control = str(tmp_path / "control.sock")
    listen = f"{HOST}:{free_port()}"
    run = [sys.executable, "-m", "no_such_chat"]
    status, _, err = wssupervisor(
        "--listen", listen, "--control", control, "--", *run, home=tmp_path
    )

    assert status == 1
    assert_says(err, "exited with status 1 before it was ready", "No module named no_such_chat")


# -- it binds the port itself ----------------------------------------------------------------


def test_a_server_that_cannot_bind_the_port_is_told_to_take_the_descriptor(
    settings: Settings,
) -> None:
    said = complaint(server(settings, str(settings.ws_port), "alone", "silent"))

    assert_says(
        said,
        "exited with status 1 before it was ready",
        f"it binds {HOST}:{settings.ws_port} itself, which this instance holds",
        "Make the server use descriptor 3 instead (LISTEN_FDS; {fd} in [app] command",
        "address already in use",
    )


def test_a_server_that_cannot_bind_another_port_is_told_that_two_generations_run(
    settings: Settings,
) -> None:
    with socket.create_server((HOST, 0)) as metrics:
        taken = metrics.getsockname()[1]
        said = complaint(server(settings, str(taken), "alone", "silent"))

    assert_says(said, "it binds an address that is in use", "must differ between generations")


def test_a_server_that_joins_the_port_is_found_long_before_its_time_is_over(
    settings: Settings,
) -> None:
    slow = replace(
        server(settings, str(settings.ws_port), "reuse", "silent"), ready_timeout="10min"
    )
    said = complaint(slow)

    assert_says(said, f"binds {HOST}:{settings.ws_port} itself, with SO_REUSEPORT", "descriptor 3")


@pytest.mark.parametrize("ready_by", ["notify", "delay"])
def test_a_server_that_joins_the_port_and_says_it_is_ready_gets_no_cutover(
    settings: Settings, ready_by: str
) -> None:
    says = server(settings, str(settings.ws_port), "reuse", "ready", ready_by=ready_by)
    if ready_by == "delay":
        says = replace(says, stable=BOUND_BY_THEN)
    with Daemon(replace(settings, workers=1, listeners=("ws",))) as daemon:
        daemon.start()
        says.write()
        answer = daemon.ctl("reload")

        assert answer.status == 1
        assert_says(answer.err, "new connections could not be steered", "itself, with SO_REUSEPORT")
        assert daemon.active() == 1


def test_a_server_on_a_port_of_its_own_is_told_which(settings: Settings) -> None:
    own = free_port()
    said = complaint(server(settings, str(own), "alone", "silent"))

    assert_says(
        said,
        "was not ready within 2s",
        f"accepted no connection from descriptor 3, and listens on {HOST}:{own}",
    )


# -- never ready -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready_by", "words"),
    [
        ("connect", ["it accepted no connection", "descriptor 3", "raise [ready] timeout"]),
        ("notify", ["it did not send READY=1 on its NOTIFY_SOCKET", 'by = "connect"']),
    ],
)
def test_one_that_is_never_ready(settings: Settings, ready_by: str, words: list[str]) -> None:
    idle = replace(server(settings, ready_by=ready_by), command=("sleep", "600"))
    said = complaint(idle)

    assert_says(said, "worker 0 of generation 1 was not ready within 2s", *words)


# -- not in the group ------------------------------------------------------------------------


def as_a_stranger(daemon: Daemon, *arguments: str, groups: list[int]) -> tuple[int, str]:
    """Exit status and words of wssctl as a user who owns nothing.

    A fork, because another user may not be allowed to read the interpreter in our home.
    """
    from wssupervisor.commands.cli import main

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writer, 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            os.setgroups(groups)
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            status = main(["--control", str(daemon.control), *arguments])
            sys.stderr.flush()
            os._exit(status)
        finally:
            os._exit(99)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@needs_root
def test_who_is_not_in_the_group_is_told_which_and_how_to_join(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.private.chmod(0o755)
        os.chown(daemon.control, 0, GROUP)
        status, said = as_a_stranger(daemon, "status", groups=[])

    assert status == 77
    assert_says(said, "not allowed to open", f"sudo usermod -aG {GROUP} $USER", "log in again")


@needs_root
def test_who_may_only_look_is_told_how_to_be_let_do_more(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.private.chmod(0o755)
        os.chown(daemon.control, 0, GROUP)
        status, said = as_a_stranger(daemon, "reload", groups=[GROUP])

    assert status == 77
    assert_says(
        said, "may read but not reload this instance. Run as root", "group_may_operate = true"
    )


# -- the wrong instance, or several ----------------------------------------------------------


def at_home(home: Path, name: str) -> Path:
    """The control socket of an instance, where a wssctl with this home looks for it."""
    directory = home / "wssupervisor" / name
    directory.mkdir(parents=True)
    return directory / "control.sock"


def test_a_wrong_name_says_which_was_meant_and_which_run(
    settings: Settings, short_directory: Path
) -> None:
    near = settings.name[:-1] + "x"
    with Daemon(settings, control=at_home(short_directory, settings.name)) as daemon:
        daemon.start()
        status, _, err = wssctl("-i", near, "status", home=short_directory)

    assert status == 69
    assert_says(
        err,
        f"no instance {near!r} is running (running: ",
        f"). Did you mean -i {settings.name}? Start it with ",
        f"`wssupervisor --name {near} --listen ",
    )


def test_with_two_instances_one_must_be_named(settings: Settings, short_directory: Path) -> None:
    other = replace(settings, name=unique_name(), ws_port=free_port(), raw_port=free_port())
    with (
        Daemon(settings, control=at_home(short_directory, settings.name)) as one,
        Daemon(other, control=at_home(short_directory, other.name)) as two,
    ):
        one.start()
        two.start()
        status, _, err = wssctl("reload", home=short_directory)
        listed, out, _ = wssctl("status", home=short_directory)

    assert status == 2
    assert_says(
        err, "several instances are running", settings.name, other.name, "Choose one with -i NAME"
    )
    assert listed == 0
    assert_says(out, settings.name, other.name, "wssctl -i NAME status")


def test_the_same_instance_twice_says_what_was_probably_wanted(settings: Settings) -> None:
    with Daemon(settings) as first:
        first.start()
        with Daemon(settings, control=first.control, borrows_name=True) as second:
            assert second.run_to_its_end() == 1
            said = second.log()

    assert_says(
        said,
        f"(pid {first.process.pid}) is already running at",
        f"`{first.hint('reload')}`",
        "another --name",
    )


# -- no systemd ------------------------------------------------------------------------------


def without_systemd(home: Path, *arguments: str) -> tuple[int, str, str]:
    """wssctl where no systemd runs; where one does, it is hidden from it."""
    hide = WITHOUT_SYSTEMD if SYSTEMD.is_dir() else ()
    done = subprocess.run(
        [*hide, sys.executable, "-m", "wssupervisor.commands.cli", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@needs_root
def test_without_systemd_nobody_is_sent_to_it(tmp_path: Path) -> None:
    status, _, err = without_systemd(tmp_path, "-i", "no-such-instance", "status")

    assert status == 69
    assert_says(err, "Start it with `wssupervisor --name no-such-instance --listen ")
    assert "systemctl" not in err


@needs_root
def test_without_systemd_init_says_how_to_run_what_it_wrote(tmp_path: Path) -> None:
    address = f"{HOST}:{free_port()}"
    own = ["--listen", address, "--command", "true", "--user", "root", "--root", str(tmp_path)]
    status, out, _ = without_systemd(tmp_path, "init", "chat", *own)

    assert status == 0
    assert_says(
        out,
        "systemd does not run here",
        f"wssupervisor --config {tmp_path}/etc/wssupervisor/chat.toml --listen {address}",
    )
    assert "systemctl" not in out
