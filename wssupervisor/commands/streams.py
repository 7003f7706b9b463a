"""Standard output and error that fail: they must not change the exit status of a verb.

A deploy script acts on the exit status of `wssctl reload`. A full disk or a closed pipe does not
mean that the reload failed.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from wssupervisor.harmless import harmless


class OutputFailed(Exception):
    """Standard output cannot be written. Not an OSError, which could be the daemon's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror}")
        self.reader_left = error.errno == errno.EPIPE
        """The reader has closed the pipe, as `head` does."""


class Stream:
    """A text stream that fails at most once, and passes no foreign escape sequence to a terminal.

    `write` escapes control characters. Our own escape sequences go through `draw`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.raises = False
        self.failure: OutputFailed | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self.draw(harmless(text))
        return len(text)

    def draw(self, text: str) -> None:
        """Write text made of harmless parts, such as those of a Span, and of escape sequences."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # The interpreter would write the buffer again at its end, and fail again.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
        self.failure = OutputFailed(error)
        if self.raises:
            raise self.failure


class Canvas:
    """The same stream for a library that draws, such as rich."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        draw(text, self._stream)
        return len(text)


def draw(text: str, stream: TextIO) -> None:
    """Call `Stream.draw` if the stream is one of ours, else write the text."""
    (stream.draw if isinstance(stream, Stream) else stream.write)(text)


@contextmanager
def guarded() -> Iterator[Stream]:
    """Replaces standard output; the replacement raises OutputFailed if `raises` is set."""
    before = sys.stdout, sys.stderr
    out = Stream(sys.stdout)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, Stream(sys.stderr))
    try:
        yield out
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
