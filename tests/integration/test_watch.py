"""`wssctl status --watch` and the progress of a reload, on a real terminal."""

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings
from tests.harness.terminal import CTRL_C, CTRL_Z, ENTER, LEAVE, SHOW_CURSOR, Terminal
from wssupervisor.commands.cli import INTERRUPTED

COLORS = ("\x1b[32m", "\x1b[36m", "\x1b[1;31m")


def watching(daemon: Daemon, columns: int = 80, lines: int = 24, **variables: str) -> Terminal:
    command = daemon.ctl_command("status", "--watch")
    return Terminal(command, columns=columns, lines=lines, variables=variables)


def assert_left_as_found(terminal: Terminal) -> None:
    wait_until(lambda: LEAVE in terminal.said, what="the screen before")
    assert terminal.said.count(ENTER) == terminal.said.count(LEAVE)
    assert terminal.said.rindex(SHOW_CURSOR) > terminal.said.rindex(ENTER)
    assert terminal.modes() == terminal.found


@pytest.mark.parametrize(
    ("how", "status"), [(CTRL_C, INTERRUPTED), (b"q", 0), (signal.SIGTERM, 128 + 15)]
)
def test_the_screen_is_one_of_its_own_and_leaves_the_terminal_as_it_was(
    settings: Settings, how: bytes | signal.Signals, status: int
) -> None:
    with Daemon(settings) as daemon, watching(daemon.start()) as terminal:
        terminal.wait("generation 1  active")
        terminal.wait("RECENT EVENTS")
        frame = terminal.frame()
        assert ENTER in terminal.said
        assert len(frame) <= 24
        assert max(map(len, frame)) <= 80
        if isinstance(how, bytes):
            terminal.press(how)
        else:
            terminal.signal(how)

        assert terminal.end() == status
        assert_left_as_found(terminal)


def test_status_tells_what_each_worker_costs_and_what_is_known_of_a_drain(
    settings: Settings,
) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        daemon.wait_for(
            lambda status: all(
                one["cpu_percent"] and one["cpu_seconds"] and one["queued"] is not None
                for one in status["generations"][0]["workers"]
            ),
            what="work in numbers",
        )
        assert "%" in daemon.ctl("status").out
        settings.releases.install("two")
        cutover = daemon.reload()
        clients.more(100)
        drain = daemon.status()["generations"][1]["drain"]
        clients.assert_unnoticed([cutover])

    assert drain["keep_until"] >= drain["since"]
    assert drain["estimate"]["empty_in_seconds"] is None
    assert "an estimate needs 10" in drain["estimate"]["unknown"]


def test_it_shows_a_drain_as_it_goes_and_follows_the_size_of_the_terminal(
    settings: Settings, tmp_path: Path
) -> None:
    with Daemon(settings) as daemon, daemon.start().held(tmp_path, 20) as held:
        held.wait_open()
        with watching(daemon) as terminal:
            settings.releases.install("two")
            daemon.reload()
            terminal.wait(": 20 -> 20 connections")
            terminal.wait("░   0%  no estimate yet")
            release = str(settings.releases.root / "releases/two")
            terminal.resize(len(release) + 80, 40)
            terminal.wait(release)
            held.finish()
            terminal.wait("last reload r1")
            wait_until(
                lambda: "generation 1" not in terminal.text().partition("last reload")[0],
                what="the end of the drain on the screen",
            )
            terminal.wait("generation 1 has ended")


def test_it_goes_on_when_the_daemon_is_upgraded_dies_and_comes_back(settings: Settings) -> None:
    with Daemon(settings) as daemon, watching(daemon.start()) as terminal:
        terminal.wait("generation 1  active")
        assert daemon.ctl("upgrade").status == 0
        terminal.wait("the supervisor re-executed itself")
        daemon.die()
        terminal.wait("no answer since ")
        terminal.wait("no answer since 3s: no daemon answers at ")
        assert "generation 1" in terminal.text(), "what was known is still there"
        daemon.start()
        terminal.wait("a supervisor took over from one that died")
        assert "no answer" not in terminal.text()


def test_it_can_be_suspended_and_goes_on(settings: Settings) -> None:
    with Daemon(settings) as daemon, watching(daemon.start()) as terminal:
        terminal.wait("generation 1  active")
        terminal.press(CTRL_Z)
        wait_until(terminal.is_stopped, what="a stopped process")
        assert_left_as_found(terminal)
        before = len(terminal.said)
        terminal.signal(signal.SIGCONT)
        wait_until(lambda: "generation 1" in terminal.said[before:], what="another picture")
        assert ENTER in terminal.said[before:]
        terminal.press(b"q")
        assert terminal.end() == 0


def test_there_are_no_colours_where_somebody_wants_none(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with watching(daemon, NO_COLOR="1") as terminal:
            terminal.wait("generation 1  active")
            assert not any(code in terminal.said for code in COLORS)
        with watching(daemon) as terminal:
            terminal.wait("generation 1  active")
            assert "\x1b[32m" in terminal.said
        with Terminal(daemon.ctl_command("status")) as terminal:
            assert terminal.end() == 0
            terminal.wait("generation 1")
            assert "\x1b[32m" in terminal.said
            assert len(terminal.frame()) <= 24
        with Terminal(daemon.ctl_command("status"), variables={"NO_COLOR": "1"}) as terminal:
            assert terminal.end() == 0
            terminal.wait("generation 1")
            assert "\x1b[" not in terminal.said


def test_without_rich_it_says_what_to_install_and_repeats_the_text(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "rich.py").write_text('raise ModuleNotFoundError("no rich here")\n')
    with Daemon(settings) as daemon:
        daemon.start()
        paths = f"{tmp_path}:{Path(__file__).parents[2]}"
        with watching(daemon, PYTHONPATH=paths) as terminal:
            wait_until(lambda: terminal.said.count("generation 1") >= 2 * 2, what="repeats")
            assert "Debian: python3-rich" in terminal.said
            assert ENTER not in terminal.said


def test_into_a_pipe_it_is_repeated_as_plain_text_or_as_json(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        for options in ((), ("--json",)):
            with daemon.launch_ctl("status", "--watch", *options) as ctl:
                assert ctl.stdout is not None
                found = ""
                while found.count("last_reload" if options else "no reload yet") < 2:
                    found += ctl.stdout.readline()
                ctl.terminate()
            assert "\x1b" not in found
            if options:
                documents = [json.loads(line) for line in found.splitlines()]
                assert [one["state"] for one in documents] == ["serving", "serving"]


def test_where_nobody_answers_at_first_it_ends_as_other_verbs_do(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        answer = daemon.ctl("status", "--watch")

        assert answer.status == 69
        assert "no daemon answers at" in answer.err


def test_a_reload_on_a_terminal_shows_its_steps_and_what_it_waits_for(
    settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gated = replace(settings, environment={"GATE": str(gate)}, workers=1)
    with Daemon(gated) as daemon:
        daemon.start()
        settings.releases.install("gated", "gated")
        with Terminal(daemon.ctl_command("reload")) as terminal:
            terminal.wait("  start    worker 0 of generation 2 starts as pid ")
            terminal.wait("  2s, waiting: worker 0 of generation 2 not ready yet")
            gate.touch()
            assert terminal.end() == 0
            terminal.wait(f"Follow the drain with: {daemon.hint('status --watch')}")
            text = terminal.text()

        assert "  probe    worker 0 of generation 2 is ready after " in text
        assert "  cutover  generation 2 is active, replacing 1 (r1, " in text
        assert "  drain    generation 1 is draining" in text
        assert text.index("  start") < text.index("  probe") < text.index("  cutover")


def test_a_status_without_watch_loads_no_rich(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        code = "import sys; from wssupervisor.commands.cli import main; main(); print(*sys.modules)"
        program, _, *rest = daemon.ctl_command("status")
        answer = subprocess.run(
            [program, "-c", code, *rest[1:]],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )

    assert "wssupervisor.commands.screen" in answer.stdout.split()
    assert not any(name.partition(".")[0] == "rich" for name in answer.stdout.split())
