"""wssctl: finds the verb, the instance, and turns errors into one line and an exit status."""

import argparse
import os
import sys
from collections.abc import Sequence

from wssupervisor import __version__, stdio
from wssupervisor.commands import (
    check,
    completion,
    drain,
    events,
    history,
    init,
    join,
    leave,
    metrics,
    recorded,
    reload,
    rollback,
    scale,
    status,
    stop,
    upgrade,
    why,
)
from wssupervisor.commands.streams import OutputFailed, Stream, guarded
from wssupervisor.commands.understood import understood
from wssupervisor.control.client import Client, find_control
from wssupervisor.control.paths import running
from wssupervisor.errors import NotRunning, WssError
from wssupervisor.harmless import harmless

EPILOG = """\
Which instance: -i NAME, or --control PATH, or $WSSUPERVISOR_CONTROL, or the only one that runs.

exit status:
  0 done                                 69 no such instance running
  1 tried and failed; the reason is on   75 not tried, try again (a reload or stop is
    standard error                          under way, or too many clients wait)
  2 usage                                77 not allowed
                                         78 bad configuration (check)
                                         130 interrupted (Ctrl-C)
"""

VERBS = {
    "status": status,
    "reload": reload,
    "rollback": rollback,
    "drain": drain,
    "scale": scale,
    "leave": leave,
    "join": join,
    "stop": stop,
    "upgrade": upgrade,
    "why": why,
    "events": events,
    "history": history,
    "metrics": metrics,
    "check": check,
    "init": init,
    "completion": completion,
}
READING = frozenset({None, "status", "why", "events", "history", "metrics", "completion"})
"""Verbs whose purpose is what they print. Others report by their status what they did."""
RECORDED = {"events": events.run_without_daemon, "history": history.run_without_daemon}
"""What can be read of an instance that is not running."""
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="wssctl",
        description="See and drive a running wssupervisor instance.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.color = False  # type: ignore[attr-defined]  # newer versions of argparse would
    found.add_argument("-i", "--instance", metavar="NAME", help="the instance that is meant")
    found.add_argument("--control", metavar="PATH", help="its control socket")
    found.add_argument("--version", action="version", version=f"wssctl {__version__}")
    verbs = found.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, module in VERBS.items():
        text = module.__doc__.splitlines()[0].partition(": ")[2] if module.__doc__ else ""
        own = verbs.add_parser(
            name,
            help=text,
            description=text[:1].upper() + text[1:],
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(own)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    stdio.ensure_open()
    with guarded() as out:
        out.raises = True
        try:
            try:
                return _main(arguments, out)
            finally:
                out.flush()
                if out.failure and not out.raises and not out.failure.reader_left:
                    print(f"wssctl: {out.failure}", file=sys.stderr)
        except OutputFailed as error:
            if error.reader_left:
                return 0
            print(f"wssctl: {error}", file=sys.stderr)
            return 1


def _main(arguments: Sequence[str] | None, out: Stream) -> int:
    given, unknown = (own := parser()).parse_known_args(arguments)
    if unknown:
        hint = init.unquoted(given, unknown) if given.verb == "init" else ""
        own.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    out.raises = given.verb in READING
    try:
        if given.verb == "check":
            return check.run(given)
        if given.verb == "init":
            return init.run(given)
        if given.verb == "completion":
            return completion.run(given, parser())
        return _ask(given)
    except WssError as error:
        print(f"wssctl: {error}", file=sys.stderr)
        for line in error.lines:
            print(f"  | {harmless(line, kept='')}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


def _ask(given: argparse.Namespace) -> int:
    """Run a verb that needs a daemon, or what it recorded. Raises WssError."""
    try:
        client = _client(given)
        return status.list_all() if client is None else _run(given, client)
    except NotRunning as error:
        if given.verb not in RECORDED or getattr(given, "follow", False):
            raise
        environment = os.environ.get("WSSUPERVISOR_CONTROL")
        place = recorded.find(given.instance, given.control, environment, error)
    recorded.announce(place)
    return RECORDED[given.verb](given, place)


def _client(given: argparse.Namespace) -> Client | None:
    """The instance's client; None when several run and they shall be listed."""
    environment = os.environ.get("WSSUPERVISOR_CONTROL")
    named = given.instance or given.control or environment
    lists = given.verb is None or (given.verb == "status" and not given.watch)
    if lists and not named and len(running()) > 1:
        return None
    return Client(find_control(given.instance, given.control, environment))


def _run(given: argparse.Namespace, client: Client) -> int:
    if given.verb is None:
        given.json = given.watch = False
    with understood(client.path):
        status_of_run: int = VERBS[given.verb or "status"].run(given, client)
    return status_of_run


if __name__ == "__main__":
    sys.exit(main())
