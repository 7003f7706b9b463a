"""reload: start a new generation and cut over to it, or say why not"""

import argparse
import json
import sys
from typing import Any

from wssupervisor.commands.events import describe
from wssupervisor.control.client import Client, DaemonError, Silence
from wssupervisor.durations import format_duration

EXAMPLES = """\
Reads the configuration again, resolves the release, starts a whole new generation and waits until
all its workers are ready and stay so. From then on new connections go to it alone; the old
generation lives until its connections have gone (reload does not wait for that).
When anything is wrong the old generation serves on, untouched, and this fails with the reason.

Ctrl-C before cutover cancels the reload: it will not happen later.

examples:
  wssctl reload
  wssctl -i chat reload --timeout 2min && echo deployed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", default="60s", help="give up after this (default 60s)")
    parser.add_argument("--no-wait", action="store_true", help="return at once, without verdict")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")


def run(given: argparse.Namespace, client: Client) -> int:
    progress = _Progress(live=sys.stderr.isatty() and not given.json)
    params = {"timeout": given.timeout, "wait": not given.no_wait}
    try:
        verdict = client.call("reload", params, progress.event)
    except Silence:
        if progress.reload is None:
            raise
        verdict = client.call("verdict", {"reload": progress.reload})
    except KeyboardInterrupt:
        progress.end()
        verdict = _after_interrupt(client, progress.reload)
    finally:
        progress.end()
    print(json.dumps(verdict) if given.json else _sentence(verdict))
    return 0


def _after_interrupt(client: Client, reload: str | None) -> dict[str, Any]:
    """We have hung up, which cancels it, unless it was too late: let the daemon say which.

    Raises KeyboardInterrupt, with nothing left to happen, and what `Client.call` raises.
    """
    if reload is None:
        print("wssctl: interrupted; see `wssctl status`", file=sys.stderr)
        raise KeyboardInterrupt
    try:
        return client.call("verdict", {"reload": reload})
    except DaemonError as error:
        print(f"wssctl: {error}; it does not take effect", file=sys.stderr)
        raise KeyboardInterrupt from None


def _sentence(verdict: dict[str, Any]) -> str:
    if verdict.get("accepted"):
        return f"reload {verdict['reload']} begun; `wssctl status` will show how it ended"
    return (
        f"generation {verdict['generation']} serves, in place of {verdict['replaced']}"
        f" ({format_duration(verdict['seconds'])}); watch the drain with `wssctl status`"
    )


class _Progress:
    """On a terminal: a line for each thing that happens, and below it what is waited for."""

    def __init__(self, *, live: bool) -> None:
        self.reload: str | None = None
        self._live = live

    def event(self, event: dict[str, Any]) -> None:
        self.reload = event.get("reload", self.reload)
        note = event.get("note")
        if not self._live or note is None:
            return
        waits = event.get("waits_for")
        rest = f"  ... waiting: {waits}" if waits else ""
        print(f"\r\x1b[K  {describe(note)}\n\x1b[K{rest}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
