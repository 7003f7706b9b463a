"""What a connection takes along: read as it was written, or refused with what is allowed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.handoff.examples import ASGI, WEBSOCKETS
from wssupervisor.worker.handoff.deflate import BITS_MAX
from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.frames import KEEP_BYTES
from wssupervisor.worker.handoff.states import (
    CARRIED_BYTES,
    NotCarried,
    WebsocketsState,
    asgi_state,
    carried_json,
    encode_states,
    state_texts,
    websockets_state,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


def document(state: WebsocketsState = WEBSOCKETS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_states([state]))[0]
    return found


def test_the_states_of_connections_are_read_as_they_were_written() -> None:
    plain = replace(WEBSOCKETS, deflate=None, unread=b"", subprotocol=None, username="ann")
    first, second = state_texts(encode_states([WEBSOCKETS, plain]), 2)

    assert websockets_state(first, "states[0]") == WEBSOCKETS
    assert websockets_state(second, "states[1]") == plain


def test_the_states_of_an_application_are_read_as_they_were_written() -> None:
    half = replace(ASGI, unread=b"\x81", windows=())
    first, second = state_texts(encode_states([ASGI, half]), 2)

    assert asgi_state(first, "states[0]") == ASGI
    assert asgi_state(second, "states[1]") == half


def test_keys_of_a_later_version_are_ignored() -> None:
    assert websockets_state({**document(), "mood": "good"}, "states[0]") == WEBSOCKETS


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_an_application_carries_arrives_as_it_was(carried: dict[str, Any]) -> None:
    arrived = websockets_state(document(replace(WEBSOCKETS, carried=carried)), "states[0]")

    assert carried_json(carried) == carried
    assert arrived.carried == carried


def test_carried_and_windows_may_be_as_large_as_their_bounds() -> None:
    carried: dict[str, object] = {"x": "x" * (CARRIED_BYTES - len('{"x": ""}'))}
    window = bytes(1 << BITS_MAX)
    (one,) = state_texts(encode_states([replace(ASGI, windows=(window, window))]), 1)

    assert carried_json(carried) == carried
    assert asgi_state(one, "states[0]").windows == (window, window)


@pytest.mark.parametrize(
    "windows", [[b"", b"", b""], [bytes((1 << BITS_MAX) + 1)]], ids=["three", "too long"]
)
def test_more_or_longer_windows_than_a_connection_has_are_refused(windows: list[bytes]) -> None:
    (one,) = state_texts(encode_states([replace(ASGI, windows=tuple(windows))]), 1)
    with pytest.raises(Malformed, match=r"^states\[0\]: windows"):
        asgi_state(one, "states[0]")


@pytest.mark.parametrize(
    ("carried", "why"),
    [
        ({"at": object()}, "carried is not JSON: Object of type object is not JSON serializable"),
        ({"at": float("nan")}, "carried is not JSON: Out of range float values"),
        ({"at": (1, 2)}, "carried must be a dict with strings for keys, and lists for sequences"),
        ({1: "one"}, "carried must be a dict with strings for keys, and lists for sequences"),
        (["ann"], "carried must be a dict"),
        ({"x": "x" * CARRIED_BYTES}, r"carried has 65545 bytes as JSON, at most 65536 can move"),
    ],
)
def test_what_would_change_on_the_way_is_not_carried(carried: Any, why: str) -> None:
    with pytest.raises(NotCarried, match=f"^{why}"):
        carried_json(carried)


def test_what_is_nested_without_end_is_not_carried() -> None:
    carried: dict[str, Any] = {}
    carried["self"] = carried
    with pytest.raises(NotCarried, match="carried is not JSON"):
        carried_json(carried)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("id",), 7, "states[3]: id: found 7, expected a string of at most 100 characters"),
        (("request",), None, "states[3]: request: found null, expected an object"),
        (
            ("request", "headers"),
            [["a"]],
            "states[3]: request: headers: found a list of 1, expected at most 512 pairs of strings",
        ),
        (("response", "status"), 99, "states[3]: response: status: found 99, expected an integer"),
        (("subprotocol",), 1, "states[3]: subprotocol: found 1, expected a string"),
        (("latency",), -1, "states[3]: latency: found -1, expected 0 to 1e+06 seconds"),
        (("latency",), True, "states[3]: latency: found true, expected 0 to 1e+06 seconds"),
        (("latency",), 1e400, "states[3]: latency: found Infinity, expected 0 to"),
        (("carried",), [1], "states[3]: carried: found a list of 1, expected an object"),
        (("unread",), "a", "states[3]: unread: found 'a', expected base64 of at most 65536 bytes"),
        (("unread",), "ä", "states[3]: unread: found '\\xe4', expected base64"),
        (("unread",), "A" * (KEEP_BYTES * 2), "states[3]: unread: found 'AAAA"),
        (
            ("deflate", "remote_max_window_bits"),
            7,
            "states[3]: deflate: remote_max_window_bits: found 7, expected an integer from 8 to 15",
        ),
        (
            ("deflate", "window"),
            "A" * 8000,
            "states[3]: deflate: window: found 'AAAA",
        ),
        (("deflate", "local_no_context_takeover"), None, "states[3]: deflate: local_no_context"),
    ],
)
def test_a_wrong_value_is_refused_with_where_it_is_and_what_is_allowed(
    path: tuple[str, ...], value: Any, error: str
) -> None:
    found = document()
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(Malformed) as raised:
        websockets_state(found, "states[3]")

    assert str(raised.value).startswith(error)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "states: not JSON"),
        (b"{}", "states: expected a list of 2, as many as the message announced"),
        (b"[1]", "states: expected a list of 2"),
    ],
)
def test_a_file_of_states_has_one_for_each_connection(data: bytes, error: str) -> None:
    with pytest.raises(Malformed, match=f"^{error}"):
        state_texts(data, 2)
