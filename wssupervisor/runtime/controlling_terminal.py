"""The terminal that the daemon was started from, and its loss: the window closed, ssh gone."""

import asyncio
import os
import select
import time

import structlog

log = structlog.get_logger()

DEVICE = "/dev/tty"
"""The controlling terminal; under systemd and in containers there is none."""
LOST_WITHIN = 2.0
"""Longest time between the loss of a terminal and the SIGHUP that a shell sends for it."""


class Terminal:
    """Owns a descriptor of the terminal while there is one."""

    def __init__(self) -> None:
        self.lost_at: float | None = None
        self._descriptor: int | None = None
        self._epoll: select.epoll | None = None
        try:
            self._descriptor = os.open(DEVICE, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        # Event mask 0: only a hang-up is reported, not typed characters.
        self._epoll = select.epoll()
        self._epoll.register(self._descriptor, 0)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._lost)

    @property
    def exists(self) -> bool:
        return self._descriptor is not None

    def lost_lately(self, now: float) -> bool:
        """Whether a SIGHUP at that instant was caused by the loss of the terminal."""
        return self.lost_at is not None and now - self.lost_at <= LOST_WITHIN

    def _lost(self) -> None:
        self.lost_at = time.monotonic()
        log.warning("terminal lost; serving continues", end="wssctl stop")
        self.close()

    def close(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
