"""The daemon's entry point: options, and what its end is called."""

import argparse
import asyncio
import faulthandler
import os
import sys
from collections.abc import Sequence

from wssupervisor import __version__, logging, start_directory, stdio
from wssupervisor.command_line import corrected
from wssupervisor.config.model import Overrides, instance_name
from wssupervisor.control.paths import daemon_path
from wssupervisor.errors import Busy, ConfigInvalid, WssError
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.handover.upgrade import READY, is_resumed, left_to_us, on_trial
from wssupervisor.runtime.instance import Instance, Source
from wssupervisor.runtime.monitoring.pages import prepare
from wssupervisor.runtime.systemd import clients_wait

FLUSH_SECONDS = 1.0
"""How long the end of the program may wait until its log is written."""

EXAMPLES = """\
examples:
  wssupervisor --config /etc/wssupervisor/chat.toml
  wssupervisor --listen 127.0.0.1:8765 --workers 2 -- uvicorn chat:app --fd 3

The server gets its listening socket as descriptor 3 (LISTEN_FDS, as with systemd).
Then: wssctl status, wssctl reload, wssctl stop.

signals: SIGTERM, SIGINT, SIGQUIT stop (a second one: at once); SIGHUP reloads, unless it comes with
the loss of the terminal (serving continues) or was ignored at the start, as by nohup; SIGUSR2
re-executes the supervisor, as `wssctl upgrade` does. SIGUSR1 and SIGWINCH are passed on to the
workers that serve if [app] forward_signals names them, and ignored otherwise.
As the first process of a container it reaps what is left to it.

exit status: 0 stopped as told, 1 could not start or serve, 2 usage, 78 bad configuration (75 if
clients wait in systemd's sockets, so that it is tried again)
"""
TRIED_AGAIN = "clients wait in the sockets: systemd tries again, with growing pauses"


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
    add(
        "--pass-environment",
        metavar="NAME",
        action="append",
        default=[],
        help="give workers this variable of the daemon's environment; may be repeated",
    )
    add("--name", help="instance name (default: the file's stem, or default)")
    add("--control", metavar="PATH", help="control socket, where wssctl finds this instance")
    add("--log-format", choices=logging.FORMATS, default="auto", help="default: auto")
    add("--log-level", choices=logging.LEVELS, default="info", help="default: info")
    add("--version", action="version", version=f"wssupervisor {__version__}")
    add("command", nargs="*", metavar="COMMAND", help="after --: the server and its arguments")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in the foreground until stopped; returns the exit status."""
    stdio.ensure_open()
    try:
        return _main(arguments)
    finally:
        logging.flush(FLUSH_SECONDS)


def _main(arguments: Sequence[str] | None) -> int:
    faulthandler.enable()  # systemd's watchdog sends SIGABRT to one that hangs: say where it does
    words = sys.argv[1:] if arguments is None else arguments
    if (line := corrected(own := parser(), words)) is not None:
        own.error(f"the command has options, so it must come after --; write:\n  {line}")
    given = own.parse_args(words)
    start = start_directory.leave(resumed=is_resumed())
    overrides = Overrides(
        name=given.name,
        listen=tuple(given.listen),
        workers=given.workers,
        command=tuple(given.command),
        pass_environment=tuple(given.pass_environment),
        start=start,
    )
    if given.config is None and not given.command:
        own.error("give --config FILE, or --listen ADDRESS -- COMMAND (see --help)")
    config = None if given.config is None else start_directory.absolute(start, given.config)
    control = None if given.control is None else start_directory.absolute(start, given.control)
    source = Source(config, overrides)
    try:
        if found := on_trial():
            return _judge(found, source)
        before = left_to_us()
        name = instance_name(config, overrides)
        logging.configure(given.log_format, given.log_level, name)
        instance = Instance(name, control or daemon_path(name), source)
        ended = asyncio.run(instance.run(before))
    except WssError as error:
        again = _is_tried_again(error)
        status = Busy.exit_status if again else error.exit_status
        return _complain(status, str(error), [*error.lines, *([TRIED_AGAIN] if again else [])])
    if ended.status:
        reason = f"instance {name!r} did not start: {ended.reason}"
        return _complain(ended.status, reason, ended.lines)
    return 0


def _is_tried_again(error: WssError) -> bool:
    """A configuration that cannot be right is not, unless clients wait for it in the sockets.

    systemd would start us for them at once, and again, without any pause.
    """
    bad = error.exit_status == ConfigInvalid.exit_status
    return bad and "NOTIFY_SOCKET" in os.environ and clients_wait()


def _judge(found: HandoverDocument, source: Source) -> int:
    """Could this program take over? Raises WssError where it could not."""
    prepare(source.load(found.config_text).http)
    found.load_fleet()
    print(f"{READY}{__version__}")  # noqa: T201 - the answer
    return 0


def _complain(status: int, reason: str, lines: Sequence[str]) -> int:
    logging.flush(FLUSH_SECONDS)  # what led there is read first
    stdio.last_words([f"wssupervisor: {reason}", *(f"  | {line}" for line in lines)])
    return status
