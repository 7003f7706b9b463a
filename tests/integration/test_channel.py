"""A daemon and its channels: workers that lie, flood or never read; an upgrade and a death."""

import signal
from dataclasses import replace

import pytest

from examples.load.waiting import wait_until
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.library import closing, holding, simple, wait_log
from tests.harness.settings import Settings

__all__ = ["simple"]

RAVING = """
import contextlib, json, os, signal, socket, sys, time
channel = socket.socket(fileno=int(os.environ["WSSUPERVISOR_CHANNEL"]))
def say(line):
    channel.send(line + b"\\n")
listening = socket.socket(fileno=3)
listening.setblocking(True)
say(json.dumps({{"type": "hello", "version": 1, "capabilities": ["close", "fly"]}}).encode())
say(json.dumps({{"type": "ready"}}).encode())
say(json.dumps({{"type": "news", "of": "a later version"}}).encode())
{rave}
while True:
    listening.accept()[0].close()
"""


def rave(settings: Settings, what: str) -> None:
    release = settings.releases.install("raving")
    (release / "app.py").write_text(RAVING.format(rave=what))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ('say(b"garbage")', "not JSON"),
        ('say(b"x" * 20_000)', "a line of more than 16384 bytes"),
        ('say(json.dumps({"type": "counts", "open": -1}).encode())', "found 0 busy of -1 open"),
        ('say(json.dumps({"type": "hello", "version": "two"}).encode())', "hello: version is not"),
    ],
)
def test_who_breaks_the_protocol_is_treated_as_one_without_the_library(
    simple: Settings, what: str, told: str
) -> None:
    rave(simple, what)
    with Daemon(replace(simple, keep="0s")) as daemon:
        daemon.start()
        wait_log(daemon, told, count=2)
        simple.releases.switch("polite")
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")


def test_who_floods_hurts_only_himself(simple: Settings) -> None:
    rave(
        simple,
        "import threading\n"
        'count = json.dumps({"type": "counts", "open": 3}).encode()\n'
        "def flood():\n"
        "    for _ in range(3_000_000):\n"
        "        try:\n"
        "            say(count)\n"
        "        except OSError:\n"
        "            return\n"
        "threading.Thread(target=flood, daemon=True).start()",
    )
    with Daemon(replace(simple, workers=1)) as daemon:
        daemon.start()
        simple.releases.switch("polite")
        daemon.reload()
        with holding(daemon, 20) as held:
            held.wait_open()
            daemon.reload()
            assert held.finish().broken == ()


def test_a_worker_that_never_reads_is_ended_at_the_limit(simple: Settings) -> None:
    """It said that it closes connections when asked, and does not."""
    rave(simple, "")
    with Daemon(closing(simple, "0s", "200ms")) as daemon:
        daemon.start()
        simple.releases.switch("polite")
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")


# -- in the middle of a line ---------------------------------------------------------------------

WORKER = """
import contextlib, json, os, signal, socket, sys, time
channel = socket.socket(fileno=int(os.environ["WSSUPERVISOR_CHANNEL"]))
channel.setblocking(True)
hello = {{"type": "hello", "version": {version}, "capabilities": ["close"]}}
channel.sendall(json.dumps(hello).encode() + b"\\n")
with contextlib.suppress(BrokenPipeError):  # it may be refused by now
    channel.sendall(b'{{"type": "ready"}}\\n{{"type": "counts", "op')
more = b'en": 7}}\\n{{"type": "counts", "open": 8}}\\n'
signal.signal(signal.SIGUSR2, lambda *_: channel.sendall(more))
for line in channel.makefile():
    print("heard", line.strip() or "an empty line", flush=True)
print("the channel is closed", flush=True)
time.sleep(1000)
"""


def talking(settings: Settings, version: int = 1) -> Settings:
    release = settings.releases.install("talking")
    (release / "app.py").write_text(WORKER.format(version=version))
    return replace(settings, workers=1, listeners=("ws",), ready_by="notify")


def say_more(daemon: Daemon) -> None:
    """The rest of a line, and one more."""
    [worker] = daemon.workers()
    send(worker.pid, signal.SIGUSR2)


def wait_reported(daemon: Daemon, count: int) -> None:
    def reported() -> object:
        return daemon.status()["generations"][0]["workers"][0]["reported"]

    wait_until(lambda: reported() == count, what=f"{count} reported")


def test_a_worker_of_another_version_serves_without_the_channel(settings: Settings) -> None:
    with Daemon(replace(talking(settings, version=2), ready_by="delay")) as daemon:
        daemon.start()
        reason = "hello: found version 2, expected version 1"
        for line in (f'heard {{"type": "refused", "reason": "{reason}"}}', "the channel is closed"):
            wait_log(daemon, line)

        assert f"reason='{reason}'" in daemon.log()
        assert not daemon.status()["generations"][0]["workers"][0]["library"]


def test_an_upgrade_in_the_middle_of_a_line_is_not_noticed(settings: Settings) -> None:
    with Daemon(talking(settings)) as daemon:
        daemon.start()
        assert daemon.ctl("upgrade").status == 0
        say_more(daemon)
        wait_reported(daemon, 8)

        assert "bad message" not in daemon.log()
        assert "heard an empty line" not in daemon.log()


def test_a_successor_finds_the_next_line(settings: Settings) -> None:
    with FdStore() as store, Daemon(talking(settings), sockets=store) as daemon:
        daemon.start()
        daemon.die()
        daemon.start()
        say_more(daemon)
        wait_reported(daemon, 8)
        wait_log(daemon, "heard an empty line")

        assert "bad message" not in daemon.log()
        assert daemon.status()["generations"][0]["workers"][0]["library"]
        assert daemon.stop() == 0
