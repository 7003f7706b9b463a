"""Out of the load balancer: who is connected is asked to come back, who comes is served."""

import json
import os
import signal
import time
from dataclasses import replace
from datetime import datetime

import pytest

from examples.load.clients import HeldVerdict
from examples.load.verdict import judge
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.library import RESTART, holding, polite, reasons, storm, wait_log
from tests.harness.settings import Settings
from tests.harness.terminal import CTRL_C, Terminal

__all__ = ["polite"]


@pytest.fixture
def quick(polite: Settings) -> Settings:
    """Its connections are asked to close over two seconds."""
    return replace(polite, drain='close_over = "2s"')


def first_close(verdict: HeldVerdict) -> float:
    """When the first client was closed, as seconds since the epoch."""
    return min(one.at for one in verdict.broken) - time.monotonic() + time.time()


def moment(stamp: str) -> float:
    """Seconds since the epoch, less what rounding and two clocks may differ."""
    return datetime.fromisoformat(stamp).timestamp() - 0.1


def connected(daemon: Daemon) -> int:
    return sum(one["connections"] for one in daemon.status()["generations"])


def test_it_asks_all_after_the_lead_and_is_done_when_they_have_gone(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        pids = daemon.active_pids()
        with holding(daemon, 40) as held:
            held.wait_open()
            answer = daemon.ctl("leave", "--lead", "1s", "--json")
            verdict = held.finish()
        events = [json.loads(one) for one in daemon.ctl("events", "--json").out.splitlines()]

        assert answer.status == 0
        assert answer.document["empty"]
        assert answer.document["connections"] == 0
        assert reasons(verdict) == {RESTART: 40}
        assert "out of service" in verdict.broken[0].reason
        first, last = verdict.broken[0].at, verdict.broken[-1].at
        assert last - first > 1.0, "all at once"
        assert daemon.active_pids() == pids, "no worker was ended"
        assert daemon.state() == "serving"
        assert [one["kind"] for one in events[-2:]] == ["left", "emptied"]
        assert events[-2]["connections"] == 40
        assert events[-2]["by_pid"] > 0


def test_nobody_is_asked_before_the_lead_is_over_and_who_comes_is_served(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        with holding(daemon, 20) as held, storm(daemon) as arriving:
            held.wait_open()
            assert daemon.ctl("leave", "--lead", "1h", "--no-wait").status == 0
            cutover = daemon.reload()
            arriving.wait_answered(300)
            found = judge(arriving.finish(), [cutover])
            verdict = held.finish()
        out = daemon.status()["out_of_rotation"]

        assert (found.lost, found.misrouted) == (0, 0)
        assert verdict.broken == ()
        assert out["emptied_at"] is None
        assert out["limit"] is None


def test_at_the_limit_it_fails_and_says_how_many_are_left(settings: Settings) -> None:
    """Of workers without the library, which cannot be asked."""
    with Daemon(settings) as daemon:
        daemon.start()
        with daemon.held(settings.releases.root, 7) as held:
            held.wait_open()
            answer = daemon.ctl("leave", "--lead", "100ms", "--within", "1500ms")
            again = daemon.ctl("leave", "--lead", "0s", "--no-wait")
            shown = daemon.ctl("status").out
            verdict = held.finish()

    assert answer.status == 1
    assert (
        "7 connections left at the limit, 7 of them with workers that cannot be asked to close"
        in answer.err
    )
    assert f"Run `{daemon.hint('leave')}` to keep waiting" in answer.err
    assert again.status == 0
    assert "with 7 connections, which no worker can be asked to close. See" in again.out
    assert "out of its load balancer for" in shown
    assert verdict.broken == ()


def test_busy_ones_stay_until_they_are_not_busy(quick: Settings) -> None:
    with Daemon(replace(quick, drain='close_over = "500ms"')) as daemon:
        daemon.start()
        with holding(daemon, 10) as idle, holding(daemon, 5, path="/busy", name="busy") as busy:
            idle.wait_open()
            busy.wait_open()
            answer = daemon.ctl("leave", "--lead", "0s", "--within", "3s")
            assert reasons(idle.finish()) == {RESTART: 10}
            assert busy.finish().broken == ()

    assert answer.status == 1
    assert "5 connections left at the limit. " in answer.err


def test_a_join_lets_the_others_stay(polite: Settings) -> None:
    with Daemon(replace(polite, drain='close_over = "60s"')) as daemon:
        daemon.start()
        with holding(daemon, 60) as held:
            held.wait_open()
            waiting = daemon.launch_ctl("leave", "--lead", "0s")
            held.wait_broken(1)
            joined = daemon.ctl("join")
            daemon.reload()  # connections whose turn it was are closed by then
            before = held.bad
            daemon.reload()
            assert held.bad == before < 60
            held.finish()
        _, said = waiting.communicate(timeout=HANG_SECONDS)

        assert joined.status == 0
        assert "back in its load balancer after" in joined.out
        assert waiting.returncode == 1
        assert "stopped waiting: the instance joined" in said
        assert daemon.status()["out_of_rotation"] is None
        assert daemon.ctl("join").out == "already in its load balancer\n"


def test_who_comes_back_to_it_is_closed_once_a_round_and_not_in_a_circle(polite: Settings) -> None:
    """As by a load balancer that has not noticed."""
    with Daemon(replace(polite, drain='close_over = "500ms"')) as daemon:
        daemon.start()
        with holding(daemon, 20, returns=True) as held:
            held.wait_open()
            assert daemon.ctl("leave", "--lead", "0s", "--within", "4s").status == 1
            assert daemon.ctl("join").status == 0
            verdict = held.finish()

    assert reasons(verdict) == {RESTART: 20}
    assert verdict.returned == {1: 20}


def test_it_stays_out_over_an_upgrade_and_the_waiting_goes_on(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        with holding(daemon, 20) as held:
            held.wait_open()
            waiting = daemon.launch_ctl("leave", "--lead", "3s", "--within", "1min")
            daemon.wait_for(lambda status: status["out_of_rotation"], what="leaving")
            out = daemon.status()["out_of_rotation"]
            assert daemon.ctl("upgrade").status == 0
            waiting.communicate(timeout=HANG_SECONDS)
            verdict = held.finish()

        assert waiting.returncode == 0
        assert reasons(verdict) == {RESTART: 20}
        assert daemon.status()["out_of_rotation"]["since"][:19] == out["since"][:19]
        assert first_close(verdict) >= moment(out["since"]) + 3.0, "before the lead was over"


def test_it_stays_out_over_the_supervisors_death_and_asks_after_it(quick: Settings) -> None:
    with FdStore() as store, Daemon(quick, sockets=store) as daemon:
        daemon.start()
        with holding(daemon, 20) as held:
            held.wait_open()
            assert daemon.ctl("leave", "--lead", "2s", "--no-wait").status == 0
            daemon.die()
            daemon.start()
            out = daemon.status()["out_of_rotation"]
            held.wait_broken(20)
            verdict = held.finish()
            assert reasons(verdict) == {RESTART: 20}
            assert first_close(verdict) >= moment(out["since"]) + 2.0, "before the lead was over"
            assert daemon.ctl("leave", "--lead", "0s").status == 0


def test_the_waiting_goes_on_over_the_supervisors_death(quick: Settings) -> None:
    with FdStore() as store, Daemon(quick, sockets=store) as daemon:
        daemon.start()
        with holding(daemon, 20) as held:
            held.wait_open()
            waiting = daemon.launch_ctl("leave", "--lead", "4s", "--within", "1min", "--json")
            daemon.wait_for(lambda status: status["out_of_rotation"], what="leaving")
            daemon.die()
            daemon.start()
            said, _ = waiting.communicate(timeout=HANG_SECONDS)
            assert reasons(held.finish()) == {RESTART: 20}

    assert waiting.returncode == 0
    assert json.loads(said)["seconds"] > 4.0, "the lead counts from when it went out"
    assert json.loads(said)["empty"]


def test_a_fresh_start_begins_joined(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        assert daemon.ctl("leave", "--lead", "0s").status == 0
        assert daemon.stop() == 0
        daemon.start()

        assert daemon.status()["out_of_rotation"] is None


def test_while_it_stops_it_is_not_tried(quick: Settings) -> None:
    slow = replace(quick, stop='close_over = "20s"', stop_timeout="30s")
    with Daemon(slow) as daemon:
        daemon.start()
        with holding(daemon, 20) as held:
            held.wait_open()
            waiting = daemon.launch_ctl("leave", "--lead", "1h")
            daemon.wait_for(lambda status: status["out_of_rotation"], what="leaving")
            daemon.signal(signal.SIGTERM)
            daemon.wait_for(lambda one: one["state"] == "stopping", what="stopping")
            refused = [daemon.ctl("leave"), daemon.ctl("join")]
            daemon.signal(signal.SIGTERM)
            daemon.wait_end()
            held.finish()
        _, said = waiting.communicate(timeout=HANG_SECONDS)

    assert waiting.returncode == 1
    assert "stopped waiting: the instance is stopping" in said
    assert [one.status for one in refused] == [75, 75]
    assert "the instance is stopping" in refused[0].err


def test_a_terminal_is_shown_how_many_are_left_and_ctrl_c_ends_the_waiting_only(
    quick: Settings,
) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        with holding(daemon, 12) as held:
            held.wait_open()
            command = daemon.ctl_command("leave", "--lead", "1h", "--within", "2h")
            with Terminal(command) as terminal:
                wait_until(
                    lambda: "12 connections, asked to close in" in terminal.said,
                    what="progress",
                )
                terminal.press(CTRL_C)
                assert terminal.end() == 130
                told = (
                    "The instance stays out of its load balancer. Keep waiting with"
                    f" `{daemon.hint('leave')}`"
                )
                wait_until(
                    lambda: told in terminal.said,
                    what="how to keep waiting",
                )
            assert daemon.status()["out_of_rotation"]["since"]
            assert held.finish().broken == ()


def test_mistakes_are_told(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()

        for option in ("--lead", "--within"):
            answer = daemon.ctl("leave", option, "soon")
            assert answer.status == 2
            assert f"{option}: found 'soon', expected a duration" in answer.err
        assert daemon.status()["out_of_rotation"] is None


def test_the_log_tells(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        assert daemon.ctl("leave", "--lead", "0s").status == 0
        assert daemon.ctl("join").status == 0
        wait_log(daemon, "joined")

        assert "emptied" in daemon.log()
        assert f"by_pid={os.getpid()}" not in daemon.log(), "wssctl's, not ours"


def test_monitoring_is_told(quick: Settings) -> None:
    with Daemon(quick) as daemon:
        daemon.start()
        before = daemon.ctl("metrics").out.splitlines()
        daemon.ctl("leave", "--no-wait")
        after = daemon.ctl("metrics").out.splitlines()

        assert {"wssupervisor_out_of_rotation 0", "wssupervisor_ready 1"} <= set(before)
        assert {"wssupervisor_out_of_rotation 1", "wssupervisor_ready 0"} <= set(after)
