"""Whatever the history's file says: a line is an entry that all readers can read, or it is none."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wssupervisor import bounded_json
from wssupervisor.bounded import TEXT_CHARS
from wssupervisor.commands import history, times
from wssupervisor.commands.sentences import described, sentence, style
from wssupervisor.commands.terminal import Style
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.runtime.history.entries import COUNTS, LINE_BYTES_MAX, NEEDED, TEXTS, entry
from wssupervisor.runtime.history.history import seconds_ago
from wssupervisor.runtime.history.reloads import reloads

AT = "2026-11-25T00:00:00.000Z"
CUTOVER: dict[str, Any] = {
    "at": AT, "kind": "cutover", "reload": "r1", "attempt": "reload", "generation": 2,
    "replaced": 1, "seconds": 0.3, "release": "/srv/42",
}  # fmt: skip


def changed(**changes: object) -> dict[str, Any]:
    return CUTOVER | changes


def line(**changes: object) -> bytes:
    return json.dumps(changed(**changes)).encode()


def test_what_the_daemon_writes_is_an_entry() -> None:
    assert entry(line()) == CUTOVER
    assert entry(line(reason="ä" * TEXT_CHARS)) == changed(reason="ä" * TEXT_CHARS)
    assert entry(line(replaced=None)) == changed(replaced=None)


@pytest.mark.parametrize(
    "strange",
    [
        b"", b"7", b"[]", b"null", b"{}", b"\xff", b"[" * 200_000, b'{"a":' * 200_000,
        b'{"at": 7, "kind": "x"}', b"9" * 5000,
        line(at="yesterday"), line(at="0001-01-01T00:00:00.000Z"), line(at="2026-11-25"),
        line(at="9999-12-31T23:59:59.999Z"), line(at="2026-02-31T00:00:00.000Z"),
        line(kind=7), line(generation="two"), line(generation=True), line(generation=-1),
        line(generation=None), line(reload=None), line(reload=["r1"]), line(seconds="long"),
        line(seconds=-1), line(seconds=float("inf")), line(seconds=float("nan")),
        line(seconds=10**400), line(more={"nested": 1}), line(reason="\ud800"),
        line(reason="x" * LINE_BYTES_MAX),
        line().replace(b"0.3", b"1e999"),
        line(kind="generation-retired", connections=3),
        line(reason="").replace(b'"reason": ""', b'"reason": "' + "ä".encode() * 20_000 + b'"'),
    ],
)  # fmt: skip
def test_what_a_reader_could_stumble_over_is_none(strange: bytes) -> None:
    assert entry(strange) is None


@pytest.mark.parametrize(("kind", "needed"), NEEDED.items())
def test_each_kind_has_what_its_readers_take_for_granted(kind: str, needed: frozenset[str]) -> None:
    whole = CUTOVER | {"kind": kind}
    for name in needed:
        assert entry(json.dumps({k: v for k, v in whole.items() if k != name}).encode()) is None


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just(AT),
    st.sampled_from(["r1", "1.0.1", 1, 2]),
)  # fmt: skip
NAMES = st.sampled_from(
    sorted(TEXTS | COUNTS | {"at", "kind", "seconds", "stopped", "expected", "queued", "monotonic"})
)
ENTRIES = st.fixed_dictionaries(
    {"at": st.just(AT) | SCALARS, "kind": st.sampled_from([one.value for one in NoteKind])}
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ENTRIES, st.dictionaries(NAMES, SCALARS)), max_size=6))
def test_every_reader_reads_every_entry(drawn: list[tuple[dict[str, Any], Any]]) -> None:
    lines = [json.dumps(more | must).encode() for must, more in drawn]
    found = [one for text in lines if (one := entry(text)) is not None]

    for reload in reloads(found):
        assert list(history.render(reload))
    for one in found:
        assert sentence(one)
        assert described(one)
        assert style(one) in Style
        assert times.clock_with_offset(one["at"])
        assert seconds_ago(one) < float("inf")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_json_is_read_or_a_value_error(text: bytes | str) -> None:
    with contextlib.suppress(ValueError):
        json.dumps(bounded_json.parse(text))


@pytest.mark.parametrize("deep", ["[" * 33 + "]" * 33, "[" * 900 + "]" * 900, '{"a":' * 10**5])
def test_json_that_is_nested_too_deeply_is_a_value_error(deep: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        bounded_json.parse(deep)
