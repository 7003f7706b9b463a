"""The requester of a method of the control socket, as the history shows it."""

import os
from typing import Any

from wssupervisor import logging
from wssupervisor.control.peer import Peer
from wssupervisor.fleet.events import Requester
from wssupervisor.runtime.kernel.control_group import text_of
from wssupervisor.runtime.kernel.procfs import parent_of


def requester(peer: Peer) -> Requester:
    """`via` is systemd for the client that `systemctl reload` starts in our service."""
    via = "systemd" if _is_systemds(peer.pid) else "wssctl"
    return Requester(via, peer.name, peer.pid)


def log_request(peer: Peer, what: str, **details: Any) -> None:
    """Log a request. The lines of each user are limited, because requests can come quickly."""
    logging.limited("info", what, {"by": peer.name}, by_pid=peer.pid, **details)


def _is_systemds(pid: int) -> bool:
    """Whether systemd started this process in our service, for ExecReload=."""
    if not {"INVOCATION_ID", "NOTIFY_SOCKET"} <= os.environ.keys():
        return False
    try:
        return parent_of(pid) == os.getppid() and text_of(pid) == text_of(os.getpid())
    except OSError:  # invisible from our sandbox, or gone
        return False
