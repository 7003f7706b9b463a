"""The right that each method of the control socket needs: one row for each method.

The kernel identifies callers (SO_PEERCRED). The socket's mode lets in root, the daemon's user and
the members of the socket's group; root and the daemon's user have every right.
"""

from enum import Enum


class Right(Enum):
    """What a member of the socket's group needs for a method."""

    READ = "read"
    """Membership is enough. Such an answer contains no output of a worker."""
    OPERATE = "operate"
    """[control] group_may_operate = true."""
    OWN = "own"
    """Members never have it: the method ends the instance, or changes its program."""


RIGHTS = {
    "status": Right.READ,
    "why": Right.READ,
    "events": Right.READ,
    "history": Right.READ,
    "metrics": Right.READ,
    "verdict": Right.READ,
    "reload": Right.OPERATE,
    "rollback": Right.OPERATE,
    "drain": Right.OPERATE,
    "scale": Right.OPERATE,
    "leave": Right.OPERATE,
    "join": Right.OPERATE,
    "stop": Right.OWN,
    "upgrade": Right.OWN,
}


def member_may(right: Right, *, group_may_operate: bool) -> bool:
    match right:
        case Right.READ:
            return True
        case Right.OPERATE:
            return group_may_operate
        case Right.OWN:
            return False
