"""Why a worker ended, or was not ready: for notes, counters and answers, and what its end costs."""

from wssupervisor.fleet.model import Exit, Policy, ReadyBy, WorkerState
from wssupervisor.fleet.state import Worker


def cause(worker: Worker, how: Exit | str) -> str:
    """Return why it ended: one of `counters.CAUSES`. `how` is a string if it was never started."""
    if isinstance(how, str):
        return "not-started"
    if expected(worker):
        if worker.reason is not None and worker.leftover is None:
            return "never-ready" if worker.ready_at is None else "replaced"
        return "killed" if worker.kill_at is None else "requested"
    match how:
        case Exit(signal="SIGKILL"):
            return "sigkill"
        case Exit(signal=str()):
            return "signal"
        case Exit(status=0):
            return "exit-zero"
        case Exit(status=int()):
            return "exit-status"
    return "unknown"


def expected(worker: Worker) -> bool:
    """Whether the worker (or its main process, if that ended first) was asked to end."""
    ordered = worker.leftover is None or worker.leftover.stop_signalled
    return worker.state is WorkerState.STOPPING and ordered


def at_stake(worker: Worker) -> int:
    """Return the connections that its end closes, or that were lost with its main process."""
    leftover = worker.leftover
    if leftover is None or leftover.serves or leftover.stop_signalled:
        return worker.connections
    return leftover.connections


def why_late(worker: Worker, policy: Policy) -> str:
    """Return what a worker that was not ready in time has not done."""
    late = f"was not ready within {policy.ready_timeout:g}s"
    if worker.last_probe_error is not None:
        return f"{late}: it {worker.last_probe_error}"
    match policy.ready_by:
        case ReadyBy.CONNECT | ReadyBy.HTTP | ReadyBy.WEBSOCKET:
            return (
                f"{late}: it accepted no connection. It must serve the socket that it is given as"
                " descriptor 3 ({fd} in [app] command). If it needs longer, raise [ready] timeout"
            )
        case ReadyBy.NOTIFY:
            return (
                f"{late}: it did not send READY=1 on its NOTIFY_SOCKET. If it cannot, set [ready]"
                ' by = "connect", or "delay" in shared mode'
            )
        case ReadyBy.DELAY:
            return late


def when(worker: Worker, now: float) -> str:
    """Return, as text, when a candidate failed."""
    if worker.ready_at is None:
        return "before it was ready"
    return f"{now - worker.ready_at:.2g} s after it was ready, within `stable`"


def why_failed(worker: Worker, how: str, advice: str | None, now: float) -> str:
    """Return why a reload failed whose candidate has ended."""
    text = f"worker {worker.id.index} of generation {worker.id.generation} {how}"
    if worker.pid is not None:  # it was started
        text = f"{text} {when(worker, now)}"
    return text if advice is None else f"{text}: {advice}"
