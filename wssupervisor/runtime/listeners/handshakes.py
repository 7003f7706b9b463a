"""Handshakes that began before a steering and are still under way."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.runtime.kernel.inet_diag import Handshake, pending_handshakes
from wssupervisor.runtime.listeners.tcp_pool import TcpPool

HANDSHAKES_MAX = 500
"""At most this many are followed one by one: each costs 20 microseconds at each look and save."""
USUAL_RETRIES, MOST_RETRIES = 5, 7


@dataclass(frozen=True, slots=True)
class HandshakesState:
    """`unseen`: epochs whose handshakes could not be read; `until`: when too many are all over."""

    pending: dict[int, tuple[Handshake, ...]]
    latest: int
    unseen: tuple[int, ...]
    until: dict[int, float]


class Handshakes:
    """Which handshakes that began before a steering are still under way.

    A listener's queue does not count them, and they have no slot yet
    (docs/internals/platform.md#syn_recv-has-no-slot). Those that are pending at each steering are
    recorded, and looked up until each is gone. If there are more than HANDSHAKES_MAX (a flood of
    SYNs), the epoch is over when none of them can live any longer.
    """

    def __init__(self, pools: Sequence[TcpPool]) -> None:
        self._pools = pools
        self._pending: dict[int, set[Handshake]] = {}
        self._until: dict[int, float] = {}
        """By epoch with too many handshakes: the instant at which all of them are over."""
        self._latest = 0
        self._unseen: set[int] = set()
        """Epochs at whose steering the handshakes could not be read."""
        self._life = _life_seconds()

    def record(self, epoch: int) -> None:
        """Record what is pending, right after the table of this epoch took force. Never raises.

        If handshakes cannot be read now, the next look reads them, and waits for all that are
        pending then.
        """
        self._latest = epoch
        self._unseen.add(epoch)
        with suppress(OSError):
            self._see(self._now())

    def save(self) -> HandshakesState:
        pending = {epoch: tuple(left) for epoch, left in self._pending.items()}
        return HandshakesState(pending, self._latest, tuple(self._unseen), dict(self._until))

    @classmethod
    def restore(cls, pools: Sequence[TcpPool], state: HandshakesState) -> "Handshakes":
        found = cls(pools)
        found._pending = {epoch: set(left) for epoch, left in state.pending.items()}
        found._latest = state.latest
        found._unseen = set(state.unseen)
        found._until = dict(state.until)
        return found

    def over(self) -> int:
        """Return the last epoch up to which no recorded handshake is pending. Raises OSError."""
        if self._pending or self._unseen:
            self._see(self._now())
        now = time.monotonic()
        self._until = {epoch: until for epoch, until in self._until.items() if until > now}
        return min([*self._pending, *self._until], default=self._latest + 1) - 1

    def _see(self, now: set[Handshake]) -> None:
        self._pending |= dict.fromkeys(self._unseen, now)
        self._unseen.clear()
        if len(now) > HANDSHAKES_MAX:
            self._until |= dict.fromkeys(self._pending, time.monotonic() + self._life)
            self._pending.clear()
        self._pending = {epoch: left for epoch, old in self._pending.items() if (left := old & now)}

    def _now(self) -> set[Handshake]:
        """Return all pending handshakes, or more than HANDSHAKES_MAX of them."""
        found: set[Handshake] = set()
        for pool in self._pools:
            found |= pending_handshakes(pool.family, pool.port, HANDSHAKES_MAX)
        return found


def _life_seconds() -> float:
    """Return how long the kernel repeats its SYN-ACK (tcp(7), tcp_synack_retries), in seconds."""
    retries = USUAL_RETRIES
    with suppress(OSError, ValueError):
        retries = int(Path("/proc/sys/net/ipv4/tcp_synack_retries").read_text(encoding="ascii"))
    return 2.0 ** (min(retries, MOST_RETRIES) + 1)
