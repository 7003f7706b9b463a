"""wssctl: finds the verb and the instance, and turns errors into a line and an exit status."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from wssupervisor import __version__, stdio
from wssupervisor.commands.streams import OutputFailed, Stream, guarded
from wssupervisor.commands.understood import understood
from wssupervisor.commands.verb_parser import OWN_VERBS, VerbParser, module
from wssupervisor.control import hints
from wssupervisor.control.client import Client, find_control
from wssupervisor.control.paths import running
from wssupervisor.control.verbs import STATUS, Verb
from wssupervisor.errors import NotRunning, WssError
from wssupervisor.harmless import harmless

EPILOG = """\
Without a verb, wssctl shows the status. Without -i and --control, the instance is that of
$WSSUPERVISOR_CONTROL, or the only one that is running.

exit status:
  0 done                                 69 no such instance is running
  1 failed, with the reason on           75 busy, try again later (another reload or a
    standard error                          stop is running, or too many clients wait)
  2 usage error                          77 not allowed
                                         78 bad configuration (check)
                                         130 interrupted (Ctrl-C)
"""

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="wssctl",
        description="Show and operate a running wssupervisor instance.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.color = False  # type: ignore[attr-defined]  # newer versions of argparse would
    found.add_argument(
        "-i",
        "--instance",
        metavar="NAME",
        help=("name of the instance (default: the only one that is running)"),
    )
    found.add_argument(
        "--control", metavar="PATH", help=("path of its control socket, instead of -i")
    )
    found.add_argument(
        "--version", action="version", version=f"wssctl {__version__}", help="print the version"
    )
    verbs = found.add_subparsers(
        dest="verb", metavar="VERB", title="verbs", parser_class=VerbParser
    )
    for name, row in OWN_VERBS.items():
        verbs.add_parser(
            name,
            prog=f"wssctl {name}",
            help=row.help,
            description=row.help[:1].upper() + row.help[1:],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
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
        hint = module("init").unquoted(given, unknown) if given.verb == "init" else ""
        own.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    given.parser = own
    row = OWN_VERBS[given.verb or STATUS.name]
    out.raises = row.prints
    try:
        if row.right is None:
            return _status_of(module(row.name).run(given))
        return _ask(given, row)
    except WssError as error:
        print(f"wssctl: {error}", file=sys.stderr)
        for line in error.lines:
            print(f"  | {harmless(line, kept='')}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


def _ask(given: argparse.Namespace, row: Verb[Any, Any, Any]) -> int:
    """Run a verb that needs a daemon, or the record of one. Raises WssError."""
    verb = module(row.name)
    try:
        client = _client(given)
        if client is None:
            return _status_of(verb.list_all())
        if given.verb is None:
            given.json = given.watch = False
        with understood(client):
            return _status_of(verb.run(given, client))
    except NotRunning as error:
        if not row.recorded or getattr(given, "follow", False):
            raise
        from wssupervisor.commands import recorded  # noqa: PLC0415 - rarely needed

        environment = os.environ.get("WSSUPERVISOR_CONTROL")
        place = recorded.find(given.instance, given.control, environment, error)
    recorded.announce(place)
    return _status_of(verb.run_without_daemon(given, place))


def _client(given: argparse.Namespace) -> Client | None:
    """The client of the instance; None to list the status of all that run."""
    environment = os.environ.get("WSSUPERVISOR_CONTROL")
    named = given.instance or given.control or environment
    lists = given.verb is None or (given.verb == "status" and not given.watch)
    if lists and not named and len(running()) > 1:
        return None
    path = find_control(given.instance, given.control, environment)
    if given.instance and not given.control:
        return Client(path, hints.named(given.instance))
    return Client(path, hints.options(path) if named else "")


def _status_of(status: int) -> int:
    """What a module that was loaded by name returns."""
    return status


if __name__ == "__main__":
    sys.exit(main())
