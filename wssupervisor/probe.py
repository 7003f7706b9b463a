"""A short child process that sends one request to a worker over an open connection.

It reads the question from standard input. The connection is descriptor 3.

It prints its verdict: GOOD, or WRONG and the reason. A probe that prints neither, or exits with
another status than 0, has no verdict. The daemon itself imports neither `websockets` nor
`http.client`, and does not read the answers of workers.
"""

import json
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from wssupervisor.probe_verdict import GOOD, WRONG

CONNECTION = 3
SHOWN_CHARS = 60
MESSAGES_MAX = 100
"""A server may send greetings before its answer, but not endlessly."""
USER_AGENT = "wssupervisor-probe"


@dataclass(frozen=True, slots=True)
class Question:
    """`by`: "http" or "websocket". `send`, `expect` and `subprotocol` are for "websocket".

    `host`: the Host header; None for the address. `seconds`: the limit.
    """

    by: str
    address: str
    port: int
    path: str
    seconds: float
    send: str | None = None
    expect: str | None = None
    host: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocol: str | None = None

    @property
    def authority(self) -> str:
        if self.host is not None:
            return self.host
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class Wrong(Exception):
    """The worker did not answer as required. The text completes: it ..."""


def main() -> None:
    """Send the request, and print the verdict."""
    question = Question(**json.load(sys.stdin))
    print(_verdict(question))  # noqa: T201 - the verdict


def _verdict(question: Question) -> str:
    ask = {"http": ask_http, "websocket": ask_websocket}[question.by]
    with socket.socket(fileno=CONNECTION) as connection:
        connection.settimeout(question.seconds)
        try:
            ask(connection, question)
        except Wrong as wrong:
            return f"{WRONG}{wrong}"
        except TimeoutError:
            return f"{WRONG}did not answer within {question.seconds:g}s"
        except (OSError, EOFError) as error:
            return f"{WRONG}broke the connection: {_shown(str(error))}"
        except Exception as error:  # noqa: BLE001 - every answer must give a verdict
            return f"{WRONG}gave an unintelligible answer: {_shown(repr(error))}"
    return GOOD


def ask_http(connection: socket.socket, question: Question) -> None:
    """GET the path; a status from 200 to 299 is right. Raises Wrong, OSError."""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - only if needed

    client = HTTPConnection(question.address, question.port)
    client.sock = connection
    own = {"Host": question.authority, "User-Agent": USER_AGENT}
    given = {name.lower() for name in question.headers}
    headers = {name: value for name, value in own.items() if name.lower() not in given}
    try:
        client.request("GET", question.path, headers={**headers, **question.headers})
        status = client.getresponse().status
    except HTTPException as error:
        raise Wrong(f"gave no HTTP answer: {_shown(repr(error))}") from error
    if not 200 <= status < 300:
        raise Wrong(
            f"answered {status} to GET {question.path}, not 200 to 299{_advice(status, question)}"
        )


def ask_websocket(connection: socket.socket, question: Question) -> None:
    """Complete a handshake, and check the answer to a message. Raises Wrong, OSError."""
    from websockets.exceptions import (  # noqa: PLC0415
        ConnectionClosed,
        InvalidHandshake,
        InvalidStatus,
    )
    from websockets.sync.client import connect  # noqa: PLC0415
    from websockets.typing import Subprotocol  # noqa: PLC0415

    until = time.monotonic() + question.seconds
    wanted = question.subprotocol
    agent = next((one for key, one in question.headers.items() if key.lower() == "user-agent"), "")
    others = {key: one for key, one in question.headers.items() if key.lower() != "user-agent"}
    try:
        with connect(
            f"ws://{question.authority}{question.path}",
            sock=connection,
            proxy=None,
            open_timeout=question.seconds,
            close_timeout=1,
            subprotocols=None if wanted is None else [Subprotocol(wanted)],
            additional_headers=others,
            user_agent_header=agent or USER_AGENT,
        ) as client:
            if client.subprotocol != wanted:
                raise Wrong(f"did not take the subprotocol {_shown(repr(wanted))}")
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
    except InvalidStatus as error:
        status = error.response.status_code
        raise Wrong(
            f"refused the WebSocket handshake: {_shown(str(error))}{_advice(status, question)}"
        ) from error
    except InvalidHandshake as error:
        raise Wrong(f"refused the WebSocket handshake: {_shown(str(error))}") from error
    except ConnectionClosed as error:
        raise Wrong(f"closed the WebSocket: {_shown(str(error))}") from error
    except ValueError as error:  # a redirect, which is not followed on our connection
        raise Wrong(f"refused the WebSocket handshake: {_shown(str(error))}") from error


def _advice(status: int, question: Question) -> str:
    """Return advice for statuses that servers give to an unexpected Host or Origin."""
    if status in (301, 302, 307, 308, 400, 403, 421) and not (question.host and question.headers):
        return (
            ". If it requires a certain Host, Origin or other header, set [ready] host and"
            " [ready.headers]"
        )
    return ""


def _shown(text: str) -> str:
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


if __name__ == "__main__":
    main()
