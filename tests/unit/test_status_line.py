"""The line of `systemctl status`: the state comes first, and what is cut off ends with a word."""

from dataclasses import replace

import pytest

from wssupervisor.fleet.model import GenerationState, InstanceState
from wssupervisor.fleet.state import ReloadKind, State, Verdict
from wssupervisor.fleet.view import DrainView, GenerationView, view
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.observe.status_document import headline
from wssupervisor.runtime.systemd import STATUS_CHARS, shortened

ADVICE = (
    "worker 0 of generation 9 exited with status 1 after 312ms, before it was ready; its last lines"
    " are in the journal and in wssctl reload's answer; " + "look at them " * 40
)
FAILED = Verdict(
    9, ReloadKind.RELOAD, ok=False, generation=9, replaced=None, reason=ADVICE, of=None,
    began_at=0.0, seconds=1.0,
)  # fmt: skip
SERVING = replace(view(State({}), 0.0), state=InstanceState.SERVING)


def generation(number: int, state: GenerationState) -> GenerationView:
    drain = None
    if state is GenerationState.DRAINING:
        drain = DrainView(0.0, 118, None, paused=False, keep_until=None)
    return GenerationView(
        number, state, "/srv/42", 0.0, 0.0, 33, shares_slots=False, drain=drain, workers=()
    )


def told(draining: int) -> str:
    generations = [generation(8, GenerationState.ACTIVE)]
    generations += [generation(7 - one, GenerationState.DRAINING) for one in range(draining)]
    view = replace(SERVING, generations=tuple(generations), verdict=FAILED)
    return shortened(headline(view, ListenerSet([], {})), STATUS_CHARS)


@pytest.mark.parametrize("draining", [0, 1, 2, 3, 8, 100])
def test_advice_does_not_push_the_state_out(draining: int) -> None:
    line = told(draining)

    assert line.startswith("serving; generation 8 active, 0 workers, 33 connections; ")
    assert "last reload FAILED: worker 0 of generation 9" in line
    assert len(line) <= STATUS_CHARS
    assert line.endswith("…")
    assert ADVICE.startswith(line.partition("FAILED: ")[2].removesuffix("…"))
    assert ADVICE[len(line.partition("FAILED: ")[2]) - 1] in " ;,"


def test_many_drains_are_counted() -> None:
    assert "; 8 generations draining, 264 connections; last reload" in told(8)
    assert "; generation 7 draining, 0 workers, 118 -> 33 connections; last reload" in told(1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("short enough", "short enough"),
        ("a line\nand another", "a line and…"),
        ("0123456789", "0123456789"),
        ("0123456789abcdef", "0123456789a…"),
        ("one; two; three", "one; two…"),
    ],
)
def test_a_line_is_cut_between_words(text: str, line: str) -> None:
    assert shortened(text, 12) == line
    assert len(line) <= 12


def test_a_name_in_the_line_does_nothing_to_a_terminal() -> None:
    assert shortened("release \x1b[2J\n\u202e", 80) == r"release \x1b[2J \u202e"


def test_a_view_without_a_failure_ends_with_what_drains() -> None:
    view = replace(SERVING, generations=(generation(8, GenerationState.ACTIVE),))

    assert headline(view, ListenerSet([], {})) == (
        "serving; generation 8 active, 0 workers, 33 connections"
    )
