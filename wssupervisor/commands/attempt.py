"""What reload and rollback have in common: they follow an attempt at a cutover to its verdict."""

import json as jsonlib
import signal
import sys
import time
from typing import Any

from wssupervisor.commands.sentences import sentence, style
from wssupervisor.commands.terminal import (
    LiveLine,
    Span,
    Style,
    line,
    show,
)
from wssupervisor.control.client import Client, DaemonError, Gone, Silence
from wssupervisor.durations import format_duration


def attempt(client: Client, method: str, params: dict[str, Any], *, json: bool) -> int:
    """Ask for it, show how it goes, print how it went; returns the exit status."""
    progress = _Progress(live=sys.stderr.isatty() and not json)
    verdict: dict[str, Any] | None = None
    try:
        verdict = client.call(method, params, progress.event)
        _take_no_interrupt()
    except (Silence, Gone):
        if progress.reload is None:
            raise
        verdict = client.call("verdict", {"reload": progress.reload})
    except KeyboardInterrupt:
        progress.end()
        if verdict is None:
            verdict = _after_interrupt(client, progress.reload)
        _take_no_interrupt()
    finally:
        progress.end()
    print(jsonlib.dumps(verdict) if json else _sentence(verdict))
    for warning in verdict.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _take_no_interrupt() -> None:
    """It is done: whoever interrupts us now must still be told so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    took = format_duration(verdict["seconds"]) if verdict["seconds"] else "under 1ms"
    return (
        f"generation {verdict['generation']} serves, in place of {verdict['replaced']}"
        f" ({took}); the drain: wssctl status --watch"
    )


STEPS = {
    "reload-begun": "begin",
    "rollback-begun": "begin",
    "worker-spawned": "start",
    "worker-ready": "probe",
    "cutover": "cutover",
    "drain-begun": "drain",
}


class _Progress:
    """On a terminal: a line for each thing that happens, and below it what is waited for."""

    def __init__(self, *, live: bool) -> None:
        self.reload: str | None = None
        self._line = LiveLine(live=live)
        self._begun = time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        self.reload = event.get("reload", self.reload)
        if not self._line.live:
            return
        self.end()
        note = event.get("note")
        if note and note["kind"] != "reload-failed":  # that is told at the end, with all the rest
            step = Span(f"  {STEPS.get(note['kind'], ''):<9}", Style.FAINT)
            show([line(step, Span(sentence(note), style(note)))], sys.stderr)
        if waits := event.get("waits_for"):
            waited = format_duration(time.monotonic() - self._begun)
            self._line.draw(line(Span(f"  {'':<9}{waited}, waiting: {waits}", Style.BUSY)))

    def end(self) -> None:
        self._line.erase()
