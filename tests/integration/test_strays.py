"""A process that hides from its worker, forked twice, with no environment, is ours all the same."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import alive
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.releases import WORKERS
from tests.harness.settings import HOST, Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.runtime.handover import state_file
from wssupervisor.runtime.kernel.procfs import environment, pids
from wssupervisor.runtime.workers import kin
from wssupervisor.runtime.workers.relay import INSTANCE
from wssupervisor.runtime.workers.strays import LOOK_AT_ONCE_MAX, Strays

BEFORE_A_SCAN = 20.0
"""A stray is found because it is orphaned or a holder, not by the next scan of all processes."""
SLOTS = 6
CLIENTS = 30


def leaving(settings: Settings, keeps: str, *more: str) -> Settings:
    command = (sys.executable, str(WORKERS / "strays.py"), keeps, *more)
    return replace(settings, listeners=("raw",), workers=1, max_draining=1, command=command)


@contextmanager
def instance(settings: Settings, sockets: HeldSockets | FdStore | None = None) -> Iterator[Daemon]:
    """Its strays carry no name by which they could be found when a test has failed."""
    with Daemon(settings, sockets=sockets) as daemon:
        try:
            yield daemon
        finally:
            for pid in strays(daemon):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)


def strays(daemon: Daemon) -> list[int]:
    """All that workers said to have left behind, in that order."""
    return [int(pid) for pid in re.findall(r"\bstray (\d+)", daemon.log())]


def wait_strays(daemon: Daemon, count: int) -> list[int]:
    wait_until(lambda: len(strays(daemon)) >= count, what=f"{count} strays", within=BEFORE_A_SCAN)
    return strays(daemon)


def answers(settings: Settings, count: int = CLIENTS) -> set[bytes]:
    found = set()
    for _ in range(count):
        with socket.create_connection(settings.target("raw"), HANG_SECONDS) as client:
            client.settimeout(HANG_SECONDS)
            found.add(client.recv(100))
    return found


@pytest.mark.parametrize("keeps", ["accepts", "holds"])
def test_a_stray_with_a_slot_goes_with_its_generation_and_gets_no_client_of_the_next(
    settings: Settings, keeps: str
) -> None:
    own = leaving(settings, keeps)
    with instance(own) as daemon:
        daemon.start()
        wait_strays(daemon, 1)
        later = replace(own, command=(*own.command, "none"))
        later.write()
        found = set()
        for _ in range(SLOTS):  # each slot in turn
            daemon.reload()
            found |= answers(own)
            daemon.wait_for(
                lambda status: len(status["generations"]) == 1,
                what="one generation",
                within=BEFORE_A_SCAN,
            )
        [stray] = strays(daemon)
        still = alive(stray)
        daemon.stop()

    assert found == {b"worker\n"}
    assert not still


@pytest.mark.parametrize("dies", ["nothing", "supervisor and relay"])
def test_a_stray_that_calls_itself_a_relay_of_output_ends_like_any_other(
    settings: Settings, tmp_path: Path, dies: str
) -> None:
    """It is left while the supervisor is stopped, which so never sees it below its worker."""
    asked = tmp_path / "asked"
    own = leaving(settings, "accepts", "relay", str(asked))
    with instance(own) as daemon:
        daemon.start()
        [relay] = [pid for pid in pids() if environment(pid).get(INSTANCE) == own.name]
        daemon.signal(signal.SIGSTOP)
        asked.touch()
        wait_until(asked.read_text, what="a stray")
        stray = int(asked.read_text())
        wait_until(lambda: environment(stray).get(INSTANCE), what="its variable")
        if dies == "nothing":
            daemon.signal(signal.SIGCONT)
        else:
            os.kill(relay, signal.SIGKILL)
            daemon.die()
            daemon.start()
        replace(own, command=(*own.command[:-2], "none")).write()
        daemon.reload()
        try:
            wait_until(
                lambda: not alive(stray),
                what="the end of the stray",
                within=BEFORE_A_SCAN if dies == "nothing" else HANG_SECONDS,
            )
        finally:
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)


@pytest.mark.parametrize("keeps", ["accepts", "nothing"])
def test_a_stop_ends_strays_also_those_that_have_let_go_of_everything(
    settings: Settings, keeps: str
) -> None:
    own = leaving(settings, keeps)
    with instance(own) as daemon:
        daemon.start()
        [stray] = wait_strays(daemon, 1)
        assert daemon.stop() == 0
        assert not alive(stray)
        daemon.start()
        assert daemon.stop() == 0


@contextmanager
def died(settings: Settings, keeps: str, held: str) -> Iterator[tuple[Daemon, int]]:
    """A supervisor and its workers have been killed, all but a stray; and this is its pid."""
    own = replace(leaving(settings, keeps), with_addresses=held != "unit")
    with ExitStack() as stack:
        sockets = None
        if held == "unit":
            given = HeldSockets({"raw": (HOST, own.raw_port)}, slots=SLOTS)
            sockets = stack.enter_context(given)
        daemon = stack.enter_context(instance(own, sockets))
        daemon.start()
        [stray] = wait_strays(daemon, 1)
        pids = daemon.active_pids()
        daemon.die()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), what="the end of its workers")
        yield daemon, stray


@pytest.mark.parametrize("keeps", ["accepts", "holds"])
@pytest.mark.parametrize("held", ["unit", "nobody"])
def test_a_supervisor_after_a_death_ends_strays_of_workers_that_are_gone(
    settings: Settings, keeps: str, held: str
) -> None:
    with died(settings, keeps, held) as (daemon, stray):
        daemon.start()
        wait_until(lambda: not alive(stray), what="its end", within=BEFORE_A_SCAN)
        assert answers(daemon.settings)
        assert daemon.stop() == 0
        assert [pid for pid in strays(daemon) if alive(pid)] == []


@pytest.mark.parametrize("keeps", ["accepts", "holds"])
@pytest.mark.parametrize("held", ["unit", "nobody"])
def test_a_start_that_cannot_go_on_ends_what_holds_the_sockets_of_before(
    settings: Settings, keeps: str, held: str
) -> None:
    with died(settings, keeps, held) as (daemon, stray):
        spoil_fleet(daemon)
        replace(daemon.settings, command=(*daemon.settings.command, "none")).write()
        daemon.start()

        assert not alive(stray)
        assert answers(daemon.settings) == {b"worker\n"}
        assert daemon.stop() == 0


@pytest.mark.parametrize("keeps", ["accepts", "holds"])
def test_a_stray_of_which_only_its_socket_is_known_ends_with_the_worker_that_has_the_slot(
    settings: Settings, keeps: str
) -> None:
    """No control group, no descent, no state; and the start comes to an end."""
    with died(settings, keeps, "unit") as (daemon, stray):
        for number in range(2):
            daemon.control.with_name(f"{daemon.control.name}{state_file.SUFFIX}.{number}").unlink()
        replace(daemon.settings, command=(*daemon.settings.command, "none")).write()
        daemon.start()

        if keeps == "accepts":  # two accept from one queue: the worker gets some of what comes
            wait_until(
                lambda: b"worker\n" in answers(daemon.settings, 1),
                what="an answer of the worker",
            )
        else:
            assert answers(daemon.settings) == {b"worker\n"}
        assert daemon.stop() == 0
        wait_until(lambda: not alive(stray), what="its end", within=BEFORE_A_SCAN)


def spoil_fleet(daemon: Daemon) -> None:
    """Its configuration is no longer valid: what was supervised is not taken over."""
    own = state_file.StateFile(f"{daemon.control}{state_file.SUFFIX}")
    found = own.read(daemon.settings.name)
    assert found is not None
    own.write(replace(found, document=replace(found.document, config_text="nonsense")))
    own.close()


@pytest.mark.parametrize("keeps", ["accepts", "holds"])
def test_a_supervisor_that_takes_over_knows_whose_stray_it_is(
    settings: Settings, keeps: str
) -> None:
    own = leaving(settings, keeps)
    with instance(own) as daemon:
        daemon.start()
        [stray] = wait_strays(daemon, 1)
        pids = daemon.active_pids()
        daemon.die()
        daemon.start()
        assert daemon.active_pids() == pids
        replace(own, command=(*own.command, "none")).write()
        daemon.reload()
        daemon.wait_for(
            lambda status: len(status["generations"]) == 1,
            what="one generation",
            within=BEFORE_A_SCAN,
        )

        assert not alive(stray)
        assert answers(own) == {b"worker\n"}
        assert daemon.stop() == 0


def test_many_strays_are_looked_at_in_portions_and_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 2 * LOOK_AT_ONCE_MAX + 50
    judged: list[int] = []

    def counted(pid: int) -> kin.Traits | None:
        judged.append(pid)
        return traits(pid)

    traits = kin.traits
    monkeypatch.setattr(kin, "traits", counted)
    with ExitStack() as stack:
        for _ in range(count):
            child = subprocess.Popen(["sleep", "60"])
            stack.callback(child.wait)
            stack.callback(child.kill)
        found = Strays(frozenset(), lambda _pid, _started: False)
        at_once = []
        for _ in range(4):
            before = len(judged)
            found.look({}, 1.0)
            at_once.append(len(judged) - before)

    assert len(set(judged)) >= count
    assert max(at_once) <= 2 * LOOK_AT_ONCE_MAX
