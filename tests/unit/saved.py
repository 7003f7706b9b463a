"""What a supervisor saves in the middle of a drain: of a fleet that a test drives."""

from tests.unit.fleet.driven import draining
from wssupervisor.control.control_socket import ControlState
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.counters import Histogram
from wssupervisor.fleet.model import Exit, WorkerId
from wssupervisor.fleet.snapshot import dump
from wssupervisor.runtime.handover import document, state_file
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.handover.state_file import SavedState
from wssupervisor.runtime.history.history import HistoryState
from wssupervisor.runtime.listeners.handshakes import HandshakesState
from wssupervisor.runtime.listeners.listener_set import ListenerSetState, ListenerState
from wssupervisor.runtime.listeners.pool import PoolState
from wssupervisor.runtime.listeners.steering import SteeringState
from wssupervisor.runtime.observe.watch import WatchState
from wssupervisor.runtime.pending import PendingRequestsState
from wssupervisor.runtime.supervisor import SupervisorState
from wssupervisor.runtime.workers.channel import ChannelState
from wssupervisor.runtime.workers.crew import CrewState
from wssupervisor.runtime.workers.handle import WorkerHandleState
from wssupervisor.runtime.workers.notify_socket import NotifySocketState
from wssupervisor.runtime.workers.output import OutputState
from wssupervisor.runtime.workers.output_reader import EndedOutputState, OutputReaderState
from wssupervisor.runtime.workers.process import ProcessState
from wssupervisor.runtime.workers.relay import RelayState
from wssupervisor.runtime.workers.serving import Acceptor

NAME = "chat"
DIRECTORY = "/run/wssupervisor/chat"


def saved_document(fleet: Fleet | None = None) -> HandoverDocument:
    """Its descriptors are numbers from 10 on, each once."""
    fleet = fleet or draining().core
    workers = [worker.id for worker in fleet.state.workers()]
    pool = PoolState(
        "ws", "self", None, (10, 11, 12), {"SO_RCVBUF": "0000"}, own={7: ("127.0.0.1", 4711)}
    )
    steering = SteeringState((5, 6, 7), {5: 1}, by_client=False, probes=((6, ("127.0.0.1", 4711)),))
    unix = PoolState("raw", "self", "AF_UNIX", (13,), {}, f"{DIRECTORY}/raw.sock", 14)
    gone = WorkerId(1, 0, 1)
    return HandoverDocument(
        version=document.VERSION,
        program="0.1.0",
        config_text="[app]\n",
        fleet=dump(fleet),
        listeners=ListenerSetState(
            (
                ListenerState(pool, steering, {5: "worker 0 of generation 1"}),
                ListenerState(unix, None, {}),
            ),
            {"ws": 8},
        ),
        supervisor=SupervisorState(
            2,
            HandshakesState({3: ((("127.0.0.1", 80), ("127.0.0.1", 4712)),)}, 3, (2,), {1: 7.5}),
            CrewState(
                tuple(_worker(worker, 20 + 10 * at) for at, worker in enumerate(workers)),
                OutputReaderState(
                    (EndedOutputState(gone, 99, _output(90)),), {gone: ("its last words",)}
                ),
                RelayState(((77, 4711),)),
            ),
            PendingRequestsState(7, ()),
            {"r1": (1.0, 1.5)},
        ),
        history=HistoryState(((1.0, {"kind": "started"}),)),
        watch=WatchState({123: 4.5}, Histogram()),
        control=ControlState(15, 16, made_directory=True),
        http=PoolState("[http] address", "self", "one", (17,), {}),
    )


def _worker(worker: WorkerId, first: int) -> WorkerHandleState:
    path = f"{DIRECTORY}/control.sock.notify.{worker}"
    return WorkerHandleState(
        worker,
        ProcessState(
            1000 + first,
            first,
            ("1", "0", "1", NAME, "1:2"),
            Exit(status=1),
            {7: None},
            Acceptor.MAIN,
        ),
        _output(first + 1),
        NotifySocketState(first + 3, path, path),
        ChannelState(first + 4, False, unread='{"ty\xff', unsent='pe"}\n', may_be_torn=True),
        0.0,
        {"ws": 5},
        "it serves",
        None,
    )


def _output(first: int) -> OutputState:
    return OutputState(first, 8192, 8000, 4096, "begun", ("a line",), first + 1, 1234)


def saved_state() -> SavedState:
    """Of this boot."""
    boot = state_file.boot_id()
    return SavedState(state_file.VERSION, NAME, boot, "1:2", 100.0, 998, (), saved_document())
