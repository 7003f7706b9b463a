"""The interface of every fuzzed reader: inputs made from a seed, and a judgement of each."""

from abc import ABC, abstractmethod
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
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    @abstractmethod
    def make(self, random: Random) -> Input:
        """The next input."""

    @abstractmethod
    def judge(self, given: Input) -> None:
        """Feed the reader with it. Raises Wrong; any other exception is also a failure."""

    def check(self) -> None:
        """Check the reader after some inputs, and at the end. Raises Wrong."""
        return
