"""Carries out orders to workers: one case for each class of fleet/orders.py."""

from typing import assert_never

from wssupervisor.fleet.lifecycle import GOING_AWAY, SERVICE_RESTART
from wssupervisor.fleet.orders import (
    AskToClose,
    AskToLeave,
    FreeClients,
    Kill,
    Order,
    SendDrain,
    SendResume,
    SendStay,
    Signal,
)
from wssupervisor.runtime.workers.crew import Crew
from wssupervisor.worker import protocol

CLOSE_REASONS = {GOING_AWAY: "the service ends", SERVICE_RESTART: "a new version is running"}
"""Shown to clients in the close frame, at most `protocol.REASON_BYTES` long."""
LEAVE_REASON = "server going out of service; please reconnect"


def carry_out(crew: Crew, order: Order) -> None:
    """Carry out one order, without waiting. If it raises OSError or WssError, it must run again."""
    match order:
        case Signal(worker=worker, name=name, rest=rest):
            crew.signal(worker, name, rest=rest)
        case Kill(worker=worker):
            crew.kill(worker)
        case FreeClients(worker=worker):
            crew.free_clients(worker)
        case SendDrain(worker=worker, stop_accepting=stop):
            crew.say(worker, protocol.Drain(crew.shared_listeners() if stop else ()))
        case SendResume(worker=worker):
            crew.say(worker, protocol.Resume())
        case AskToClose(worker=worker, code=code, over=over, by=by):
            crew.say(worker, protocol.Close(code, CLOSE_REASONS[code], over, by))
        case AskToLeave(worker=worker, over=over):
            crew.say(worker, protocol.Close(SERVICE_RESTART, LEAVE_REASON, over, over, False))
        case SendStay(worker=worker):
            crew.say(worker, protocol.Stay())
        case _:
            assert_never(order)
