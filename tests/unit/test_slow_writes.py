"""A write that hangs is waited for but for a moment, and those after it keep their order."""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from wssupervisor.runtime.history.slow_writes import MOST, WAIT_SECONDS, SlowWrites

WITHIN = 5.0
MANY = 50


def test_a_write_is_done_when_it_returns() -> None:
    written: list[int] = []
    writes = SlowWrites("test")
    for number in range(MANY):
        writes.do(partial(written.append, number))

        assert written == list(range(number + 1))


class Counted(threading.Condition):
    """Records the limits of waits that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[float] = []

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        if timeout is not None:
            self.limits.append(timeout)
        return super().wait_for(predicate, timeout)


def test_one_that_hangs_is_waited_for_once_and_nothing_is_lost() -> None:
    reading, writing = os.pipe()
    written: list[int] = []
    writes = SlowWrites("test")
    writes._changed = waits = Counted()
    began = time.monotonic()
    writes.do(lambda: os.read(reading, 1))
    for number in range(MANY):
        writes.do(partial(written.append, number))
    took = time.monotonic() - began
    assert written == []
    assert not writes.is_idle
    os.write(writing, b"x")

    assert waits.limits == [WAIT_SECONDS]
    assert took >= WAIT_SECONDS
    assert writes.flush(WITHIN)
    assert written == list(range(MANY))
    os.close(reading)
    os.close(writing)


def test_no_more_than_a_bounded_number_waits() -> None:
    reading, writing = os.pipe()
    written: list[int] = []
    writes = SlowWrites("test")
    writes.do(lambda: os.read(reading, 1))
    for number in range(2 * MOST):
        writes.do(partial(written.append, number))
    os.write(writing, b"x")

    assert writes.flush(WITHIN)
    assert written == list(range(MOST - 1))
    os.close(reading)
    os.close(writing)


def test_one_that_fails_does_not_stop_the_others() -> None:
    written: list[int] = []
    writes = SlowWrites("test")
    writes.do(lambda: 1 / 0)
    writes.do(partial(written.append, 1))

    assert written == [1]
