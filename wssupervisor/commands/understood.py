"""Answers that wssctl cannot read become an error in words, not a traceback.

A daemon of another release may answer differently, and a socket may belong to another program.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wssupervisor import __version__
from wssupervisor.control.fitting import Misfit
from wssupervisor.errors import ProtocolError

MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a value raises that has its type and still makes no sense, such as an instant "x"."""


@contextmanager
def understood(path: str) -> Iterator[None]:
    """Around code that asks the daemon at `path` and shows its answers. Raises ProtocolError."""
    try:
        yield
    except Misfit as error:
        raise _unreadable(path, str(error)) from error
    except MISREAD as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
        raise _unreadable(path, found) from error


def _unreadable(path: str, found: str) -> ProtocolError:
    return ProtocolError(
        f"wssctl {__version__} cannot read the answer of the daemon at {path} ({found}). If the"
        " package was upgraded after the daemon's start, run: wssctl upgrade"
    )
