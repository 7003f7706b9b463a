"""Workers that lie on the channel, flood it or never read it harm only themselves."""

from dataclasses import replace

import pytest

from tests.harness.daemon import Daemon
from tests.harness.library import closing, holding, simple, wait_log
from tests.harness.settings import Settings

__all__ = ["simple"]

RAVING = """
import json, os, signal, socket, sys, time
say = socket.socket(fileno=int(os.environ["WSSUPERVISOR_CHANNEL"])).send
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
        ('say(b"x" * 20_000)', "a message of more than 16384 bytes"),
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
