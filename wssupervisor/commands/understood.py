"""Answers of a daemon that are not as wssctl expects them: a sentence, and not a traceback.

Another release may answer otherwise, and a socket need not be a daemon's.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wssupervisor import __version__
from wssupervisor.errors import ProtocolError

MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of a key that is missing, or that holds something else."""


@contextmanager
def understood(path: str) -> Iterator[None]:
    """Around what asks the daemon at `path` and shows its answers. Raises ProtocolError."""
    try:
        yield
    except MISREAD as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
        raise ProtocolError(
            f"wssctl {__version__} cannot read what the daemon at {path} answered ({found}). If the"
            " package was upgraded since the daemon began, run `wssctl upgrade`."
        ) from error
