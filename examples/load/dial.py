"""Open one WebSocket and read its greeting, blocking."""

import socket

from examples.load.wire import Greeting, Receiver, WireError, greeting, upgrade_request

READ_BYTES = 4096


def dial(
    host: str, port: int, *, source: str, timeout: float, path: str = "/"
) -> tuple[socket.socket, Greeting]:
    """Raises OSError (TimeoutError included) and WireError. The caller closes the socket."""
    sock = socket.create_connection((host, port), timeout=timeout, source_address=(source, 0))
    try:
        sock.sendall(upgrade_request(host, port, path))
        return sock, _first_words(sock)
    except BaseException:
        sock.close()
        raise


def _first_words(sock: socket.socket) -> Greeting:
    receiver = Receiver()
    while data := sock.recv(READ_BYTES):
        frames = receiver.feed(data)
        if frames:
            return greeting(frames[0].payload)
    raise WireError("EOF before the greeting")
