"""The entry point of the daemon: its options, and its exit status."""

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
"""How long the program may wait at its end until its log is written."""

EXAMPLES = """\
examples:
  wssupervisor --config /etc/wssupervisor/chat.toml
  wssupervisor --listen 127.0.0.1:8765 --workers 2 -- uvicorn chat:app --fd 3

The server inherits its listening socket as descriptor 3 (LISTEN_FDS, as with systemd).
Then run: wssctl status, wssctl reload, wssctl stop.

signals:
  SIGTERM, SIGINT, SIGQUIT   stop; a second one stops at once
  SIGHUP                     reload; ignored if it comes with the loss of the terminal, or if it was
                             ignored at the start, as under nohup
  SIGUSR2                    re-execute the supervisor, like `wssctl upgrade`
  SIGUSR1, SIGWINCH          forwarded to the active workers if [app] forward_signals names them,
                             otherwise ignored

As the first process of a container, the supervisor also reaps orphaned processes.

exit status:
  0 stopped as requested     1 could not start or serve     2 usage error
  78 bad configuration (75 if clients wait in systemd's sockets, so that systemd tries again)
"""
RETRIED_BY_SYSTEMD = "clients wait in the sockets, so systemd tries again, with growing pauses"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="wssupervisor",
        description="Run a WebSocket server, and reload it without losing a connection.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--config", metavar="FILE", help="read this configuration (TOML); options override it")
    add(
        "--listen",
        metavar="[NAME=]ADDRESS",
        action="append",
        default=[],
        help="serve this address, such as 127.0.0.1:8765 or [::]:8765; may be repeated",
    )
    add("--workers", metavar="N", help='number of workers, or "auto" for one per CPU (default: 1)')
    add(
        "--pass-environment",
        metavar="NAME",
        action="append",
        default=[],
        help="pass this variable of the daemon's environment to workers; may be repeated",
    )
    add("--name", help="instance name (default: the file's stem, or default)")
    add(
        "--control",
        metavar="PATH",
        help="control socket, through which wssctl reaches this instance",
    )
    add(
        "--log-format",
        choices=logging.FORMATS,
        default="auto",
        help="format of the log (default: auto)",
    )
    add(
        "--log-level",
        choices=logging.LEVELS,
        default="info",
        help="lowest level to log (default: info)",
    )
    add(
        "--version",
        action="version",
        version=f"wssupervisor {__version__}",
        help="print the version",
    )
    add("command", nargs="*", metavar="COMMAND", help="the server and its arguments, after --")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in the foreground until stopped. Returns the exit status."""
    stdio.ensure_open()
    try:
        return _main(arguments)
    finally:
        logging.flush(FLUSH_SECONDS)


def _main(arguments: Sequence[str] | None) -> int:
    faulthandler.enable()  # systemd's watchdog sends SIGABRT to a hung daemon: log where it hangs
    words = sys.argv[1:] if arguments is None else arguments
    if (line := corrected(own := parser(), words)) is not None:
        own.error(f"the command has options, so it must come after --. Run:\n  {line}")
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
        return _complain(
            status, str(error), [*error.lines, *([RETRIED_BY_SYSTEMD] if again else [])]
        )
    if ended.status:
        reason = f"instance {name!r} did not start: {ended.reason}"
        return _complain(ended.status, reason, ended.lines)
    return 0


def _is_tried_again(error: WssError) -> bool:
    """Whether systemd is to try again: after a configuration error only if clients wait.

    For clients that wait in the sockets systemd would start us again in any case, without pauses.
    """
    bad = error.exit_status == ConfigInvalid.exit_status
    return bad and "NOTIFY_SOCKET" in os.environ and clients_wait()


def _judge(found: HandoverDocument, source: Source) -> int:
    """Print whether this program could take over. Raises WssError if it could not."""
    prepare(source.load(found.config_text).http)
    found.load_fleet()
    print(f"{READY}{__version__}")  # noqa: T201 - the answer
    return 0


def _complain(status: int, reason: str, lines: Sequence[str]) -> int:
    logging.flush(FLUSH_SECONDS)  # earlier messages come first
    stdio.last_words([f"wssupervisor: {reason}", *(f"  | {line}" for line in lines)])
    return status
