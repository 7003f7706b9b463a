"""A few threads for calls that may hang, such as files on a file system that does not answer.

The census has other threads, so a hanging call costs one reload and nothing else. These threads do
not delay the exit of the program.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from wssupervisor.errors import OperationFailed
from wssupervisor.plural import count

T = TypeVar("T")


class IoThreads:
    def __init__(self, most: int, within: float) -> None:
        """At most `most` calls at once; each is waited for at most `within` seconds."""
        self._most = most
        self._within = within
        self._under_way: set[object] = set()
        """One mark for each running thread, which removes its mark at the end."""

    async def do(self, what: str, work: Callable[[], T]) -> T:
        """Return the result of `work`; `what` names it in errors. Raises OperationFailed, or its
        error."""
        if len(self._under_way) >= self._most:
            raise OperationFailed(
                f"{what} did not start: {count(len(self._under_way), 'earlier call')} to the file"
                " system did not return. Look for a mount that does not answer"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        mark = object()

        def run() -> None:
            settle = _settled(done, work)
            self._under_way.discard(mark)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle)

        self._under_way.add(mark)
        try:
            threading.Thread(target=run, daemon=True, name=what).start()
        except RuntimeError as error:  # the user's limit of threads
            self._under_way.discard(mark)
            raise OperationFailed(f"{what} did not start: {error}") from None
        try:
            async with asyncio.timeout(self._within):
                return await done
        except TimeoutError:
            raise OperationFailed(
                f"{what} took more than {self._within:g} s. Look for a mount that does not answer"
            ) from None


def _settled(done: "asyncio.Future[T]", work: Callable[[], T]) -> Callable[[], None]:
    """Do the work; returns a call for the loop that passes on its result."""
    try:
        settle = partial(done.set_result, work())
    except Exception as error:  # noqa: BLE001 - raised by the await
        settle = partial(done.set_exception, error)

    def pass_on() -> None:
        if not done.done():
            settle()

    return pass_on
