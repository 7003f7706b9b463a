"""The interface of every fuzzed reader: inputs made from a seed, and a judgement of each."""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

Input = TypeVar("Input")


class Wrong(AssertionError):
    """A reader did something that it must not do. The text describes it."""


class Target(ABC, Generic[Input]):
    """One reader of foreign data. A context manager that opens and closes what it needs."""

    name: ClassVar[str]
    fails: ClassVar[str]
    """The failures besides an exception, a hang and a growth of memory."""
    cpu_seconds: ClassVar[float] = 2.0
    """CPU time that one input may cost."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.open(stack)
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def open(self, stack: ExitStack) -> None:
        """Open what the reader needs; `stack` closes it."""

    @abstractmethod
    def make(self, random: Random) -> Input:
        """The next input."""

    @abstractmethod
    def judge(self, given: Input) -> None:
        """Feed the reader with it. Raises Wrong; any other exception is also a failure."""

    def check(self) -> None:
        """Check the reader after some inputs, and at the end. Raises Wrong."""
        return


def directory(stack: ExitStack) -> Path:
    """A new one, which `stack` removes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wss-fuzz-")))


@contextmanager
def state_directory(path: Path) -> Iterator[None]:
    """Inside, it is systemd's StateDirectory= of this process."""
    before = os.environ.get("STATE_DIRECTORY")
    os.environ["STATE_DIRECTORY"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["STATE_DIRECTORY"]
        else:
            os.environ["STATE_DIRECTORY"] = before
