"""A few pages over HTTP for this machine only, with limits on names, sizes and time.

There is no password, so requests from web pages in a browser are refused: those with a foreign Host
(DNS rebinding), a foreign Origin, or a foreign Sec-Fetch-Site (a `no-cors` fetch or an image has no
Origin). One request per connection.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11

from wssupervisor import logging
from wssupervisor.acceptor import Acceptor
from wssupervisor.config.model import Address, Http

HEAD_BYTES = 8192
"""Limit of a request line with its headers, in bytes."""
REQUEST_SECONDS = 5.0
"""Limit from accept to close, in seconds, whatever the client does."""
PAUSE_SECONDS = 0.3
CLIENTS_MAX = 32
"""At most this many clients: another one replaces the oldest, which is slow or idle."""
READ_OFF_BYTES = 1 << 18
"""What a client may send beyond its request; one that sends more loses its response."""
RECEIVE_BYTES = 4096
METHODS = ("GET", "HEAD")
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` ends with a newline."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


Headers = list[tuple[bytes, str]]
"""Names in lower case."""

Pages = Mapping[str, Callable[[], Reply]]
"""The pages, by path."""


def accepted_hosts(http: Http) -> frozenset[str]:
    """Accepted Host headers, in lower case."""
    names = {"localhost", "127.0.0.1", "[::1]", *http.hosts}
    address = http.address
    if not isinstance(address, Address):
        return frozenset(names)
    names.add(_in_url(address.host))
    return frozenset(names | {f"{name}:{address.port}" for name in names})


def _in_url(host: str) -> str:
    return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host


FOREIGN = Reply(
    HTTPStatus.FORBIDDEN, "requests from pages of other sites are refused. See [http] hosts\n"
)
OWN_SITES = frozenset({"same-origin", "none"})
"""Accepted Sec-Fetch-Site: our own page, or an address that the user typed. "same-site" is another
port of this machine."""


def refusal(hosts: frozenset[str], host: str | None, headers: Headers) -> Reply | None:
    """Return why a request is refused, or None. `host`: None without the header (HTTP/1.0)."""
    if host is not None and host.lower() not in hosts:
        return Reply(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this host name is not accepted. Add it to [http] hosts, or use one of"
            f" {', '.join(sorted(hosts))}\n",
        )
    origins = [value.lower().partition("://")[2] for name, value in headers if name == b"origin"]
    if origins:  # one accepted name may fetch from another
        return None if hosts.issuperset(origins) else FOREIGN
    sites = [value.strip().lower() for name, value in headers if name == b"sec-fetch-site"]
    return None if OWN_SITES.issuperset(sites) or _followed(headers) else FOREIGN


def _followed(headers: Headers) -> bool:
    """Whether the user followed a link: the page with the link cannot read the response."""
    found = dict(headers)
    where = found.get(b"sec-fetch-mode"), found.get(b"sec-fetch-dest")
    return where == ("navigate", "document")


class HttpServer:
    """Answers on a listening socket that the caller owns."""

    def __init__(self, listening: socket.socket, hosts: frozenset[str], pages: Pages) -> None:
        self._hosts = hosts
        self._pages = pages
        self._clients: dict[asyncio.Task[None], socket.socket] = {}
        self._acceptor = Acceptor(listening, self._welcome)

    def accept_nothing(self) -> None:
        """Stop accepting, before the socket is closed."""
        self._acceptor.pause()

    def accept_from(self, listening: socket.socket) -> None:
        """Accept on another socket, which replaces a closed one."""
        self._acceptor = Acceptor(listening, self._welcome)

    async def pause(self) -> None:
        """Stop accepting and answer pending requests, for at most PAUSE_SECONDS."""
        self._acceptor.pause()
        if self._clients:
            await asyncio.wait(self._clients, timeout=PAUSE_SECONDS)

    def resume(self) -> None:
        self._acceptor.resume()

    async def close(self) -> None:
        """Close every client; the socket stays the caller's."""
        self._acceptor.pause()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _welcome(self, client: socket.socket) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            self._let_go(next(iter(self._clients)))
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._clients[task] = client
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        client = self._clients.pop(task, None)
        if client is not None:
            task.cancel()
            asyncio.get_running_loop().remove_reader(client)
            asyncio.get_running_loop().remove_writer(client)
            client.close()

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        exchange = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(REQUEST_SECONDS):
                asked = await _asked(exchange, client)
                if asked is None:
                    return
                reply = asked if isinstance(asked, Reply) else self._answer(asked)
                await loop.sock_sendall(client, _encoded(exchange, reply, asked))
                client.shutdown(socket.SHUT_WR)
                await _read_off(client)

    def _answer(self, request: h11.Request) -> Reply:
        headers = [(name, value.decode("latin-1")) for name, value in request.headers]
        host = next((value for name, value in headers if name == b"host"), None)
        refused = refusal(self._hosts, host, headers)
        if refused is not None:
            return refused
        path = request.target.decode("latin-1").partition("?")[0]
        page = self._pages.get(path)
        if page is None:
            there = f"no such page; the pages are {', '.join(self._pages)}\n"
            return Reply(HTTPStatus.NOT_FOUND, there)
        if request.method.decode("latin-1") not in METHODS:
            allowed = ", ".join(METHODS)
            text = f"only {allowed} are allowed here\n"
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, text, headers=(("Allow", allowed),))
        try:
            return page()
        except Exception as error:  # noqa: BLE001 - at the loop's edge: a page ends nothing
            logging.limited("error", "page failed", {"path": path}, exc_info=error)
            return Reply(
                HTTPStatus.INTERNAL_SERVER_ERROR, "internal error in the daemon (see its log)\n"
            )


async def _asked(exchange: h11.Connection, client: socket.socket) -> h11.Request | Reply | None:
    """The request, or the reply to a bad one; None if the client left before sending one."""
    loop = asyncio.get_running_loop()
    try:
        while (event := exchange.next_event()) is h11.NEED_DATA:
            exchange.receive_data(await loop.sock_recv(client, RECEIVE_BYTES))
    except h11.RemoteProtocolError as error:
        return Reply(HTTPStatus(error.error_status_hint), f"{error}\n")
    return event if isinstance(event, h11.Request) else None


def _encoded(exchange: h11.Connection, reply: Reply, asked: h11.Request | Reply) -> bytes:
    body = reply.body.encode()
    response = h11.Response(
        status_code=reply.status,
        reason=reply.status.phrase.encode(),
        headers=[
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *reply.headers,
        ],
    )
    text = exchange.send(response) or b""
    if isinstance(asked, h11.Request) and asked.method == b"HEAD":
        return text
    return text + (exchange.send(h11.Data(data=body)) or b"")


async def _read_off(client: socket.socket) -> None:
    """Read until the client closes: with unread data the kernel would reset the connection."""
    left = READ_OFF_BYTES
    while left > 0:
        data = await asyncio.get_running_loop().sock_recv(client, RECEIVE_BYTES)
        if not data:
            return
        left -= len(data)
