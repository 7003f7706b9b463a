"""A proxy in front of the workers: WebSockets as ever; what kept connections mean, counted."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from examples.load.verdict import Cutover
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service
from tests.e2e.test_servers import EXAMPLES, chat, configure

__all__ = ["chat"]

PORT = 8080
KEEPALIVE_TIME = 2.0
"""As in examples/servers/nginx.conf."""
SLACK = 2.0
LONG = 6.0
"""Seconds of requests after the cutover: much longer than connections are kept."""


@dataclass(frozen=True, slots=True)
class Asked:
    start: float
    end: float
    generation: int
    error: str


@contextmanager
def proxied(chat: Service, name: str, text: str) -> Iterator[Service]:
    """The service as clients reach it through a proxy with this configuration."""
    machine = chat.machine
    path = f"/etc/proxy/{name}"
    machine.write(path, text)
    nginx = ["nginx", "-c", path, "-g", "daemon off;"]
    words = nginx if "nginx" in name else ["haproxy", "-f", path]
    machine.run("systemd-run", "--unit=proxy", "--", *words)
    through = replace(chat, port=PORT)
    wait_until(lambda: f":{PORT}" in machine.run("ss", "-Htln").stdout, what="the proxy")
    yield through
    machine.systemctl("stop", "proxy.service")


@contextmanager
def requests(machine: Machine) -> Iterator[list[Asked]]:
    """A stream of plain requests; what became of them is in the list afterwards."""
    report = machine.directory / "requests.json"
    found: list[Asked] = []
    process = subprocess.Popen(
        [*machine.network, sys.executable, "-m", "tests.e2e.requests", str(PORT), str(report)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
    )
    try:
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(HANG_SECONDS) == 0
    found += [Asked(*one) for one in json.loads(report.read_text())]


def reached_old(asked: list[Asked], cutover: Cutover) -> list[float]:
    """Seconds after the cutover of each request that an older generation answered."""
    return [
        one.start - cutover.at
        for one in asked
        if one.start > cutover.at and 0 < one.generation < cutover.generation
    ]


def after_a_reload(
    chat: Service, name: str, text: str, record: Callable[[Counts], None]
) -> list[float]:
    """Reload under held and new WebSockets and plain requests, all through the proxy."""
    configure(chat, "uvicorn")
    chat.start()
    with proxied(chat, name, text) as through:
        with requests(chat.machine) as asked, through.load(held=20, rate=50.0) as clients:
            clients.more(50)
            chat.switch("two")
            cutover = chat.reload()
            until = time.monotonic() + LONG
            wait_until(lambda: time.monotonic() > until, within=2 * LONG, what="some time")
            clients.assert_unnoticed([cutover])
        old = reached_old(asked, cutover)
        failed = [one.error for one in asked if one.error]
    record(Counts(0, 0, len(asked), len(failed), len(old)))
    last = f", the last {max(old):.1f} s after the cutover" if old else ""
    print(f"{name}: {len(asked)} requests, {len(old)} reached the old generation{last}")

    assert failed == []
    assert len(asked) > 500
    return old


def test_nginx_as_in_the_example(chat: Service, record: Callable[[Counts], None]) -> None:
    old = after_a_reload(chat, "nginx.conf", (EXAMPLES / "nginx.conf").read_text(), record)

    assert all(seconds < KEEPALIVE_TIME + SLACK for seconds in old)
    chat.wait_alone()


def test_haproxy_as_in_the_example(chat: Service, record: Callable[[Counts], None]) -> None:
    old = after_a_reload(chat, "haproxy.cfg", (EXAMPLES / "haproxy.cfg").read_text(), record)

    assert old == []
    chat.wait_alone()


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("nginx.conf", ("keepalive_time", "keepalive_timeout")),
        ("haproxy.cfg", ("option http-server-close",)),
    ],
    ids=["nginx", "haproxy"],
)
def test_without_those_lines_a_pool_goes_on_feeding_the_old_generation(
    chat: Service, name: str, without: tuple[str, ...], record: Callable[[Counts], None]
) -> None:
    """Which is why they are there: this holds the examples to what they say."""
    lines = (EXAMPLES / name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.strip().startswith(without)) + "\n"
    old = after_a_reload(chat, name, text, record)

    assert max(old, default=0.0) > KEEPALIVE_TIME + SLACK
