"""What every fuzzed reader has in common: inputs made of a seed, and a judge of what it does."""

from abc import ABC, abstractmethod
from random import Random
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

Input = TypeVar("Input")


class Wrong(AssertionError):
    """A reader did what it must not; the text says what."""


class Target(ABC, Generic[Input]):
    """One reader of what others write. Used as a context: it opens what it needs and closes it."""

    name: ClassVar[str]
    fails: ClassVar[str]
    """What counts as a failure, beside an exception, a hang and a growth of memory."""
    cpu_seconds: ClassVar[float] = 2.0
    """Processor time that one input may cost."""

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
        """Give it to the reader. Raises Wrong; any other exception is a failure as well."""

    def check(self) -> None:
        """After some inputs, and at the end: is all still well? Raises Wrong."""
        return
