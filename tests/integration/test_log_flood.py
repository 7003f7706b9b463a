"""What others send as fast as they can: some lines of it are logged, and how many are not."""

import json
import re
import socket
import time
from collections import Counter

from examples.load.waiting import slowness
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.log_limit import LINES, SECONDS

DATAGRAMS, REQUESTS = 5000, 500
WITHIN = 30.0


def test_bad_messages_and_requests_fill_no_log(settings: Settings) -> None:
    options = ("--log-format", "json")
    with Daemon(settings, options=options) as daemon:
        daemon.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(WITHIN)
            for _ in range(DATAGRAMS):
                sender.sendto(b"nonsense", f"{daemon.control}.notify.1.0.1")
        settings.path.write_text("nonsense")
        assert daemon.ctl("reload").status == 1
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WITHIN)
            client.connect(str(daemon.control))
            answers = client.makefile("rb")
            for _ in range(REQUESTS):
                request = {"id": 1, "method": "verdict", "params": {"reload": "r1"}}
                client.sendall(json.dumps(request).encode() + b"\n")
                assert b"reload-failed" in answers.readline()
        assert daemon.stop() == 0
        lines = [json.loads(one) for one in re.findall(r"^\{.*\}$", daemon.log(), re.MULTILINE)]

    logged = Counter(one["event"] for one in lines)
    suppressed: Counter[str] = Counter()
    for one in lines:
        if one["event"] == "lines suppressed":
            suppressed[one["of"]] += one["lines"]
    windows = 2 + WITHIN / SECONDS
    for what, sent in {"bad message": DATAGRAMS, "verdict requested": REQUESTS}.items():
        assert 0 < logged[what] <= LINES * windows
        assert logged[what] + suppressed[what] == sent


def test_a_worker_that_repeats_itself_keeps_nothing_else_from_being_done(
    settings: Settings,
) -> None:
    """Each READY=1 cost a step of 20 ms, with its saved state: these took two minutes."""
    with Daemon(settings) as daemon:
        before = daemon.start().active_pids()
        begun = time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(WITHIN)
            for _ in range(DATAGRAMS):
                sender.sendto(b"READY=1", f"{daemon.control}.notify.1.0.1")
        took = time.monotonic() - begun

        assert took < WITHIN * slowness()
        assert daemon.active_pids() == before
        assert daemon.state() == "serving"
