"""Many deploys in a row: no connection lost, nothing grown. Hundreds of them: ./dev soak."""

from dataclasses import dataclass

import psutil
import pytest

from tests.e2e.descriptors import resting
from tests.e2e.memory import outside
from tests.e2e.service import Service

RELOADS = 10
WARM_UP = 3
RATE = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    descriptors: int
    processes: int
    stored: int
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.processes} processes, {self.stored} in the fd"
            f" store, {self.memory / 1e6:.1f} MB"
        )


def size(service: Service) -> Size:
    """Of the supervisor, when no worker drains."""
    service.wait_alone(60.0)
    process = psutil.Process(outside(service.machine, service.main_pid()))
    return Size(
        resting(service.machine, service.main_pid()),
        len(process.children(recursive=True)),
        int(service.machine.show(service.service, "NFileDescriptorStore")),
        int(process.memory_full_info().uss),
    )


@pytest.mark.slow("13 reloads, one after the other")
def test_10_reloads_under_300_new_websockets_a_second(chat: Service) -> None:
    with chat.load(held=10, rate=RATE) as clients:
        for _ in range(WARM_UP):
            chat.reload()
        clients.assert_unnoticed(chat.cutovers)
    before = size(chat)
    chat.cutovers.clear()
    with chat.load(held=0, rate=RATE) as clients:
        for _ in range(RELOADS):
            chat.reload()
        clients.assert_unnoticed(chat.cutovers)
    after = size(chat)
    print(f"after {WARM_UP} reloads: {before}\nafter {RELOADS} more: {after}")

    assert len(chat.cutovers) == RELOADS
    assert chat.active() == 1 + WARM_UP + RELOADS
    assert (after.descriptors, after.processes, after.stored) == (
        before.descriptors,
        before.processes,
        before.stored,
    )
