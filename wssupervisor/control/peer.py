"""The caller of the control socket, identified by the kernel (SO_PEERCRED), and its rights."""

import os
import pwd
import socket
import struct
from dataclasses import dataclass

from wssupervisor.control.rights import Right, member_may
from wssupervisor.control.verbs import VERBS
from wssupervisor.errors import NotAllowed

_PEER = struct.Struct("=iII")


@dataclass(frozen=True, slots=True)
class Peer:
    pid: int
    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The user's name, for the log."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def is_owner(self) -> bool:
        """Whether the caller is root, or the user that the daemon runs as."""
        return self.uid in (0, os.geteuid())

    def may(self, right: Right, *, group_may_operate: bool) -> bool:
        return self.is_owner or member_may(right, group_may_operate=group_may_operate)


def peer_of(sock: socket.socket) -> Peer:
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return Peer(*_PEER.unpack(data))


def authorize(
    peer: Peer, method: str, *, group_may_operate: bool, instead: str | None = None
) -> None:
    """Check the caller's right to a method. The handler refuses unknown methods. Raises NotAllowed.

    `instead`: the command for root, if the daemon refuses this method to every caller.
    """
    right = VERBS[method].right if method in VERBS else None
    if right is None or peer.may(right, group_may_operate=group_may_operate):
        return
    owner = Peer(os.getpid(), os.geteuid(), os.getegid()).name
    advice = f"Run as root or {owner}"
    if right is Right.OPERATE:
        advice += ", or set [control] group_may_operate = true"
    if instead is not None:
        advice = f"Run as root: {instead}"
    may = "operate" if group_may_operate else "read"
    end = "" if instead else "."
    raise NotAllowed(f"user {peer.name} may {may} but not {method} this instance. {advice}{end}")
