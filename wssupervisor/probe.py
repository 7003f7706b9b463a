"""A short child process that asks one question of a worker over a connection that is open already.

    python -m wssupervisor.probe '{"by": "http", ...}'      the connection is descriptor 3

It says on standard output what is wrong, or nothing. The daemon itself imports neither `websockets`
nor `http.client`; and whatever a worker answers, it is not the daemon that reads it.
"""

import json
import socket
import sys
import time
from dataclasses import dataclass

CONNECTION = 3
SHOWN_CHARS = 60
MESSAGES_MAX = 100
"""A server may greet before it answers; one that talks without end is not waited for."""


@dataclass(frozen=True, slots=True)
class Question:
    """`by`: "http", or "websocket", for which `send` and `expect` are. `seconds`: the limit."""

    by: str
    host: str
    port: int
    path: str
    seconds: float
    send: str | None = None
    expect: str | None = None


class Wrong(Exception):
    """What the worker did is no answer; the text completes: it ..."""


def main() -> None:
    """Ask, and print what is wrong, if anything is."""
    question = Question(**json.loads(sys.argv[1]))
    ask = {"http": ask_http, "websocket": ask_websocket}[question.by]
    with socket.socket(fileno=CONNECTION) as connection:
        connection.settimeout(question.seconds)
        try:
            ask(connection, question)
        except Wrong as wrong:
            print(wrong)  # noqa: T201 - that is its answer
        except TimeoutError:
            print(f"did not answer within {question.seconds:g}s")  # noqa: T201
        except (OSError, EOFError) as error:
            print(f"broke the connection off: {error}")  # noqa: T201


def ask_http(connection: socket.socket, question: Question) -> None:
    """GET the path: a status from 200 to 299 will do. Raises Wrong, OSError."""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - only what is asked for

    client = HTTPConnection(question.host, question.port)
    client.sock = connection
    try:
        client.request("GET", question.path, headers={"User-Agent": "wssupervisor-probe"})
        status = client.getresponse().status
    except HTTPException as error:
        raise Wrong(f"gave no HTTP answer: {_shown(repr(error))}") from error
    if not 200 <= status < 300:
        raise Wrong(f"answered {status} to GET {question.path}, not 200 to 299")


def ask_websocket(connection: socket.socket, question: Question) -> None:
    """Shake hands, and have a message answered. Raises Wrong, OSError."""
    from websockets.exceptions import ConnectionClosed, InvalidHandshake  # noqa: PLC0415
    from websockets.sync.client import connect  # noqa: PLC0415

    until = time.monotonic() + question.seconds
    host = f"[{question.host}]" if ":" in question.host else question.host
    uri = f"ws://{host}:{question.port}{question.path}"
    try:
        with connect(
            uri, sock=connection, proxy=None, open_timeout=question.seconds, close_timeout=1
        ) as client:
            if question.send is not None:
                client.send(question.send)
            if question.expect is None:
                return
            said: str | bytes = ""
            for _ in range(MESSAGES_MAX):
                try:
                    said = client.recv(timeout=max(0.0, until - time.monotonic()))
                except TimeoutError:
                    break
                if said == question.expect:
                    return
            last = f", the last message was {_shown(repr(said))}" if said else ""
            raise Wrong(f"did not answer {_shown(repr(question.expect))}{last}")
    except InvalidHandshake as error:
        raise Wrong(f"refused the WebSocket handshake: {_shown(str(error))}") from error
    except ConnectionClosed as error:
        raise Wrong(f"closed the WebSocket: {_shown(str(error))}") from error


def _shown(text: str) -> str:
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


if __name__ == "__main__":
    main()
