"""The claim of a batch: of two processes that read it, exactly one becomes its owner.

A message from the taker could not decide that: a giver that waits too long would not know whether
the taker has begun, and the kernel reports the reset of a dead taker before its last words. The
kernel decides, with an eventfd that holds 1
(docs/internals/platform.md#an-eventfd-has-one-reader).
"""

import os


def create_claim() -> int:
    """Return a descriptor for a claim that no process has read. Raises OSError."""
    return os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def win_claim(descriptor: int) -> bool:
    """Read the claim and return whether the batch is now ours. Never blocks.

    The answer is final: the other process gets the opposite one. A descriptor that is no claim is
    never won.
    """
    try:
        return os.eventfd_read(descriptor) == 1
    except OSError:
        return False
