"""A few threads for what may hang: files on a file system that does not answer.

They are apart from those that take a census, so that one that hangs costs a reload and nothing
else; and they do not hold up the end of the program.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from wssupervisor.errors import OperationFailed

T = TypeVar("T")


class Aside:
    def __init__(self, most: int, within: float) -> None:
        """At most so many at once; each is waited for at most so many seconds."""
        self._most = most
        self._within = within
        self._under_way: set[object] = set()
        """A mark for each thread, which takes it out itself."""

    async def do(self, what: str, work: Callable[[], T]) -> T:
        """Its result; `what`: for the error. Raises OperationFailed, and whatever it raises."""
        if len(self._under_way) >= self._most:
            raise OperationFailed(
                f"{what} was not begun: {len(self._under_way)} earlier ones still hang in the file"
                " system; look for a mount that does not answer"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        mark = object()

        def run() -> None:
            settle = _settled(done, work)
            self._under_way.discard(mark)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle)

        self._under_way.add(mark)
        try:
            threading.Thread(target=run, daemon=True, name=what).start()
        except RuntimeError as error:  # as many as this user may have
            self._under_way.discard(mark)
            raise OperationFailed(f"{what} was not begun: {error}") from None
        try:
            return await asyncio.wait_for(done, self._within)
        except TimeoutError:
            raise OperationFailed(
                f"{what} took more than {self._within:g} s; look for a mount that does not answer"
            ) from None


def _settled(done: "asyncio.Future[T]", work: Callable[[], T]) -> Callable[[], None]:
    """Do the work; returns what the loop has to call with its result."""
    try:
        settle = partial(done.set_result, work())
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        settle = partial(done.set_exception, error)

    def tell() -> None:
        if not done.done():
            settle()

    return tell
