"""Names that others choose reach no terminal as commands to it, and no advice as a command."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.harness.daemon import Daemon, environment
from tests.harness.settings import HOST, Settings
from tests.harness.terminal import Terminal

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e|true\nreload r9: generation 9 serves"
"""A directory may be called so."""
OURS = re.compile(r"\x1b\[(?:0|1|2|32|36|33|1;31)m|\r\x1b\[K")
LISTENS = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    print("listens", flush=True)
    sys.stdin.read()
"""


def obeyed(text: str) -> list[str]:
    """Characters that act on a terminal, but for the escape sequences that are wssctl's own."""
    rest = OURS.sub("", text).replace("\r\n", "\n")
    return [one for one in rest if not one.isprintable() and one not in "\n\t"]


def test_a_release_with_an_evil_name_does_nothing_to_a_terminal(settings: Settings) -> None:
    root = settings.releases.root / EVIL
    evil = replace(settings, releases=replace(settings.releases, root=root), name=settings.name)
    root.mkdir()
    evil.releases.install("one")
    with Daemon(evil) as daemon:
        daemon.start()
        evil.releases.install("two", "fails_at_once")
        reloaded = daemon.ctl("reload")
        evil.releases.install("three")
        with Terminal(daemon.ctl_command("reload")) as terminal:
            assert terminal.end() == 0
        verbs = [["status"], ["events"], ["history"], ["why"], ["why", "2"], ["metrics"]]
        verbs += [["events", "--json"], ["check", str(evil.path)], ["drain", "1", "--pause"]]
        shown = [reloaded, *(daemon.ctl(*words) for words in verbs)]
        with Terminal(daemon.ctl_command("status"), columns=200, lines=60) as wide:
            assert wide.end() == 0

        assert reloaded.status == 1
        assert [one for one in shown if obeyed(one.out + one.err)] == []
        assert obeyed(terminal.said) == []
        assert obeyed(wide.said) == []
        assert r"\x1b]0;owned\x07" in shown[1].out
        assert not any(
            line.startswith("reload r9") for one in shown for line in one.out.split("\n")
        )
        assert obeyed(daemon.log()) == []
        assert r"\x1b]0;owned\x07" in daemon.log()


@contextmanager
def listener(settings: Settings, words: Sequence[str], **variables: str) -> Iterator[None]:
    """A process of any user, with such an argv and environment, has the instance's address."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, HOST, str(settings.ws_port), *words],
        env={**environment(), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield
        process.kill()


def test_the_command_of_another_process_is_shown_and_not_obeyed(settings: Settings) -> None:
    taken = listener(settings, [EVIL], WSSUPERVISOR_INSTANCE="x;true|true")
    with taken, Daemon(settings) as daemon:
        assert daemon.run_to_its_end() != 0
        said = daemon.log()

    assert str(settings.ws_port) in said
    assert obeyed(said) == []
    assert "wssctl -i x;" not in said


def test_the_path_of_a_socket_is_one_word_of_the_command_to_paste(settings: Settings) -> None:
    path = settings.releases.root / "a; true | true"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Daemon(settings, control=path) as daemon:
        answer = daemon.ctl("status")

    assert answer.status == 69
    assert f"`wssupervisor --control '{path}' --config FILE`" in answer.err
