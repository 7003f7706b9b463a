"""Answers that wssctl cannot read become an error in words, not a traceback.

A daemon of another release may answer differently, and a socket may belong to another program.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wssupervisor import __version__
from wssupervisor.control.client import Client
from wssupervisor.control.fitting import Misfit
from wssupervisor.errors import ProtocolError

MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a value raises that has its type and still makes no sense, such as an instant "x"."""


@contextmanager
def understood(client: Client) -> Iterator[None]:
    """Around code that asks a daemon and shows its answers. Raises ProtocolError."""
    try:
        yield
    except Misfit as error:
        raise _unreadable(client, str(error)) from error
    except MISREAD as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
        raise _unreadable(client, found) from error


def _unreadable(client: Client, found: str) -> ProtocolError:
    text = (
        f"wssctl {__version__} cannot read the answer of the daemon at {client.path} ({found}). If"
        " the package was upgraded after the daemon's start, run: wssctl upgrade"
    )
    return ProtocolError(client.hint(text))
