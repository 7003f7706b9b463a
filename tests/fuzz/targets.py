"""All fuzz targets, by name."""

from collections.abc import Callable
from typing import Any

from tests.fuzz.answers import PendingRequests
from tests.fuzz.channel import WorkerChannel
from tests.fuzz.configuration import Configuration
from tests.fuzz.control import ControlSocket
from tests.fuzz.environment import EnvironmentFile
from tests.fuzz.handoff import ClientFrames, DeflateWindow, HandoffMessages
from tests.fuzz.http import HttpListener
from tests.fuzz.notify import Notify
from tests.fuzz.output import WorkerOutput
from tests.fuzz.probed import ProbeAnswers
from tests.fuzz.recorded import HistoryFiles
from tests.fuzz.slots import SlotsFile
from tests.fuzz.stage import Stage
from tests.fuzz.state import StateFiles
from tests.fuzz.target import Target
from tests.fuzz.worker import LyingWorker

TARGETS: dict[str, Callable[[Stage], Target[Any]]] = {
    ControlSocket.name: ControlSocket,
    HttpListener.name: HttpListener,
    Notify.name: lambda _: Notify(),
    WorkerChannel.name: lambda _: WorkerChannel(),
    LyingWorker.name: lambda _: LyingWorker(),
    HandoffMessages.name: lambda _: HandoffMessages(),
    ClientFrames.name: lambda _: ClientFrames(),
    DeflateWindow.name: lambda _: DeflateWindow(),
    WorkerOutput.name: lambda _: WorkerOutput(),
    Configuration.name: lambda _: Configuration(),
    EnvironmentFile.name: lambda _: EnvironmentFile(),
    StateFiles.name: StateFiles,
    HistoryFiles.name: HistoryFiles,
    SlotsFile.name: lambda _: SlotsFile(),
    ProbeAnswers.name: lambda _: ProbeAnswers(),
    PendingRequests.name: PendingRequests,
}
