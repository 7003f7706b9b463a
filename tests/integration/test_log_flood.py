"""What others send as fast as they can: some lines of it are logged, and how many are not."""

import json
import re
import socket
import time
from collections import Counter

from examples.load.waiting import HANG_SECONDS
from tests.harness.census import cpu_seconds
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.log_limit import LINES, SECONDS

DATAGRAMS, REQUESTS = 5000, 500
CPU_SECONDS = 10.0


def test_bad_messages_and_requests_fill_no_log(settings: Settings) -> None:
    options = ("--log-format", "json")
    with Daemon(settings, options=options) as daemon:
        begun = time.monotonic()
        daemon.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(HANG_SECONDS)
            for _ in range(DATAGRAMS):
                sender.sendto(b"nonsense", f"{daemon.control}.notify.1.0.1")
        settings.path.write_text("nonsense")
        assert daemon.ctl("reload").status == 1
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(HANG_SECONDS)
            client.connect(str(daemon.control))
            answers = client.makefile("rb")
            for _ in range(REQUESTS):
                request = {"id": 1, "method": "verdict", "params": {"reload": "r1"}}
                client.sendall(json.dumps(request).encode() + b"\n")
                assert b"reload-failed" in answers.readline()
        assert daemon.stop() == 0
        took = time.monotonic() - begun
        lines = [json.loads(one) for one in re.findall(r"^\{.*\}$", daemon.log(), re.MULTILINE)]

    logged = Counter(one["event"] for one in lines)
    suppressed: Counter[str] = Counter()
    for one in lines:
        if one["event"] == "lines suppressed":
            suppressed[one["of"]] += one["lines"]
    windows = 2 + took / SECONDS
    for what, sent in {"bad message": DATAGRAMS, "verdict requested": REQUESTS}.items():
        assert 0 < logged[what] <= LINES * windows
        assert logged[what] + suppressed[what] == sent


def test_a_worker_that_repeats_itself_keeps_nothing_else_from_being_done(
    settings: Settings,
) -> None:
    """Each READY=1 cost a step of 20 ms, with its saved state: these took 100 s."""
    with Daemon(settings) as daemon:
        before = daemon.start().active_pids()
        spent = cpu_seconds(daemon.pid())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(HANG_SECONDS)
            for _ in range(DATAGRAMS):
                sender.sendto(b"READY=1", f"{daemon.control}.notify.1.0.1")
        assert daemon.active_pids() == before  # answered after all of them
        spent = cpu_seconds(daemon.pid()) - spent
        print(f"{DATAGRAMS} messages cost {spent:.2f} s")

        assert spent < CPU_SECONDS
        assert daemon.state() == "serving"
