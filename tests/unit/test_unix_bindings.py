"""Which AF_UNIX sockets belong to a listener, by what the kernel reports of their bindings."""

import pytest

from wssupervisor.runtime.kernel.unix_diag import UNBOUND, Binding, UnixSocket, through

PATH = b"/run/chat/ws.sock\0"
ZERO = Binding(PATH, (0, 41))
"""Of the inode the kernel reports the lower 32 bits, which may all be 0."""


def test_a_file_whose_inode_is_reported_as_zero_still_has_its_connections() -> None:
    own = UnixSocket(7, Binding(PATH, (0, 41)))

    assert through(ZERO, [own]) == [own]
    assert through(Binding(b"", (0, 41)), [UnixSocket(7, Binding(b"", (0, 41)))])


@pytest.mark.parametrize(
    "other",
    [
        Binding(PATH, (0, 42)),
        Binding(PATH, (5, 41)),
        Binding(PATH, None),
        Binding(b"/run/chat/other.sock\0", (0, 41)),
        UNBOUND,
    ],
    ids=["another device", "another inode", "no file", "another name", "unbound"],
)
def test_connections_of_another_binding_are_not_the_listeners(other: Binding) -> None:
    found = [UnixSocket(7, other)]

    assert through(ZERO, found) == []
    assert through(other, [UnixSocket(8, ZERO)]) == []


def test_an_unbound_socket_has_no_connections() -> None:
    assert through(UNBOUND, [UnixSocket(7, UNBOUND), UnixSocket(8, ZERO)]) == []
