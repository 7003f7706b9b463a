"""The daemon's entry point: options, and the order in which everything is set up."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from wssupervisor import __version__, logging
from wssupervisor.config import Config, Overrides
from wssupervisor.config_file import load_config, read_config
from wssupervisor.control.paths import daemon_path
from wssupervisor.control.server import ControlServer
from wssupervisor.errors import WssError
from wssupervisor.fleet.actions import NoteKind
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import ReloadRequested, StopRequested
from wssupervisor.fleet.model import Release
from wssupervisor.runtime import acquire
from wssupervisor.runtime.carried import Carried, CarriedControl
from wssupervisor.runtime.gate import Gate
from wssupervisor.runtime.processes import become_subreaper, keep_descriptors
from wssupervisor.runtime.release import resolve
from wssupervisor.runtime.requests import Requests
from wssupervisor.runtime.slot_counts import SlotCounts
from wssupervisor.runtime.supervisor import Ended, Supervisor
from wssupervisor.runtime.systemd import Herald, passed_sockets
from wssupervisor.runtime.upgrade import HANDLED, READY, Upgrade, left_to_us, on_trial
from wssupervisor.runtime.watch import Watch

log = structlog.get_logger()

NOTIFY = ".notify"
"""After the control socket's path: where workers find their NOTIFY_SOCKET, one each."""
NOT_TOLD = (
    "in shared mode a worker stops accepting only when it is told, and [drain] signal is none"
)

EXAMPLES = """\
examples:
  wssupervisor --config /etc/wssupervisor/chat.toml
  wssupervisor --listen 127.0.0.1:8765 --workers 2 -- uvicorn chat:app --fd 3

The server gets its listening socket as descriptor 3 (LISTEN_FDS, as with systemd).
Then: wssctl status, wssctl reload, wssctl stop.

signals: SIGTERM, SIGINT, SIGQUIT stop (a second one: at once); SIGHUP reloads; SIGUSR1 is passed on
to the workers that serve; SIGUSR2 re-executes the supervisor, as `wssctl upgrade` does.
As the first process of a container it reaps what is left to it.

exit status: 0 stopped as told, 1 could not start or serve, 2 usage, 78 bad configuration
"""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="wssupervisor",
        description="Run a WebSocket server that is reloaded without losing a connection.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--config", metavar="FILE", help="configuration (TOML); options override it")
    add(
        "--listen",
        metavar="[NAME=]ADDRESS",
        action="append",
        default=[],
        help="serve this address, such as 127.0.0.1:8765 or [::]:8765; may be repeated",
    )
    add("--workers", metavar="N", help='worker processes, or "auto" for one per CPU (default 1)')
    add("--name", help="instance name (default: the file's stem, or default)")
    add("--control", metavar="PATH", help="control socket, where wssctl finds this instance")
    add("--log-format", choices=logging.FORMATS, default="auto", help="default: auto")
    add("--log-level", choices=logging.LEVELS, default="info", help="default: info")
    add("--version", action="version", version=f"wssupervisor {__version__}")
    add("command", nargs="*", metavar="COMMAND", help="after --: the server and its arguments")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in the foreground until stopped; returns the exit status."""
    given = parser().parse_args(arguments)
    overrides = Overrides(
        name=given.name,
        listen=tuple(given.listen),
        workers=given.workers,
        command=tuple(given.command),
    )
    if given.config is None and not given.command:
        parser().error("give --config FILE, or --listen ADDRESS -- COMMAND (see --help)")
    try:
        if found := on_trial():
            return _judge(found, given.config, overrides)
        before = left_to_us()
        text = read_config(given.config) if before is None else before.config_text
        config = load_config(given.config, overrides, text)
        logging.configure(given.log_format, given.log_level, config.name)
        control = given.control or daemon_path(config.name)
        own = _Instance(config, control, given.config, overrides, text)
        ended = asyncio.run(own.run(before))
    except WssError as error:
        return _complain(error.exit_status, str(error), error.lines)
    if ended.status:
        reason = f"instance {config.name!r} did not start: {ended.reason}"
        return _complain(ended.status, reason, ended.lines)
    return 0


def _judge(found: Carried, path: str | None, overrides: Overrides) -> int:
    """Could this program take over? Raises WssError where it could not."""
    load_config(path, overrides, found.config_text)
    found.load_fleet()
    print(f"{READY}{__version__}")  # noqa: T201 - the answer
    return 0


def _complain(status: int, reason: str, lines: Sequence[str]) -> int:
    print(f"wssupervisor: {reason}", file=sys.stderr)  # noqa: T201 - the last word of a program
    for line in lines:
        print(f"  | {line}", file=sys.stderr)  # noqa: T201
    return status


class _Instance:
    """Sets everything up, in order, anew or with what the program before us left."""

    def __init__(
        self, config: Config, control: str, path: str | None, overrides: Overrides, text: str | None
    ) -> None:
        """`text`: what the configuration file at `path` says."""
        self._config = config
        self._control = control
        self._path = path
        self._overrides = overrides
        self._text = text
        self._herald = Herald()
        self._server = ControlServer(
            control, _not_yet, group_may_operate=config.control.group_may_operate
        )

    async def run(self, before: Carried | None) -> Ended:
        """Serve; `before`: what was left to us. Raises WssError."""
        release = None
        if before is None:
            release = resolve(self._config)
            self._server.claim()
        gate: Gate | None = None
        try:
            become_subreaper()
            keep_descriptors()
            if before is None:
                gate = acquire.gate(self._config, passed_sockets())
                fleet = Fleet(gate.open(), time.monotonic())
                counts = _compare_slots(gate)
            else:
                fleet = before.load_fleet()
                gate = acquire.taken_over(self._config, before.listeners, before.slots_before)
                counts = SlotCounts(gate.pools.values())
            supervisor = Supervisor(
                self._config,
                lambda: load_config(self._path, self._overrides),
                gate,
                fleet,
                notify_at=os.path.abspath(self._control) + NOTIFY,  # noqa: PTH100 - not resolved
            )
            watch = Watch(supervisor, self._herald)
            upgrade = Upgrade(
                lambda: supervisor.fleet.state, lambda: self._carry(supervisor, watch)
            )
            self._server.handler = Requests(supervisor, watch, upgrade).handle
            if before is None:
                self._server.start()
                _greet(self._config, gate, self._control)
            else:
                supervisor.take_over(before)
                watch.first_seen = dict(before.first_seen)
                self._take_control(before)
            _obey_signals(supervisor, upgrade)
            supervisor.history.follow(lambda note: _tell_systemd(self._herald, str(note["kind"])))
            if not gate.slots_before:
                counts.remember()
            ended = await supervisor.run(_beginning(supervisor, release, before), watch.run)
            if ended.status == 0:
                counts.remember()
            return ended
        finally:
            await self._server.close()
            if gate is not None:
                gate.close()

    def _carry(self, supervisor: Supervisor, watch: Watch) -> Carried:
        listening, lock, made_directory = self._server.descriptors()
        return replace(
            supervisor.carry(),
            config_text=self._text,
            control=CarriedControl(listening, lock, made_directory),
            first_seen=dict(watch.first_seen),
        )

    def _take_control(self, before: Carried) -> None:
        control = before.control
        assert control is not None
        self._server.take_over(
            control.listening, control.lock, made_directory=control.made_directory
        )


def _beginning(
    supervisor: Supervisor, release: Release | None, before: Carried | None
) -> Callable[[], None]:
    if before is not None:
        return partial(supervisor.resume, before.program)
    assert release is not None
    return partial(supervisor.start, release)


def _greet(config: Config, gate: Gate, control: str) -> None:
    log.info("starting", version=__version__, control=control, workers=config.app.workers)
    for pool in gate.pools.values():
        log.info(
            "listening",
            listener=pool.name,
            address=pool.address,
            slots=len(pool.slots),
            source=pool.source,
            **({} if pool.why_shared is None else {"shared": pool.why_shared}),
        )
        if pool.why_shared is not None and config.drain.signal is None:
            log.warning("old workers will go on accepting", listener=pool.name, why=NOT_TOLD)


def _compare_slots(gate: Gate) -> SlotCounts:
    """With those of the last run. A run that ended well with fewer sets the new measure."""
    counts = SlotCounts(gate.pools.values())
    gate.slots_before = counts.missing()
    for name, before in gate.slots_before.items():
        log.warning(
            "fewer slots than before",
            listener=name,
            slots=len(gate.pools[name].slots),
            before=before,
            advice="if that is not meant, stop the service and the socket unit, and start both",
        )
    return counts


def _obey_signals(supervisor: Supervisor, upgrade: Upgrade) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, _stop, supervisor)
    loop.add_signal_handler(signal.SIGHUP, lambda: supervisor.post(ReloadRequested(None)))
    loop.add_signal_handler(signal.SIGUSR1, supervisor.forward, signal.SIGUSR1.name)
    upgrades: set[asyncio.Task[None]] = set()

    def begin_upgrade() -> None:
        task = loop.create_task(_upgrade(upgrade))
        upgrades.add(task)  # the loop itself keeps no strong reference
        task.add_done_callback(upgrades.discard)

    loop.add_signal_handler(signal.SIGUSR2, begin_upgrade)
    # Those that came while we were re-executed are handled now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


async def _upgrade(upgrade: Upgrade) -> None:
    async def about_to(_: str) -> None: ...

    try:
        await upgrade.run(about_to)
    except WssError as error:
        log.warning("upgrade failed", reason=str(error))
        for line in error.lines:
            log.warning(line)


def _stop(supervisor: Supervisor) -> None:
    """The first time politely; who cannot wait says so a second time."""
    stopping = supervisor.fleet.state.stop is not None
    supervisor.post(StopRequested(None, within=0.0 if stopping else None))


def _tell_systemd(herald: Herald, kind: str) -> None:
    if kind == NoteKind.STARTED.value:
        herald.ready()
    elif kind == NoteKind.STOP_BEGUN.value:
        herald.stopping()


async def _not_yet(*_: object) -> dict[str, object]:
    raise WssError("the daemon is still starting")
