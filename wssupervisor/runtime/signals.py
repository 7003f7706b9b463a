"""The effect of each signal on the daemon."""

import asyncio
import signal
import time

import structlog

from wssupervisor.config.app import FORWARDABLE
from wssupervisor.errors import WssError
from wssupervisor.fleet.events import ReloadRequested, Requester, StopRequested
from wssupervisor.fleet.model import InstanceState
from wssupervisor.runtime.controlling_terminal import Terminal
from wssupervisor.runtime.handover.upgrade import HANDLED, Upgrade
from wssupervisor.runtime.supervisor import Supervisor

log = structlog.get_logger()

HANG_UP_SECONDS = 0.3
"""From a SIGHUP to a decision if there is a terminal: tmux sends SIGHUP before it closes it."""


def obey_signals(supervisor: Supervisor, upgrade: Upgrade) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, _stop, supervisor)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        log.info("SIGHUP is ignored because of nohup; reload with wssctl reload")
    else:
        loop.add_signal_handler(signal.SIGHUP, _hang_up, supervisor, Terminal())
    for name in FORWARDABLE:
        loop.add_signal_handler(signal.Signals[name], supervisor.forward, name)
    upgrades: set[asyncio.Task[None]] = set()

    def begin_upgrade() -> None:
        task = loop.create_task(_upgrade(upgrade))
        upgrades.add(task)  # the loop itself keeps no strong reference
        task.add_done_callback(upgrades.discard)

    loop.add_signal_handler(signal.SIGUSR2, begin_upgrade)
    # Signals that arrived during the re-execution are handled now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _hang_up(supervisor: Supervisor, terminal: Terminal) -> None:
    """Reload if an operator or a script sent the signal, but not if a terminal was closed.

    On a close, the kernel and the shell send SIGHUP to every process of that terminal.
    """
    if terminal.exists or terminal.lost_lately(time.monotonic()):
        loop = asyncio.get_running_loop()
        loop.call_later(HANG_UP_SECONDS, _decide, supervisor, terminal)
    else:
        _reload(supervisor)


def _decide(supervisor: Supervisor, terminal: Terminal) -> None:
    if terminal.lost_lately(time.monotonic() - HANG_UP_SECONDS):
        log.info("SIGHUP caused by the loss of the terminal: not reloading")
    else:
        _reload(supervisor)


def _reload(supervisor: Supervisor) -> None:
    supervisor.post(ReloadRequested(None, by=Requester(signal.SIGHUP.name)))


async def _upgrade(upgrade: Upgrade) -> None:
    async def about_to(_: str) -> None: ...

    try:
        await upgrade.run(about_to)
    except WssError as error:
        log.warning("upgrade failed", reason=str(error))
        for line in error.lines:
            log.warning(line)


def _stop(supervisor: Supervisor) -> None:
    """Stop gracefully; a second signal stops at once."""
    stopping = supervisor.view().state is InstanceState.STOPPING
    supervisor.post(StopRequested(None, within=0.0 if stopping else None))
