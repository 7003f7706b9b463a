"""Clients of one server: many that send an incomplete request byte by byte, and ordinary ones.

All clients of one side run in one thread, on non-blocking sockets. Their number is limited.
"""

import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from tests.harness.settings import HOST

HALF = b"GET / HTTP/1.1\r\nHost: chat\r\nX-Slow: "
WHOLE = b"GET / HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n\r\n"
ASKS_WITHIN = 5.0
"""An ordinary client gives up after this many seconds."""
ASKS_EVERY = 1.0
TURN = 0.05


@dataclass(slots=True, eq=False)
class Slow:
    """`next_at`: the time of its next byte."""

    sock: socket.socket
    next_at: float
    begun: bool = False


@dataclass(slots=True, eq=False)
class Ordinary:
    sock: socket.socket
    begun_at: float
    sent: bool = False


@dataclass(slots=True)
class Crowd:
    """`most`: the number of slow clients at the same time. `every`: seconds between two."""

    port: int
    most: int
    every: float
    trickle: float
    waited: list[float] = field(default_factory=list)
    asked: int = 0
    opened: int = 0
    closed: int = 0
    """Slow clients that the server has closed. Each is replaced by a new one."""
    most_held: int = 0
    _slow: set[Slow] = field(default_factory=set)
    _ordinary: set[Ordinary] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float) -> None:
        """Run until the end. Slow clients stay until then, or until the server closes them."""
        begun = time.monotonic()
        slow_at = ask_at = begun
        with selectors.DefaultSelector() as selector:
            while (now := time.monotonic()) < begun + seconds and not self._over.is_set():
                if now >= slow_at and len(self._slow) < self.most:
                    slow_at = now + self.every
                    self._slow.add(slow := Slow(_connecting(self.port), now))
                    self.opened += 1
                    self.most_held = max(self.most_held, len(self._slow))
                    selector.register(slow.sock, selectors.EVENT_READ, slow)
                if now >= ask_at:
                    ask_at = now + ASKS_EVERY
                    self._ordinary.add(ask := Ordinary(_connecting(self.port), now))
                    self.asked += 1
                    selector.register(ask.sock, selectors.EVENT_READ, ask)
                for key, _ in selector.select(TURN):
                    self._heard(selector, key.data)
                self._speak(selector, time.monotonic())
            socks = [*(one.sock for one in self._slow), *(one.sock for one in self._ordinary)]
            for sock in socks:
                sock.close()

    def stop(self) -> None:
        self._over.set()

    def _speak(self, selector: selectors.BaseSelector, now: float) -> None:
        for one in list(self._slow):
            if now < one.next_at:
                continue
            one.next_at = now + self.trickle
            try:
                one.sock.send(b"x" if one.begun else HALF)
                one.begun = True
            except BlockingIOError:
                continue
            except OSError:
                self._end_slow(selector, one)
        for ask in list(self._ordinary):
            if not ask.sent:
                with suppress(OSError):
                    ask.sent = ask.sock.send(WHOLE) > 0
            if now >= ask.begun_at + ASKS_WITHIN:
                self._end_ordinary(selector, ask)

    def _heard(self, selector: selectors.BaseSelector, one: Slow | Ordinary) -> None:
        try:
            said = one.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if isinstance(one, Slow):
            if not said:
                self._end_slow(selector, one)
            return
        if said:
            self.waited.append(time.monotonic() - one.begun_at)
        self._end_ordinary(selector, one)

    def _end_slow(self, selector: selectors.BaseSelector, one: Slow) -> None:
        self.closed += 1
        self._slow.discard(one)
        selector.unregister(one.sock)
        one.sock.close()

    def _end_ordinary(self, selector: selectors.BaseSelector, one: Ordinary) -> None:
        self._ordinary.discard(one)
        selector.unregister(one.sock)
        one.sock.close()


def _connecting(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    with suppress(BlockingIOError):
        sock.connect((HOST, port))
    return sock


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), ASKS_WITHIN) as client:
            client.sendall(WHOLE)
            return bool(client.recv(1000))
    except OSError:
        return False
