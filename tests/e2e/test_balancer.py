"""Two hosts behind one HAProxy, of which one after the other leaves: no client is lost.

Two instances stand for the hosts; configuration of HAProxy and script are those of the guide.
"""

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from examples.load.clients import HeldClient, HeldVerdict
from examples.load.verdict import judge
from examples.load.waiting import wait_until
from tests.docs.blocks import steps
from tests.e2e.machine import Machine
from tests.e2e.service import HOST, Counts, Service
from tests.e2e.test_proxies import PORT, proxied

pytestmark = pytest.mark.slow("a host leaves for its lead, and the balancer looks once a second")

GUIDE = "docs/guides/several-hosts.md"
RESTART = "closed by the server: 03f4"
GOING_AWAY = "closed by the server: 03e9"
HELD = 40
RATE = 60.0
MORE = 60
LEAD = 3.0
OUT_WITHIN = 60.0
WHOLE = 200.0
"""Seconds for the script over both hosts."""
STATS = "/run/haproxy.stats"

CONFIG = """
[ready]
by = "notify"
stable = "100ms"
timeout = "20s"
[drain]
keep = "0s"
close_over = "2s"
[stop]
timeout = "5s"
kill_after = "2s"
[http]
agent = "127.0.0.1:{agent}"
address = "127.0.0.1:{pages}"
"""
ASK_STATS = f"""
import socket
stats = socket.socket(socket.AF_UNIX)
stats.connect("{STATS}")
stats.sendall(b"show stat -1 4 -1\\n")
while data := stats.recv(65536):
    print(data.decode(), end="")
"""


def of_guide(name: str) -> str:
    (found,) = [step.command for step in steps(GUIDE) if step.makes == name and step.place]
    return found


def by_agent() -> str:
    return f"global\n    stats socket {STATS}\n{of_guide('/root/haproxy.cfg')}"


def by_health_page() -> str:
    """As the guide shows it in place of the agent-check."""
    text = by_agent()
    text = text.replace("check inter 1s agent-check agent-inter 1s", "check inter 1s fall 1")
    text = text.replace("agent-port 9465", "port 9464").replace("agent-port 9466", "port 9474")
    return text.replace("\nbackend chat\n", "\nbackend chat\n    option httpchk GET /readyz\n")


@dataclass(slots=True)
class Hosts:
    machine: Machine
    a: Service
    b: Service

    def states(self) -> dict[str, str]:
        """Of each host, as HAProxy sees it."""
        said = self.machine.run("python3", "-c", ASK_STATS).stdout
        rows = csv.DictReader(said.lstrip("# ").splitlines())
        return {row["svname"]: row["status"] for row in rows}

    def wait_state(self, host: Service, *states: str) -> None:
        wait_until(
            lambda: self.states()[host.name].startswith(states),
            what=f"{host.name} to be {states}",
            every=0.1,
        )

    def leave(self, host: Service) -> None:
        host.ctl("leave", "--lead", f"{LEAD}s", "--within", f"{OUT_WITHIN}s")
        status = host.status()
        assert sum(one["connections"] for one in status["generations"]) == 0
        assert status["out_of_rotation"]["emptied_at"] is not None

    def back(self, host: Service) -> None:
        """HAProxy sends it clients again."""
        self.wait_state(host, "UP")
        assert host.status()["out_of_rotation"] is None


@pytest.fixture
def hosts(server_machine: Machine, record: Callable[[Counts], None]) -> Hosts:
    found = []
    for name, port, agent, pages in (("a", 8765, 9465, 9464), ("b", 8766, 9466, 9474)):
        host = Service(server_machine, record, name, port)
        host.release("two", "polite")
        host.release("one", "polite")
        host.init(extra=CONFIG.format(agent=agent, pages=pages))
        host.start()
        found.append(host)
    return Hosts(server_machine, *found)


@contextmanager
def clients(
    hosts: Hosts, text: str, record: Callable[[Counts], None]
) -> Iterator[Callable[[int], None]]:
    """Held WebSockets and a stream of new ones through HAProxy; what is given waits for more.

    At the end: no new one failed, and those held were closed politely, come back, and not cut.
    """
    machine = hosts.machine
    with proxied(hosts.a, "haproxy.cfg", text) as through:
        for host in (hosts.a, hosts.b):
            hosts.wait_state(host, "UP")
        with (
            HeldClient(
                machine.directory, HOST, PORT, HELD, machine.network, returns=True, interval=0.5
            ) as held,
            through.storm(rate=RATE) as storm,
        ):
            held.wait_open()
            storm.wait_answered(MORE)
            begun = time.monotonic()
            yield storm.wait_answered
            storm.wait_answered(MORE)
            took = time.monotonic() - begun
            new, verdict = judge(storm.finish()), held.finish()
    cut = [one.reason for one in verdict.broken if not one.reason.startswith(RESTART)]
    record(Counts(HELD, len(cut), new.total, new.lost, 0))
    print(
        f"both out in {took:.0f} s: {new.total} new connections, {new.lost} lost;"
        f" {HELD} held, {len(verdict.broken)} times asked to come back, {came_back(verdict)} came,"
        f" {len(cut)} cut"
    )

    assert (new.lost, new.reasons) == (0, {})
    assert cut == []
    assert verdict.wrong == 0
    assert len(verdict.broken) == came_back(verdict) >= HELD


def came_back(verdict: HeldVerdict) -> int:
    return sum(verdict.returned.values())


@pytest.mark.parametrize("text", [by_agent, by_health_page])
def test_one_after_the_other_leaves_is_deployed_to_and_joins(
    hosts: Hosts, text: Callable[[], str], record: Callable[[Counts], None]
) -> None:
    with clients(hosts, text(), record) as more:
        for host in (hosts.a, hosts.b):
            hosts.leave(host)
            out = "DRAIN" if text is by_agent else "DOWN"
            hosts.wait_state(host, out)
            host.ctl("upgrade")
            host.switch("two")
            host.reload()
            host.wait_alone()
            assert hosts.states()[host.name].startswith(out)
            host.ctl("join")
            hosts.back(host)
            more(MORE)
        hosts.a.ctl("upgrade")  # which is in: the short absence of the agent has no effect
        more(MORE)
        assert hosts.states()["a"].startswith("UP")


def test_one_after_the_other_leaves_and_is_restarted(
    hosts: Hosts, record: Callable[[Counts], None]
) -> None:
    """The first with its socket unit left as it is, the other one as for a reboot."""
    with clients(hosts, by_agent(), record) as more:
        hosts.leave(hosts.a)
        hosts.a.systemctl("restart")
        hosts.back(hosts.a)
        more(MORE)
        hosts.leave(hosts.b)
        hosts.machine.systemctl("stop", hosts.b.socket, hosts.b.service)
        more(MORE)
        hosts.machine.systemctl("start", hosts.b.socket, hosts.b.service)
        hosts.back(hosts.b)
        more(MORE)


def test_the_guides_script_over_both(hosts: Hosts, record: Callable[[Counts], None]) -> None:
    hosts.machine.write("/root/one-by-one.sh", of_guide("one-by-one.sh"))
    with clients(hosts, by_agent(), record):
        done = hosts.machine.run("bash", "/root/one-by-one.sh", "a", "b", within=WHOLE)
        assert done.stdout.count("back in its load balancer") == 2
        for host in (hosts.a, hosts.b):
            assert host.active() == 2
            hosts.back(host)


def test_who_does_not_leave_first_cuts_those_who_are_there(
    hosts: Hosts, record: Callable[[Counts], None]
) -> None:
    """Which is why it is done: this holds the other tests to what they count."""
    machine = hosts.machine
    with (
        proxied(hosts.a, "haproxy.cfg", by_agent()),
        HeldClient(machine.directory, HOST, PORT, HELD, machine.network) as held,
    ):
        held.wait_open()
        machine.systemctl("stop", hosts.b.socket, hosts.b.service)
        cut = [one.reason for one in held.finish().broken]
    record(Counts(HELD, len(cut), 0, 0, 0))

    assert len(cut) >= HELD / 4
    assert all(one.startswith(GOING_AWAY) for one in cut)
