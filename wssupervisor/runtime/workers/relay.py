"""Our end of the relay: the process that moves what workers write into files that we read.

One for each instance, in a session of its own. It goes on when we die, until nobody can write any
more. One that died or hangs is replaced: we hold all pipes and files, too. A supervisor that takes
over starts its own, gives it everything, and lets the one before it go.
"""

import asyncio
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress

import structlog

from wssupervisor.runtime.kernel.procfs import environment, pids
from wssupervisor.runtime.listeners.holders import supervisor_lives
from wssupervisor.runtime.workers import relay_program
from wssupervisor.runtime.workers.child import Child
from wssupervisor.runtime.workers.output import Output
from wssupervisor.runtime.workers.process import supervisor_id

log = structlog.get_logger()

INSTANCE = "WSSUPERVISOR_RELAY"
STARTER = "WSSUPERVISOR_RELAY_OF"
"""Variables of a relay. Not those of a worker: it belongs to none."""
PROGRAM = relay_program.__file__
AGAIN_SECONDS = 1.0
"""After this long the next one is started in place of one that ended."""
STUCK_SECONDS = 2.0
END_SECONDS = 1.0
MOVE, THROW_AWAY = b"move", b"throw away"


class Relay:
    """Owns its process, and the pipes that only what left its worker can write to."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._outputs: list[Output] = []
        self._left: list[int] = []
        self._untold: list[Output | int] = []
        """What it could not be told of yet: it reads slowly."""
        self._process: Child | None = None
        self._socket: socket.socket | None = None
        self._start_at = 0.0

    def move(self, output: Output) -> None:
        """From now on, what is written to its pipe goes into its file."""
        self._outputs.append(output)
        if self._socket is None:
            self._start()  # gives it all
        else:
            self._say(output)

    def forget(self, output: Output) -> None:
        """Its worker was started in vain: nothing is written there."""
        self._outputs = [one for one in self._outputs if one is not output]
        self._untold = [one for one in self._untold if one is not output]

    def release(self, output: Output) -> None:
        """Its worker has ended and all was read; what still writes there is not read."""
        if output not in self._outputs:
            return
        self._outputs.remove(output)
        if output in self._untold:
            self._untold.remove(output)
        if _has_writers(output.pipe):
            self._left.append(own := os.dup(output.pipe))
            self._say(own)

    def look(self) -> None:
        """Replace one that hangs or is gone; do its work meanwhile."""
        now = time.monotonic()
        for pipe in [pipe for pipe in self._left if not _has_writers(pipe)]:
            self._left.remove(pipe)
            self._untold = [one for one in self._untold if one != pipe]
            os.close(pipe)
        if self._socket is None:
            if (self._outputs or self._left) and now >= self._start_at:
                self._start()
            if self._socket is None:
                for output in self._outputs:
                    output.move()
            return
        untold, self._untold = self._untold, []
        for one in untold:
            self._say(one)
        if any(output.stuck_for(now) > STUCK_SECONDS for output in self._outputs):
            log.warning("the relay of worker output hangs: replacing it", pid=self.pid)
            self._drop()
            self._start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def succeed(self) -> None:
        """Let those go that dead supervisors of this instance, or we before an upgrade, started."""
        for pid in relays(self._instance):
            if pid != self.pid:
                with suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """All workers have ended: nobody writes any more that anybody would read."""
        if self._process is None:
            return
        pidfd = os.dup(self._process.fileno())
        self._drop()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(END_SECONDS * 1000)
        os.close(pidfd)

    def _start(self) -> None:
        self._start_at = time.monotonic() + AGAIN_SECONDS
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
                    {INSTANCE: self._instance, STARTER: supervisor_id()},
                    own_session=True,
                )
        except OSError as error:
            ours.close()
            log.warning("the relay of worker output could not be started", why=str(error))
            return
        ours.setblocking(False)
        self._socket = ours
        with suppress(OSError):  # its end is noticed then by what it does not move any more
            loop = asyncio.get_running_loop()
            loop.add_reader(self._process.fileno(), self._ended, self._process)
        self._untold.clear()
        for output in self._outputs:
            self._say(output)
        for pipe in self._left:
            self._say(pipe)

    def _say(self, one: Output | int) -> None:
        """Hand over a pipe with its file, or one whose bytes are thrown away."""
        if self._socket is None:
            return
        if isinstance(one, Output):
            what, descriptors = MOVE, [one.pipe, one.descriptor]
        else:
            what, descriptors = THROW_AWAY, [one]
        try:
            socket.send_fds(self._socket, [what], descriptors)
        except OSError:  # its queue is full, or it has ended, which we hear of
            self._untold.append(one)

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


def relays(instance: str) -> list[int]:
    """Pids of relays whose supervisor has died, or is the program that we were."""
    found = []
    for pid in pids():
        own = environment(pid)
        starter = own.get(STARTER, "")
        if own.get(INSTANCE) == instance and (
            starter == supervisor_id() or not supervisor_lives(starter)
        ):
            found.append(pid)
    return found


def _has_writers(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)
