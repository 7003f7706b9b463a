"""Orders to a worker. No event answers one: nothing shows whether the worker did it.

A new order is a class here and a member of `Order`; runtime/workers/carry_out.py carries it out.
"""

from dataclasses import dataclass

from wssupervisor.fleet.model import WorkerId


@dataclass(frozen=True, slots=True)
class Signal:
    """Signal the worker's main process, or what is left of its tree; `name` such as SIGTERM.

    `rest`: signal every process of its tree except the main process.
    """

    worker: WorkerId
    name: str
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL every process of the worker's tree."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class FreeClients:
    """End the connections that what is left of the worker holds: no process serves them."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class SendDrain:
    """The worker, which uses the library, gets no new connections.

    `stop_accepting`: it must also close its shared listening sockets.
    """

    worker: WorkerId
    stop_accepting: bool


@dataclass(frozen=True, slots=True)
class SendResume:
    """The worker gets new connections again; earlier requests to drain or close are void."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class AskToClose:
    """The worker closes all connections over `over` seconds, busy ones within `by` seconds."""

    worker: WorkerId
    code: int
    over: float
    by: float


@dataclass(frozen=True, slots=True)
class AskToLeave:
    """The worker closes the connections it has now over `over` seconds, and keeps serving.

    A connection that is busy at its turn stays.
    """

    worker: WorkerId
    over: float


@dataclass(frozen=True, slots=True)
class SendStay:
    """Connections that the worker has not closed yet may stay."""

    worker: WorkerId


Order = Signal | Kill | FreeClients | SendDrain | SendResume | AskToClose | AskToLeave | SendStay
