"""What workers write arrives, in order and once, whatever dies in between."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.census import alive, send
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.settings import Settings
from wssupervisor.runtime.kernel.procfs import environment, pids
from wssupervisor.runtime.workers.output import Output
from wssupervisor.runtime.workers.relay import INSTANCE

APPLICATION = Path(__file__).parents[1] / "harness/workers/serving.py"
NUMBER = re.compile(r"\| (\d{7}) x+$", re.MULTILINE)
SKIPPED = re.compile(r"output skipped.* bytes=(\d+)")
ALL = "| that was all"
PIPE_BUF = 4096


def relays(daemon: Daemon) -> list[int]:
    name = daemon.settings.name
    return [pid for pid in pids() if environment(pid).get(INSTANCE) == name and alive(pid)]


def relay(daemon: Daemon) -> int:
    (pid,) = relays(daemon)
    return pid


def chatty(settings: Settings, lines: int, burst: int, pause: float, width: int = 64) -> Settings:
    """One worker that writes so much."""
    settings.releases.install("chatty", "chatty")
    own: Mapping[str, str] = {
        "LINES": str(lines),
        "WIDTH": str(width),
        "BURST": str(burst),
        "PAUSE": str(pause),
        "APPLICATION": str(APPLICATION),
    }
    return replace(settings, workers=1, environment={**settings.environment, **own})


def install(settings: Settings, name: str, script: str) -> None:
    release = settings.releases.install(name)
    (release / "run").write_text(f"#!/bin/bash\n{script}\n")


def serve(settings: Settings) -> str:
    """The end of a script that is a worker."""
    return (settings.releases.current.resolve() / "run").read_text().splitlines()[-1]


def wait_said(daemon: Daemon, what: str) -> str:
    wait_until(lambda: what in daemon.log(), what=repr(what), every=0.05)
    return daemon.log()


def numbers(log: str) -> list[int]:
    return [int(found) for found in NUMBER.findall(log)]


def read_all(pipe: int) -> bytes:
    """What is in a pipe that does not block."""
    data = b""
    with suppress(BlockingIOError):
        while some := os.read(pipe, 1 << 20):
            data += some
    return data


def test_a_script_that_names_its_standard_error_loses_none_of_its_lines(
    settings: Settings,
) -> None:
    ends = serve(settings)
    names = "echo before\nfor n in $(seq 60); do echo line $n > /dev/stderr; done\necho after"
    install(settings, "shell", f"{names}\n{ends}")
    with Daemon(settings) as daemon:
        daemon.start()
        log = wait_said(daemon, "1.1.1 | after")
        said = re.findall(r"1\.1\.1 \| (.*)", log)

        assert said == ["before", *(f"line {n}" for n in range(1, 61)), "after"]
        install(settings, "bad", "echo x > /dev/stderr; exec python3 -c 'import no_such_module'")
        failed = daemon.ctl("reload")
        assert failed.status == 1
        assert "No module named 'no_such_module'" in failed.err
        assert daemon.stop() == 0
        assert relays(daemon) == []


def test_the_last_lines_of_a_release_that_fails_are_its_last(settings: Settings) -> None:
    settings = replace(settings, workers=1)
    with Daemon(settings) as daemon:
        daemon.start()
        install(settings, "bad", "seq 40000; echo FATAL: no database; exit 3")
        failed = daemon.ctl("reload")

        assert failed.status == 1
        assert failed.err.splitlines()[-2:] == ["  | 40000", "  | FATAL: no database"]


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_relay_that_is_killed_or_stopped_is_replaced_and_nothing_is_lost(
    settings: Settings, how: str
) -> None:
    count = 8000
    with Daemon(chatty(settings, count, 100, 0.05)) as daemon:
        daemon.start()
        before = relay(daemon)
        send(before, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        wait_until(lambda: not alive(before), what="its end")
        wait_until(lambda: relays(daemon), what="another relay")
        log = wait_said(daemon, ALL)

        assert relay(daemon) != before
        assert numbers(log) == list(range(count))


@pytest.mark.parametrize("dies", ["supervisor", "both"])
def test_what_is_written_while_nobody_supervises_comes_afterwards(
    settings: Settings, dies: str
) -> None:
    """More than a pipe holds: so it must have been read."""
    count = 8000
    with FdStore() as store, Daemon(chatty(settings, count, 200, 0.1), sockets=store) as daemon:
        daemon.start()
        worker, before = daemon.workers()[0].pid, relay(daemon)
        daemon.die()
        if dies == "both":
            send(before, signal.SIGKILL)
        at = time.monotonic()
        wait_until(lambda: time.monotonic() > at + 1.5, what="a while")
        daemon.start()
        log = wait_said(daemon, ALL)
        found = numbers(log)
        wait_until(lambda: len(relays(daemon)) == 1, what="one relay")

        assert [one.pid for one in daemon.workers()] == [worker]
        assert relay(daemon) != before
        assert sorted(set(found)) == list(range(count))
        assert len(found) - count < 200  # of the page that was being read when it died
        assert daemon.stop() == 0
        assert relays(daemon) == []


DIES_AT_ITS_RELAY = """
import asyncio, os, signal, sys
from wssupervisor.runtime.workers.output import Output
from wssupervisor.runtime.workers.relay import Relay

async def main():
    relay = Relay(sys.argv[1], lambda: os.kill(os.getpid(), signal.SIGKILL))
    relay.move(Output(int(sys.argv[2]), int(sys.argv[3])))

asyncio.run(main())
"""


def test_a_relay_that_was_not_saved_when_its_supervisor_died_ends_with_it() -> None:
    """No successor would know it; and a pipe that it had would keep it alive."""
    name = f"unsaved-{os.getpid()}"
    output, ends = Output.create("unsaved")
    try:
        command = [sys.executable, "-c", DIES_AT_ITS_RELAY, name]
        numbers = output.descriptors()
        died = subprocess.run([*command, *map(str, numbers)], pass_fds=numbers, check=False)

        assert died.returncode == -signal.SIGKILL
        wait_until(
            lambda: not any(environment(pid).get(INSTANCE) == name for pid in pids()),
            what="the end of the relay",
        )
    finally:
        ends.close()
        output.close()


@pytest.mark.parametrize("held", ["store", "nobody"])
def test_lines_that_wait_for_the_log_when_the_supervisor_dies_come_afterwards(
    settings: Settings, held: str
) -> None:
    """The log is a full pipe: the supervisor has read the lines, but could not write them."""
    count, width = 3000, 100
    reading, writing = os.pipe()
    with ExitStack() as stack:
        for end in (reading, writing):
            stack.callback(os.close, end)
        store = stack.enter_context(FdStore()) if held == "store" else None
        own = chatty(settings, count, count, 0.0, width)
        daemon = stack.enter_context(Daemon(own, sockets=store, log_to=writing))
        daemon.start()
        wait_until(
            lambda: not select.select([], [writing], [], 0)[1],
            what="a log that is full",
        )
        at = time.monotonic()
        wait_until(lambda: time.monotonic() > at + 1.0, what="a while")
        daemon.die()
        os.set_blocking(reading, False)
        log = read_all(reading)
        before = numbers(log.decode())
        daemon.start()

        def all_read() -> bool:
            nonlocal log
            log += read_all(reading)
            return ALL.encode() in log

        wait_until(all_read, what="its last line")
        found = numbers(log.decode())

        assert len(before) < count // 2
        assert sorted(set(found)) == list(range(count))
        assert len(found) - count < 2 * PIPE_BUF / width
        assert daemon.stop() == 0


@pytest.mark.parametrize("dies", ["supervisor", "both"])
def test_what_a_worker_wrote_before_it_ended_while_nobody_supervised_comes_afterwards(
    settings: Settings, dies: str
) -> None:
    with (
        FdStore() as store,
        Daemon(chatty(settings, 100_000, 20, 0.05), sockets=store) as daemon,
    ):
        daemon.start()
        [worker] = daemon.workers()
        if dies == "both":
            send(relay(daemon), signal.SIGKILL)
        daemon.die()
        before = max(numbers(daemon.log()), default=-1)
        at = time.monotonic()
        wait_until(lambda: time.monotonic() > at + 1.0, what="a while")
        send(worker.pid, signal.SIGKILL)
        wait_until(lambda: not alive(worker.pid), what="its end")
        daemon.start()
        own = re.compile(r"1\.0\.1 \| (\d{7}) x+$", re.MULTILINE)

        def arrived() -> list[int]:
            return [int(found) for found in own.findall(daemon.log())]

        wait_until(lambda: max(arrived()) > before + 50, what="its last lines")

        assert sorted(set(arrived())) == list(range(max(arrived()) + 1))
        assert daemon.stop() == 0


@pytest.mark.parametrize("dies", ["supervisor", "both"])
def test_without_a_store_a_worker_goes_on_writing_too(settings: Settings, dies: str) -> None:
    with Daemon(chatty(settings, 100_000, 20, 0.05)) as daemon:
        daemon.start()
        worker, before = daemon.workers()[0].pid, relay(daemon)
        daemon.die()
        if dies == "both":
            send(before, signal.SIGKILL)
        last = max(numbers(daemon.log()))
        daemon.start()

        def goes_on() -> bool:
            return max(numbers(daemon.log())) > last + 200

        wait_until(goes_on, what="more lines")
        found = numbers(daemon.log())
        wait_until(lambda: len(relays(daemon)) == 1, what="one relay")

        assert [one.pid for one in daemon.workers()] == [worker]
        if dies == "supervisor":
            assert sorted(set(found)) == list(range(max(found) + 1))
        assert daemon.stop() == 0
        assert relays(daemon) == []


def test_an_upgrade_in_the_middle_loses_and_repeats_nothing(settings: Settings) -> None:
    count = 10_000
    with Daemon(chatty(settings, count, 200, 0.1)) as daemon:
        daemon.start()
        for _ in range(2):
            assert daemon.ctl("upgrade").status == 0
        log = wait_said(daemon, ALL)
        wait_until(lambda: len(relays(daemon)) == 1, what="one relay")

        assert numbers(log) == list(range(count))


def test_what_outlives_its_worker_may_go_on_writing(settings: Settings) -> None:
    """The pipe stays open behind the worker: it must neither fill nor block a writer."""
    pid_file = settings.releases.root / "left"
    ends = serve(settings)
    talks = f"echo > {pid_file}; yes left behind | head -n 100000; echo done >> {pid_file}"
    left = f"setsid bash -c '{talks}' 3<&- 4<&- 5<&- &"
    install(settings, "leaves", f"env -i {left}\n{ends}")
    with Daemon(replace(settings, workers=1)) as daemon:
        daemon.start()
        wait_until(pid_file.exists, what="what is left behind")
        worker = daemon.workers()[0].pid
        daemon.end_worker(worker)
        daemon.wait_ready(1)
        wait_until(lambda: "done" in pid_file.read_text(), what="its end", every=0.1)
        assert daemon.stop() == 0
        assert relays(daemon) == []


def test_a_flood_stops_nobody_and_what_is_missing_is_counted(settings: Settings) -> None:
    width, count = 100, 2_000_000
    with Daemon(chatty(settings, count, 5000, 0.0, width)) as daemon:
        daemon.start()
        during: list[int] = []  # each answer: this many lines
        while ALL not in (tail := daemon.log_tail()):
            before = max(numbers(tail), default=0)
            assert daemon.status()["state"] in {"serving", "degraded"}
            during.append(max(numbers(daemon.log_tail()), default=before) - before)
        print(f"{len(during)} answers, one during {max(during)} lines")
        log = wait_said(daemon, ALL)
        found = numbers(log)
        skipped = sum(map(int, SKIPPED.findall(log)))

        assert max(during) < count / 2, "an answer waited for the flood"
        assert found == sorted(found)
        assert found[-1] == count - 1
        assert len(found) + skipped / width == count


def test_a_log_that_is_read_again_after_a_stall_says_what_is_missing(settings: Settings) -> None:
    width, count = 100, 200_000
    reading, writing = os.pipe()
    try:
        with Daemon(chatty(settings, count, 5000, 0.01, width), log_to=writing) as daemon:
            daemon.start()
            daemon.reload()
            data = b""
            os.set_blocking(reading, False)

            def all_read() -> bool:
                nonlocal data
                data += read_all(reading)
                return data.count(ALL.encode()) == 2

            wait_until(all_read, what="both workers' last line")
            log = data.decode()
            for worker in ("1.0.1", "2.0.1"):
                own = "\n".join(line for line in log.splitlines() if worker in line)
                found = numbers(own)
                skipped = sum(map(int, SKIPPED.findall(own)))
                assert found == sorted(found)
                assert len(found) + skipped / width == count
    finally:
        os.close(reading)
        os.close(writing)
