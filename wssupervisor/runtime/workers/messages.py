"""Turns workers' reports (sd_notify, the library's channel) into events; sends them messages."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import assert_never

from wssupervisor.fleet.events import (
    Event,
    LibraryConnected,
    LibraryDisconnected,
    SlotReleased,
    WorkerAlive,
    WorkerCounted,
    WorkerReady,
)
from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.workers.handle import WorkerHandle
from wssupervisor.runtime.workers.notify_socket import Malformed, printable
from wssupervisor.runtime.workers.repeated import Report
from wssupervisor.worker.protocol import (
    VERSION,
    Alive,
    Bad,
    Capability,
    Counts,
    FromSupervisor,
    FromWorker,
    Hello,
    Ready,
    Welcome,
)

SIGNS_A_WATCHDOG = 3
"""Heartbeats that a worker is asked to send per watchdog timeout."""
LIBRARY_CHARS = 100


class Messages:
    """Reads both sockets of each worker; calls `warn` for each bad message."""

    def __init__(
        self, post: Callable[[Event], None], warn: Callable[[WorkerId, str], None]
    ) -> None:
        self._post = post
        self._warn = warn

    def begin(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Read what this worker sends from now on."""
        self.begin_notify(worker, handle)
        if not handle.channel.closed:
            loop = asyncio.get_running_loop()
            loop.add_reader(handle.channel.fileno(), self._read_channel, worker, handle)

    def begin_notify(self, worker: WorkerId, handle: WorkerHandle) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(handle.notify.fileno(), self.read_notify, worker, handle)

    @staticmethod
    def end(handle: WorkerHandle) -> None:
        """Stop reading. Never raises."""
        for reader in (handle.notify.fileno(), handle.channel.fileno()):
            with suppress(OSError):
                asyncio.get_running_loop().remove_reader(reader)

    def look(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Post the reports held back, and resume reading from a worker that sent too much."""
        for event in handle.repeated.waiting():
            self._post(event)
        loop = asyncio.get_running_loop()
        if handle.unheard:
            handle.unheard = False
            self.begin_notify(worker, handle)
        handle.channel.flush()
        if handle.flooding:
            handle.flooding = False
            loop.add_reader(handle.channel.fileno(), self._read_channel, worker, handle)

    def send(self, worker: WorkerId, handle: WorkerHandle, message: FromSupervisor) -> None:
        """Send to a worker that uses the library; close the channel of one that does not read.

        Raises OSError.
        """
        if not handle.channel.closed and not handle.channel.send(message):
            self._drop_channel(worker, handle, "it does not read its messages")

    # -- sd_notify ----------------------------------------------------------------------------

    def read_notify(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Post what has arrived on the notify socket."""
        members = cache(handle.process.members)
        messages = handle.notify.receive(lambda pid: pid in members())
        if handle.notify.is_deaf and not handle.unheard:
            handle.unheard = True
            asyncio.get_running_loop().remove_reader(handle.notify.fileno())
        for message in messages:
            if isinstance(message, Malformed):
                self._warn(worker, message.reason)
                continue
            if message.status is not None:
                handle.status = message.status
            if message.ready:
                self._report(handle, WorkerReady(worker))
            if message.watchdog:
                self._post(WorkerAlive(worker))
            if message.stopping:
                self._report(handle, SlotReleased(worker))

    def _report(self, handle: WorkerHandle, report: Report) -> None:
        if (now := handle.repeated.now(report)) is not None:
            self._post(now)

    # -- the channel --------------------------------------------------------------------------

    def _read_channel(self, worker: WorkerId, handle: WorkerHandle) -> None:
        messages = handle.channel.receive()
        bad = None
        for message in messages:
            if isinstance(message, Bad):
                bad = str(message)
            else:
                self._take_in(worker, handle, message)
        if handle.channel.closed:
            self._drop_channel(worker, handle, bad)
        elif handle.channel.is_behind:
            handle.flooding = True
            asyncio.get_running_loop().remove_reader(handle.channel.fileno())

    def _take_in(self, worker: WorkerId, handle: WorkerHandle, message: FromWorker) -> None:
        match message:
            case Hello(capabilities=capabilities, library=library):
                handle.library = printable(library[:LIBRARY_CHARS])
                with suppress(OSError):
                    handle.channel.send(Welcome(VERSION, handle.watchdog / SIGNS_A_WATCHDOG))
                joined = LibraryConnected(
                    worker,
                    closes=Capability.CLOSE.value in capabilities,
                    releases_sockets=Capability.STOP_ACCEPTING.value in capabilities,
                )
                self._report(handle, joined)
            case Ready():
                self._report(handle, WorkerReady(worker))
            case Alive():
                self._post(WorkerAlive(worker))
            case Counts(open=count):
                self._post(WorkerCounted(worker, count))
            case _:
                assert_never(message)

    def _drop_channel(self, worker: WorkerId, handle: WorkerHandle, reason: str | None) -> None:
        """Stop reading: the worker closed its end, or broke the protocol."""
        asyncio.get_running_loop().remove_reader(handle.channel.fileno())
        handle.channel.refuse(reason or "")
        handle.flooding = False
        handle.repeated.forget()
        if reason is not None:
            self._warn(worker, reason)
        self._post(LibraryDisconnected(worker))
