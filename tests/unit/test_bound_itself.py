"""What the last words of a server show that binds its address itself."""

import pytest

from wssupervisor.runtime.workers.bound_itself import taken_by_us

ADDRESSES = ["0.0.0.0:8765", "[::]:9000"]


@pytest.mark.parametrize(
    "line",
    [
        "[Errno 98] error while attempting to bind on address ('0.0.0.0', 8765): already in use",
        "Error: listen EADDRINUSE: address already in use 0.0.0.0:8765",
        "[ERROR] Connection in use: ('0.0.0.0', 8765): OSError: [Errno 98] Address already in use",
        "bind: Address already in use - bind(2) for 0.0.0.0 port 8765 (Errno::EADDRINUSE)",
    ],
    ids=["uvicorn", "node", "gunicorn", "puma"],
)
def test_the_listener_that_it_wanted_is_named(line: str) -> None:
    found = taken_by_us(["starting", line, "bye"], ADDRESSES)

    assert found is not None
    assert "it binds 0.0.0.0:8765 itself" in found
    assert "descriptor 3" in found


def test_of_several_listeners_it_is_told_the_right_descriptor() -> None:
    found = taken_by_us(["listen EADDRINUSE: address already in use :::9000"], ADDRESSES)

    assert found is not None
    assert "it binds [::]:9000 itself" in found
    assert "descriptor 4" in found


def test_a_port_that_is_not_told_may_be_another() -> None:
    found = taken_by_us(
        ['Error: Os { code: 98, "Address already in use (os error 98)" }'], ADDRESSES
    )

    assert found is not None
    assert "it binds an address that is in use" in found


@pytest.mark.parametrize("line", ["error 980", "address of 8765 is used", ""])
def test_other_words_tell_nothing(line: str) -> None:
    assert taken_by_us([line], ADDRESSES) is None
