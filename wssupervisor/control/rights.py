"""What a caller needs for a method of the control socket; verbs.py lists the methods.

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


def member_may(right: Right, *, group_may_operate: bool) -> bool:
    match right:
        case Right.READ:
            return True
        case Right.OPERATE:
            return group_may_operate
        case Right.OWN:
            return False
