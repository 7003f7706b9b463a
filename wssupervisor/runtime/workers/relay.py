"""Our end of the relay: the process that moves workers' output into files that we read.

Each instance has one relay, in a session of its own. It outlives the supervisor and runs until its
pipes have no writers left. The supervisor replaces a relay that died or hangs, because it holds all
pipes and files, too. A supervisor that takes over starts its own relay, gives it all pipes and
files, and ends the previous relay.

A relay is known by its pid and start time alone: any process can set a variable or an argument. So
it gets its first pipe after its identity has been saved, and a relay that no successor knows has no
pipe, and ends with its supervisor.
"""

import asyncio
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from wssupervisor.runtime.kernel import pidfd
from wssupervisor.runtime.kernel.procfs import is_alive, start_time
from wssupervisor.runtime.workers import relay_program
from wssupervisor.runtime.workers.child import Child
from wssupervisor.runtime.workers.output import Output

log = structlog.get_logger()

INSTANCE = "WSSUPERVISOR_RELAY"
"""Variable of a relay, for display. It has none of a worker's variables: it is of no worker."""
PROGRAM = relay_program.__file__
RETRY_SECONDS = 1.0
"""Shortest time between two starts of a relay, and between two requests to end one."""
STUCK_SECONDS = 2.0
END_SECONDS = 1.0
MOVE, THROW_AWAY = b"move", b"throw away"


@dataclass(frozen=True, slots=True)
class RelayState:
    """Living relays of this instance, earlier ones included: pid and start time of each."""

    relays: tuple[tuple[int, int], ...] = ()


class Relay:
    """Owns the relay's process, and the pipes whose last writers have left their worker."""

    def __init__(
        self, instance: str, started: Callable[[], None], saved: RelayState | None = None
    ) -> None:
        """`started` is called after each start of a relay, and must save its identity.

        With `saved`, the relays in it keep moving what they move until `take_over`.
        """
        self._instance = instance
        self._started = started
        self._known = {} if saved is None else living(saved)
        """Relays that this supervisor or an earlier one started: pid to start time."""
        self._outputs: list[Output] = []
        self._left: list[int] = []
        self._unsent: list[Output | int] = []
        """Pipes not handed over yet, because the relay reads slowly."""
        self._process: Child | None = None
        self._socket: socket.socket | None = None
        self._start_at = 0.0
        self._end_at = 0.0
        self._may_start = saved is None

    def save(self) -> RelayState:
        self._known = {pid: at for pid, at in self._known.items() if is_alive(pid, at)}
        return RelayState(tuple(self._known.items()))

    def is_relay(self, pid: int, started: int) -> bool:
        """Whether this process is a relay; by its identity: any process can set a variable."""
        return self._known.get(pid) == started

    def move(self, output: Output) -> None:
        """Have the relay move the bytes of this output's pipe into its file from now on."""
        self._outputs.append(output)
        if not self._may_start:
            return
        if self._socket is None:
            self._start()  # hands all outputs over
        else:
            self._send(output)

    def forget(self, output: Output) -> None:
        """Drop the output of a worker whose start failed: nothing is written to it."""
        self._outputs = [one for one in self._outputs if one is not output]
        self._unsent = [one for one in self._unsent if one is not output]

    def release(self, output: Output) -> None:
        """Stop reading: the worker has ended. The relay discards what remaining writers write."""
        if output not in self._outputs:
            return
        self._outputs.remove(output)
        if output in self._unsent:
            self._unsent.remove(output)
        if _has_writers(output.pipe):
            self._left.append(own := os.dup(output.pipe))
            self._send(own)

    def look(self) -> None:
        """Replace a relay that hangs or has ended; move the bytes here meanwhile."""
        now = time.monotonic()
        for pipe in [pipe for pipe in self._left if not _has_writers(pipe)]:
            self._left.remove(pipe)
            self._unsent = [one for one in self._unsent if one != pipe]
            os.close(pipe)
        if not self._may_start:
            return
        if self._socket is None:
            if (self._outputs or self._left) and now >= self._start_at:
                self._start()
            if self._socket is None:
                for output in self._outputs:
                    output.move()
            return
        unsent, self._unsent = self._unsent, []
        for waiting in unsent:
            self._send(waiting)
        if now >= self._end_at:
            self._end_earlier(now)
        if any(output.stuck_for(now) > STUCK_SECONDS for output in self._outputs):
            log.warning("the relay of worker output hangs: replacing it", pid=self.pid)
            self._drop()
            self._start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def take_over(self) -> None:
        """Start a relay in place of those that were saved, after a first save of our own state."""
        self._may_start = True
        if self._outputs and self._socket is None:
            self._start()
        self._end_earlier(time.monotonic())

    def _end_earlier(self, now: float) -> None:
        """End relays started by dead supervisors of this instance, or by us before an upgrade.

        Repeated until they have ended: a relay that has not noticed its supervisor's end stays.
        """
        self._end_at = now + RETRY_SECONDS
        for pid, started in list(self._known.items()):
            if pid == self.pid:
                continue
            if is_alive(pid, started):
                pidfd.send(pid, started, signal.SIGTERM)
                pidfd.send(pid, started, signal.SIGCONT)
            else:
                del self._known[pid]

    def end(self) -> None:
        """End the relay after all workers have ended, when there is no output left to read."""
        if self._process is None:
            return
        ended = os.dup(self._process.fileno())
        self._drop()
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(END_SECONDS * 1000)
        os.close(ended)

    def _start(self) -> None:
        self._start_at = time.monotonic() + RETRY_SECONDS
        command = [sys.executable, "-I", "-S", PROGRAM, self._instance]
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            log.warning("the relay of worker output could not be started", why=str(error))
            return
        try:
            with theirs, open(os.devnull, "rb") as null:  # noqa: PTH123
                self._process = Child.spawn(
                    command,
                    null.fileno(),
                    null.fileno(),
                    theirs.fileno(),
                    {INSTANCE: self._instance},
                    own_session=True,
                )
        except OSError as error:
            ours.close()
            log.warning("the relay of worker output could not be started", why=str(error))
            return
        ours.setblocking(False)
        self._socket = ours
        if (started := start_time(self._process.pid)) is not None:
            self._known[self._process.pid] = started
        self._started()
        with suppress(OSError):  # without a reader, its end shows in bytes that are not moved
            loop = asyncio.get_running_loop()
            loop.add_reader(self._process.fileno(), self._ended, self._process)
        self._unsent.clear()
        for output in self._outputs:
            self._send(output)
        for pipe in self._left:
            self._send(pipe)

    def _send(self, pipe: Output | int) -> None:
        """Hand over a pipe with its file, or a pipe whose bytes are discarded."""
        if self._socket is None:
            return
        if isinstance(pipe, Output):
            what, descriptors = MOVE, [pipe.pipe, pipe.descriptor]
        else:
            what, descriptors = THROW_AWAY, [pipe]
        try:
            socket.send_fds(self._socket, [what], descriptors)
        except OSError:  # its queue is full, or it has ended (see _ended)
            self._unsent.append(pipe)

    def _ended(self, process: Child) -> None:
        if process is not self._process:
            return
        log.warning("the relay of worker output ended: starting another", pid=process.pid)
        self._drop()
        if time.monotonic() >= self._start_at:
            self._start()

    def _drop(self) -> None:
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            self._process.end()
            self._process = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def living(saved: RelayState) -> dict[int, int]:
    """The saved relays that live, with their start times."""
    return {pid: started for pid, started in saved.relays if is_alive(pid, started)}


def _has_writers(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)
