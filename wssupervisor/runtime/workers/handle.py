"""One worker as the crew holds it: its process, sockets and output."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.workers.channel import Channel, ChannelState
from wssupervisor.runtime.workers.kin import Marks
from wssupervisor.runtime.workers.notify_socket import NotifySocket, NotifySocketState
from wssupervisor.runtime.workers.output import Output, OutputState
from wssupervisor.runtime.workers.process import Process, ProcessState
from wssupervisor.runtime.workers.repeated import Repeated


@dataclass(frozen=True, slots=True)
class WorkerHandleState:
    id: WorkerId
    process: ProcessState
    output: OutputState
    notify: NotifySocketState
    channel: ChannelState
    watchdog: float
    slots: dict[str, int]
    status: str | None
    library: str | None

    def descriptors(self) -> tuple[int, ...]:
        own = self.process.pidfd, self.notify.descriptor, self.channel.descriptor
        return (*own, *self.output.descriptors())


@dataclass(slots=True)
class WorkerHandle:
    """A worker's process, output, notify socket and channel; owns them all."""

    process: Process
    output: Output
    notify: NotifySocket
    channel: Channel
    watchdog: float
    slots: Mapping[str, SlotId]
    marks: Marks
    status: str | None = None
    library: str | None = None
    """The library's name, sent when the worker joined; None for a worker without the library."""
    killed: bool = False
    leftover: bool = False
    """The end of its main process was posted."""
    flooding: bool = False
    """Sent too much on the channel: the rest is read at the next look."""
    unheard: bool = False
    """Sent too much on the notify socket: the rest is read at the next look."""

    repeated: Repeated = field(default_factory=Repeated)

    def save(self, worker: WorkerId) -> WorkerHandleState:
        return WorkerHandleState(
            worker,
            self.process.save(),
            self.output.save(),
            self.notify.save(),
            self.channel.save(),
            self.watchdog,
            dict(self.slots),
            self.status,
            self.library,
        )

    @classmethod
    def restore(cls, state: WorkerHandleState) -> "WorkerHandle":
        process, output = Process.restore(state.process), Output.restore(state.output)
        return cls(
            process,
            output,
            NotifySocket.restore(state.notify),
            Channel.restore(state.channel),
            state.watchdog,
            state.slots,
            marks_of(process, output, state.slots),
            state.status,
            state.library,
        )

    def close(self) -> None:
        """Close all but the output, which is read to its end. Never raises."""
        for close in (self.channel.close, self.process.close, self.notify.close):
            with suppress(OSError):
                close()


def marks_of(process: Process, output: Output, slots: Mapping[str, SlotId]) -> Marks:
    return process.marks(output.inode, frozenset(slots.values()))
