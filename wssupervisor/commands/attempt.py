"""What reload and rollback share: they follow an attempt at a cutover until its verdict."""

import json as jsonlib
import signal
import sys
import time
from typing import TypeVar

from wssupervisor.commands.progress import ProgressLine
from wssupervisor.commands.sentences import sentence, style
from wssupervisor.commands.terminal import Span, Style, line, show
from wssupervisor.control.client import Client, DaemonError, Gone, Silence
from wssupervisor.control.verbs import VERDICT, Attempted, AttemptEvent, Verb, VerdictRequest
from wssupervisor.durations import format_duration

Request = TypeVar("Request")


def attempt(
    client: Client, verb: Verb[Request, Attempted, AttemptEvent], request: Request, *, json: bool
) -> int:
    """Send the request, show its progress, print its verdict; returns the exit status."""
    progress = _Progress(wanted=not json)
    verdict: Attempted | None = None
    try:
        verdict = client.ask(verb, request, progress.event)
        _ignore_interrupts()
    except (Silence, Gone):
        if progress.reload is None:
            raise
        verdict = client.ask(VERDICT, VerdictRequest(reload=progress.reload))
    except KeyboardInterrupt:
        progress.clear()
        if verdict is None:
            verdict = _after_interrupt(client, progress.reload)
        _ignore_interrupts()
    finally:
        progress.clear()
    print(jsonlib.dumps(verdict) if json else client.hint(_sentence(verdict)))
    for warning in verdict.get("warnings", ()):
        print(client.hint(f"warning: {warning}"), file=sys.stderr)
    return 0


def _ignore_interrupts() -> None:
    """The cutover is done: from now on Ctrl-C must not suppress its report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _after_interrupt(client: Client, reload: str | None) -> Attempted:
    """Our connection has ended, which cancels the reload unless it was too late: ask the daemon.

    Raises KeyboardInterrupt if no cutover will follow, and what `Client.ask` raises.
    """
    if reload is None:
        print(client.hint("wssctl: interrupted. See: wssctl status"), file=sys.stderr)
        raise KeyboardInterrupt
    try:
        return client.ask(VERDICT, VerdictRequest(reload=reload))
    except DaemonError as error:
        print(f"wssctl: {error}. The active generation has not changed", file=sys.stderr)
        raise KeyboardInterrupt from None


def _sentence(verdict: Attempted) -> str:
    if verdict.get("accepted"):
        return f"reload {verdict['reload']} has begun. See its result with: wssctl status"
    took = format_duration(verdict["seconds"]) if verdict["seconds"] else "under 1ms"
    return (
        f"generation {verdict['generation']} is active, replacing {verdict['replaced']}"
        f" ({took})\nFollow the drain with: wssctl status --watch"
    )


STEPS = {
    "reload-begun": "begin",
    "rollback-begun": "begin",
    "worker-spawned": "start",
    "worker-ready": "probe",
    "cutover": "cutover",
    "drain-begun": "drain",
}


class _Progress(ProgressLine):
    """A line for each event, and below them what the reload waits for."""

    def __init__(self, *, wanted: bool) -> None:
        super().__init__(wanted=wanted)
        self.reload: str | None = None
        self._begun = time.monotonic()

    def event(self, event: AttemptEvent) -> None:
        self.reload = event.get("reload", self.reload)
        if not self.live:
            return
        self.clear()
        note = event.get("note")
        if note and note["kind"] != "reload-failed":  # reported at the end, with its details
            step = Span(f"  {STEPS.get(note['kind'], ''):<9}", Style.FAINT)
            show([line(step, Span(sentence(note), style(note)))], sys.stderr)
        if waits := event.get("waits_for"):
            waited = format_duration(time.monotonic() - self._begun)
            self.show(line(Span(f"  {'':<9}{waited}, waiting: {waits}", Style.BUSY)))
